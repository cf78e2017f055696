//! Layers on the ops, named and keyed as in PyTorch.

mod activation;
mod batch_norm;
mod conv;
mod dropout;
mod init;
mod linear;
mod params;

pub use activation::Act;
pub use batch_norm::BatchNorm2d;
pub use conv::{Conv2d, Conv2dConfig, WeightInit};
pub use dropout::Dropout;
pub use init::gain;
pub use linear::Linear;
pub use params::{LoadReport, ParamStore};
