//! The gradient with respect to the weight.
//!
//! `dw[o][c][kh][kw]` is the sum over all output pixels of `dy[o][pixel] * x[c][pixel + tap]`. Two
//! algorithms compute it. They differ in what the lanes of a vector hold: [`channel_lanes`] holds
//! output channels of one pixel (f32 only), [`pixel_lanes`] pixels of one channel.
//!
//! In both, threads take fixed shares of the images, and their sums are added in order. So results
//! depend on the number of threads, but not on their timing.

pub mod channel_lanes;
pub mod pixel_lanes;
