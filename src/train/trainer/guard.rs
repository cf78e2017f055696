//! An optimizer that takes no step with gradients that are not finite.

use std::collections::HashMap;

use candle_core::{Result, Tensor};

use crate::autograd::Gradients;
use crate::train::finite::is_finite;
use crate::train::optimizer::{Clip, Optimizer, Rates};

/// Passes steps on to an optimizer, unless a gradient is infinite or NaN.
///
/// The check reads each gradient once, a small part of a step on the CPU. On another device it would
/// wait for every gradient, so there only the loss is checked.
pub(super) struct Guard<'a, O> {
    inner: &'a mut O,
    /// Whether the last step was refused.
    pub refused: bool,
}

impl<'a, O: Optimizer> Guard<'a, O> {
    pub(super) fn new(inner: &'a mut O) -> Self {
        Self {
            inner,
            refused: false,
        }
    }
}

impl<O: Optimizer> Optimizer for Guard<'_, O> {
    fn step(
        &mut self,
        gradients: &Gradients,
        rates: Rates,
        clip: Option<Clip>,
    ) -> Result<Option<f64>> {
        for gradient in gradients.tensors() {
            if gradient.device().is_cpu() && !is_finite(gradient)? {
                self.refused = true;
                return Ok(None);
            }
        }
        self.inner.step(gradients, rates, clip)
    }

    fn end_epoch(&mut self) -> Result<()> {
        self.inner.end_epoch()
    }

    fn steps(&self) -> u64 {
        self.inner.steps()
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.inner.state()
    }

    fn restore(&mut self, state: &HashMap<String, Tensor>, steps: u64) -> Result<()> {
        self.inner.restore(state, steps)
    }
}
