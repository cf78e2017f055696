//! Schedules of the learning rate, one file each. A rate is a function of the step, so that a resumed
//! run needs only its number of steps; [`Plateau`] needs the evaluations of its epochs as well.
//!
//! timm's schedules have timm's formulas, the others PyTorch's. Time counts updates or epochs from 0.
//! It is a real number, so that cycles and warm-ups may have any length.

mod anneal;
mod base;
mod constant;
mod cosine;
mod curve;
mod cycles;
mod exponential;
mod multi_step;
mod one_cycle;
mod plateau;
mod poly;
mod step;
mod tanh;
mod warmup;

pub use base::{Clock, Schedule};
pub use constant::Constant;
pub use cosine::Cosine;
pub use curve::Curve;
pub use cycles::Cycles;
pub use exponential::Exponential;
pub use multi_step::MultiStep;
pub use one_cycle::{MomentumCycle, OneCycle};
pub use plateau::{Direction, Plateau};
pub use poly::Poly;
pub use step::Step;
pub use tanh::Tanh;
pub use warmup::Warmup;
