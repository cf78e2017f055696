//! A recipe: every hyperparameter of a run, under timm's names where timm has one.

mod build;
mod error;
mod fields;
mod kinds;
mod mixing;
mod optimizer;
mod parse;
mod ranges;
mod schedule;
mod stopping;
mod weights;

pub use error::RecipeError;
pub(super) use error::one_line;
pub use fields::Recipe;
pub use kinds::{
    AdjustLr, AmpDtype, ClipMode, DistBn, EvalMetric, LossKind, MuonFallback, NsCoefficients,
    OptimizerKind, OptimizerName, SchedOn, ScheduleKind,
};
pub use parse::RecipeTextError;
