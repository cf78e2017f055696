//! The fully connected layer.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::WeightInit;
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
        Self::with_init(inputs, outputs, bias, WeightInit::Default, vb)
    }

    /// As [`Linear::new`], but `weight` and `bias` start as `init` says.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn with_init(
        inputs: usize,
        outputs: usize,
        bias: bool,
        init: WeightInit,
        vb: VarBuilder,
    ) -> Result<Self> {
        if inputs == 0 {
            candle_core::bail!("linear {}: no inputs", vb.prefix());
        }
        let (init, bias_init) = init.distributions(inputs, outputs);
        let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
        let bias = if bias {
            Some(vb.get_with_hints(outputs, "bias", bias_init)?)
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
