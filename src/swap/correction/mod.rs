//! Corrections of a swapped network without training and without labels.
//!
//! Each goes through the network from the input to the output. At a batch norm it measures the
//! statistics again, with everything before it already corrected. At an activation it compares with
//! the original network on the same images.

mod channels;
mod constants;
mod corrector;
mod fit;
mod norms;
mod original;
mod scale_shift;
mod shift;
mod sites;

pub use corrector::Correction;

pub(super) use constants::fit_constants;
pub(super) use corrector::Corrector;
pub(super) use fit::solve;
