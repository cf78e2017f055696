//! What both direct algorithms compute.

use super::super::geometry::Geometry;
use super::super::pack::weights::WeightStrides;
use super::super::plan::Plan;

/// A direct convolution and its arguments.
pub struct Problem<'a> {
    pub plan: Plan,
    /// The source, contiguous.
    pub src: &'a [f32],
    /// The weight as the op got it.
    pub weights: &'a [f32],
    /// Where the plan's channels are in the weight.
    pub strides: WeightStrides,
    /// One value per destination channel.
    pub bias: Option<&'a [f32]>,
}

impl<'a> Problem<'a> {
    /// y from x.
    pub fn forward(
        g: &Geometry,
        x: &'a [f32],
        weights: &'a [f32],
        bias: Option<&'a [f32]>,
    ) -> Self {
        Self {
            plan: Plan::forward(g),
            src: x,
            weights,
            strides: WeightStrides::forward(g),
            bias,
        }
    }

    /// dx from dy.
    pub fn input_grad(g: &Geometry, dy: &'a [f32], weights: &'a [f32]) -> Self {
        Self {
            plan: Plan::input_grad(g),
            src: dy,
            weights,
            strides: WeightStrides::input_grad(g),
            bias: None,
        }
    }
}
