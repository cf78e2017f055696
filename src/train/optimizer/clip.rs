//! Gradient clipping.

use candle_core::{Result, Tensor};

use super::norm::global_norm;

/// The bound on gradients before an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clip {
    /// Scales all gradients down to this joint L2 norm
    /// (`torch.nn.utils.clip_grad_norm_`).
    Norm(f64),
    /// Clamps each element to this magnitude (`torch.nn.utils.clip_grad_value_`).
    Value(f64),
    /// Scales the gradient of each output unit down to this multiple of the unit's weight norm
    /// (`timm.utils.adaptive_clip_grad`). The head is not clipped.
    Adaptive(f64),
}

/// The smallest weight norm of a unit, so that units that start at zero can learn.
const MIN_WEIGHT_NORM: f64 = 1e-3;
/// The smallest gradient norm to divide by.
const MIN_GRADIENT_NORM: f64 = 1e-6;

/// Gradients, and how the rule clips them in its pass.
#[derive(Debug)]
pub(super) struct Clipped {
    /// One for each parameter; `None` for parameters without a gradient.
    pub gradients: Vec<Option<Tensor>>,
    /// Multiplies the gradients.
    pub scale: f64,
    /// Bounds each element; infinite for no bound.
    pub limit: f64,
    /// The joint norm before clipping, if it is known.
    pub norm: Option<f64>,
}

impl Clipped {
    /// Clips the gradients of `parameters`: a weight and whether it belongs to the head.
    pub fn new<'a>(
        clip: Option<Clip>,
        parameters: impl Iterator<Item = (&'a Tensor, bool)>,
        gradients: Vec<Option<Tensor>>,
    ) -> Result<Self> {
        let mut clipped = Self {
            gradients,
            scale: 1.0,
            limit: f64::INFINITY,
            norm: None,
        };
        match clip {
            None => {}
            Some(Clip::Norm(max)) => {
                let norm = clipped.global_norm()?;
                // PyTorch's clip_grad_norm_ adds 1e-6 as well.
                clipped.scale = (max / (norm + 1e-6)).min(1.0);
                clipped.norm = Some(norm);
            }
            Some(Clip::Value(limit)) => clipped.limit = limit,
            Some(Clip::Adaptive(factor)) => {
                for ((weight, head), gradient) in parameters.zip(&mut clipped.gradients) {
                    if let Some(gradient) = gradient.as_mut().filter(|_| !head) {
                        *gradient = adaptive(weight, gradient, factor)?;
                    }
                }
            }
        }
        Ok(clipped)
    }

    /// Scales the clipped gradients down to the joint norm `max`, as timm's LAMB does.
    pub fn scaled_to_norm(mut self, max: f64) -> Result<Self> {
        let limit = std::mem::replace(&mut self.limit, f64::INFINITY);
        if limit < f64::INFINITY {
            for gradient in self.gradients.iter_mut().flatten() {
                *gradient = gradient.clamp(-limit, limit)?;
            }
        }
        let norm = match self.norm {
            Some(norm) => norm,
            None => self.global_norm()?,
        };
        self.scale /= (norm * self.scale / max).max(1.0);
        Ok(self)
    }

    fn global_norm(&self) -> Result<f64> {
        global_norm(self.gradients.iter().flatten())
    }
}

/// Clips the gradient of each output unit: the first dimension of a weight, or all of a vector.
fn adaptive(weight: &Tensor, gradient: &Tensor, factor: f64) -> Result<Tensor> {
    let units = match weight.rank() {
        0 | 1 => 1,
        _ => weight.dim(0)?,
    };
    let unit_norms = |tensor: &Tensor| {
        let squares = tensor.reshape((units, ()))?.sqr()?;
        squares.sum_keepdim(1)?.sqrt()
    };
    let weight = weight.detach();
    let largest = (unit_norms(&weight)?.maximum(MIN_WEIGHT_NORM)? * factor)?;
    let norms = unit_norms(gradient)?;
    let scale = (&largest / norms.maximum(MIN_GRADIENT_NORM)?)?;
    let scale = norms
        .lt(&largest)?
        .where_cond(&scale.ones_like()?, &scale)?;
    let clipped = gradient.reshape((units, ()))?.broadcast_mul(&scale)?;
    clipped.reshape(weight.shape())
}
