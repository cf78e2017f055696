//! What an update rule is: its buffers, and its update of an element or of a tensor.

use candle_core::Result;

use super::number::{Number, Whole};

/// A tensor that a rule keeps for each parameter, in the parameter's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Buffer {
    /// PyTorch's or timm's name.
    pub name: &'static str,
    /// The value of all elements before the first step.
    pub initial: f64,
}

impl Buffer {
    pub(super) const fn zeros(name: &'static str) -> Self {
        Self { name, initial: 0.0 }
    }
}

/// What a rule knows about a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Now {
    pub lr: f64,
    /// The number of this step, counted from 1.
    pub step: u64,
    pub weight_decay: f64,
    /// Whether the weight decay is already applied to the weight.
    pub decoupled: bool,
}

/// A rule that updates each element alone.
pub(super) trait ElementRule {
    /// The rule with the constants of one step.
    type Step: ElementStep;

    /// At most three buffers.
    fn buffers(&self) -> Vec<Buffer>;

    fn at(&self, now: Now) -> Self::Step;
}

/// One step of an [`ElementRule`].
pub(super) trait ElementStep: Sync {
    /// Returns the new weight and updates the buffers, in the order of [`ElementRule::buffers`].
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N;
}

/// A rule that needs norms or products of whole tensors.
pub(super) trait TensorRule {
    fn buffers(&self) -> Vec<Buffer>;

    /// Returns the new weight and updates the buffers.
    fn update(&self, now: Now, w: Whole, g: Whole, buffers: &mut [Whole]) -> Result<Whole>;
}
