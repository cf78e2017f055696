//! The update rules, one file each, in the order of operations of PyTorch or timm.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod lamb;
mod lion;
mod muon;
mod nadam;
mod radam;
mod rmsprop;
mod rmsprop_tf;
mod sgd;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use lamb::Lamb;
pub use lion::Lion;
pub use muon::{Fallback, LrAdjustment, Muon};
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rmsprop_tf::RmsPropTf;
pub use sgd::Sgd;
