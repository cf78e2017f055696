//! A recipe: every hyperparameter of a run, under timm's names where timm has one.

mod build;
mod error;
mod fields;
mod kinds;
mod optimizer;
mod ranges;
mod weights;

pub use error::RecipeError;
pub(super) use error::one_line;
pub use fields::Recipe;
pub use kinds::{
    AdjustLr, ClipMode, LossKind, MuonFallback, NsCoefficients, OptimizerKind, OptimizerName,
    ScheduleKind,
};
