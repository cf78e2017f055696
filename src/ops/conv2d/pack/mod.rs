//! Inputs and weights in the order in which the microkernels read them.
//!
//! | file | from | to | read by |
//! | --- | --- | --- | --- |
//! | [`planes`] | planes | padded planes, one per remainder under the stride | depthwise, weight gradient with pixel lanes |
//! | [`band`] | rows of planes | padded rows, one set per remainder under the stride | direct with pixel lanes |
//! | [`slots`] | rows of outputs | the vectors that cover them | direct with pixel lanes |
//! | [`panels`] | planes | `[pixel][channel]` | weight gradient with channel lanes |
//! | [`pairs`] | rows of values | words of two bfloat16 | direct and weight gradient with channel lanes |
//! | [`weights`] | weights | their order for the input gradient | direct |
//! | [`channel_weights`] | weights | `[tap][source channel][channel of the block]` | direct with channel lanes |
//! | [`pixel_weights`] | weights | `[source channel][tap][channel of the block]` | direct with pixel lanes |
//!
//! [`packed_weight`] keeps the packed weights between calls. [`crate::simd::transpose`] has the transposes in
//! registers that these use.

pub mod band;
pub mod channel_weights;
pub mod packed_weight;
pub mod pairs;
pub mod panels;
pub mod pixel_weights;
pub mod planes;
pub mod slots;
pub mod weights;
