//! The learning-rate range test, [Smith 2015](https://arxiv.org/abs/1506.01186): the rate rises
//! exponentially from step to step, and the loss shows which rates train.

mod curve;
mod plot;
mod sweep;

pub use curve::{Point, RangeTest, Suggestion};
pub use sweep::{LrFind, Sweep, lr_find};
