//! What precedes every rule: clipping, penalties and weight decay.

use super::number::Number;
use super::traits::Now;

/// One step over one group of parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update {
    pub now: Now,
    /// Multiplies the gradient, for clipping by norm.
    pub scale: f64,
    /// Bounds each element of the gradient, for clipping by value; infinite for no bound.
    pub limit: f64,
    /// Adds this times the sign of the weight to the gradient.
    pub l1: f64,
    /// Adds this times the weight to the gradient.
    pub l2: f64,
    /// Multiplies the weight, for decoupled weight decay.
    pub keep: f64,
}

/// Makes the weight and the gradient for a rule.
pub(super) trait Prepare: Sync {
    fn prepare<N: Number>(&self, w: N, g: N) -> (N, N);
}

impl Prepare for Update {
    #[inline(always)]
    fn prepare<N: Number>(&self, w: N, g: N) -> (N, N) {
        let g = (g * self.scale).clamp(self.limit);
        let mut g = g.add_scaled(&w, self.l2);
        if self.l1 != 0.0 {
            g = g.add_scaled(&w.clone().sign(), self.l1);
        }
        (w * self.keep, g)
    }
}

/// The usual case of an [`Update`], without branches in the loop over elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    scale: f64,
    l2: f64,
}

impl Update {
    /// The same update if it neither clamps nor has an L1 penalty or decoupled weight decay.
    pub fn plain(&self) -> Option<Plain> {
        let plain = self.limit == f64::INFINITY && self.l1 == 0.0 && self.keep == 1.0;
        let Self { scale, l2, .. } = *self;
        plain.then_some(Plain { scale, l2 })
    }
}

impl Prepare for Plain {
    #[inline(always)]
    fn prepare<N: Number>(&self, w: N, g: N) -> (N, N) {
        let g = (g * self.scale).add_scaled(&w, self.l2);
        (w, g)
    }
}
