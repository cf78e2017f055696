//! Each algorithm with each instruction set of this machine, against the definition.

mod channels_last;
mod depthwise;
mod direct;
mod dispatched;
mod im2col;
mod not_finite;
mod sizes;
mod support;
mod weight_gradients;
mod whole_image;
mod winograd;
