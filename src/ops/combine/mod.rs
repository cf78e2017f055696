//! Sums, concatenations, slices, padding and scales, each with its own backward.

mod channels_last;
mod composed;
mod concat;
mod planes;
mod scale;
mod scale_add_act;
mod sum;
mod view;

pub use concat::{cat, stack};
pub use scale::{scale, scale_channels};
pub use scale_add_act::scale_channels_add_act;
pub use sum::{add, add_scaled};
pub use view::{flatten_from, narrow, pad, permute, reshape};
