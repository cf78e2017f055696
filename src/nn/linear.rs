//! The fully connected layer.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::summary::record;
use crate::ops::linear;

/// y = x Wᵀ + b with `weight` [out, in] and `bias` `[out]`.
///
/// # Shapes
/// - input: [.., in]
/// - output: [.., out]
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    path: String,
}

impl Linear {
    /// Takes `weight` and, with `bias`, `bias` from `vb`; both start uniform in
    /// ±1/sqrt(inputs), as in PyTorch.
    ///
    /// # Errors
    /// If there is no input or `vb` has tensors of other shapes.
    pub fn new(inputs: usize, outputs: usize, bias: bool, vb: VarBuilder) -> Result<Self> {
        if inputs == 0 {
            candle_core::bail!("linear {}: no inputs", vb.prefix());
        }
        let bound = 1.0 / (inputs as f64).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
        let bias = if bias {
            Some(vb.get_with_hints(outputs, "bias", init)?)
        } else {
            None
        };
        let path = vb.prefix();
        Ok(Self { weight, bias, path })
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = linear(x, &self.weight, self.bias.as_ref())?;
        let params: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        let inputs = self.weight.dims().last().copied().unwrap_or(0);
        record(&self.path, "Linear", &y, &params, y.elem_count() * inputs);
        Ok(y)
    }
}
