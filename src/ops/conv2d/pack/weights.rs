//! The positions of a direct convolution's weights.

use super::super::geometry::Geometry;

/// The strides of a weight: the weight of a tap is at
/// `group * group + destination channel * dst + source channel * src + tap`.
#[derive(Debug, Clone, Copy)]
pub struct WeightStrides {
    /// Distance between groups.
    pub group: usize,
    /// Distance between destination channels.
    pub dst: usize,
    /// Distance between source channels.
    pub src: usize,
}

impl WeightStrides {
    /// For the convolution: output channels are the destination.
    pub fn forward(g: &Geometry) -> Self {
        Self {
            group: g.group_out() * g.patch(),
            dst: g.patch(),
            src: g.taps(),
        }
    }

    /// For the input gradient: input channels are the destination.
    pub fn input_grad(g: &Geometry) -> Self {
        Self {
            group: g.group_out() * g.patch(),
            dst: g.taps(),
            src: g.patch(),
        }
    }
}
