//! The input of both direct algorithms.

use super::super::geometry::Geometry;
use super::super::pack::weights::WeightStrides;
use super::super::plan::Plan;

/// A direct convolution and its arguments.
pub struct Problem<'a> {
    pub plan: Plan,
    /// The source, contiguous.
    pub src: &'a [f32],
    /// The weight in the op's layout.
    pub weights: &'a [f32],
    /// The positions of the plan's channels in the weight.
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
