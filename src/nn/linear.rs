//! The fully connected layer.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::init::Fans;
use super::summary::record;
use super::{WeightInit, named};
use crate::ops;

/// The options of a [`Linear`] layer, with PyTorch's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearConfig {
    /// Whether the layer adds a bias.
    pub bias: bool,
    /// The distribution of the initial weight and bias.
    pub init: WeightInit,
}

impl Default for LinearConfig {
    /// With a bias; both parameters start uniform in ±1/sqrt(inputs).
    fn default() -> Self {
        Self {
            bias: true,
            init: WeightInit::Default,
        }
    }
}

/// A fully connected layer: y = x Wᵀ + b.
///
/// [`linear`], [`linear_no_bias`] and [`linear_with`] build it from a [`VarBuilder`].
///
/// # Shapes
/// - weight: [outputs, inputs]; bias: `[outputs]`
/// - input: [.., inputs]
/// - output: [.., outputs]
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    path: String,
}

impl Linear {
    /// A layer with the given parameters.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self {
            weight,
            bias,
            path: String::new(),
        }
    }

    /// Sets the path that summaries and exported graphs show for this layer.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The weight, [outputs, inputs].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[outputs]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

/// A [`Linear`] layer with PyTorch's defaults: takes `weight` and `bias` from `vb`.
///
/// # Errors
/// If `inputs` is zero, or a tensor in `vb` has another shape.
pub fn linear(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Linear> {
    linear_with(inputs, outputs, LinearConfig::default(), vb)
}

/// A [`Linear`] layer without a bias: takes `weight` from `vb`.
///
/// # Errors
/// If `inputs` is zero, or the tensor in `vb` has another shape.
pub fn linear_no_bias(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Linear> {
    let config = LinearConfig {
        bias: false,
        ..LinearConfig::default()
    };
    linear_with(inputs, outputs, config, vb)
}

/// A [`Linear`] layer with the options of `config`: takes `weight` and, if `config` has one,
/// `bias` from `vb`.
///
/// # Errors
/// If `inputs` is zero, or a tensor in `vb` has another shape.
pub fn linear_with(
    inputs: usize,
    outputs: usize,
    config: LinearConfig,
    vb: VarBuilder,
) -> Result<Linear> {
    if inputs == 0 {
        candle_core::bail!("{}: inputs must not be 0", named("linear", &vb.prefix()));
    }
    let (init, bias_init) = config.init.distributions(Fans {
        fan_in: inputs,
        fan_out: outputs,
        fan_out_of_group: outputs,
    });
    let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
    let bias = if config.bias {
        Some(vb.get_with_hints(outputs, "bias", bias_init)?)
    } else {
        None
    };
    Ok(Linear::new(weight, bias).with_path(vb.prefix()))
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = ops::linear(x, &self.weight, self.bias.as_ref())?;
        let params: Vec<&Tensor> = std::iter::once(&self.weight).chain(&self.bias).collect();
        let inputs = self.weight.dims().last().copied().unwrap_or(0);
        record(&self.path, "Linear", &y, &params, y.elem_count() * inputs);
        Ok(y)
    }
}
