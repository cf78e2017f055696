//! Direct convolution in `f32`: the convolution and its input gradient without an unrolled matrix.
//!
//! Two algorithms compute the same [`Problem`]. They differ in what the lanes of a vector hold:
//! [`channel_lanes`] holds output channels of one pixel, [`pixel_lanes`] pixels of one output
//! channel. The cost model chooses between them.
//! [`pointwise`] replaces the first for kernels of one tap on channels-last images.

pub mod channel_lanes;
pub mod pixel_lanes;
pub mod pointwise;
mod problem;
mod runs;
mod scatter;

pub use problem::Problem;
