//! Averages of the weights over a run: an exponential moving average, and stochastic weight
//! averaging.

mod averages;
mod ema;
mod shadow;
mod swa;

pub(super) use averages::Averages;
pub use ema::Ema;
pub(super) use shadow::Shadow;
pub use swa::Swa;
