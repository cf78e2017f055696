//! Calls of activations on a tensor, to be timed.

use std::hint::black_box;

use anyhow::Result;
use candle_core::{DType, Device, ModuleT, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{Act, act};
use candle_mish::rng::Generator;
use candle_nn::{VarBuilder, VarMap};
use serde::Deserialize;

use super::mish::values;
use super::timing::Call;

/// What a call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    Forward,
    /// Forward, and the gradients of the input and of learned parameters.
    ForwardBackward,
}

/// Activations and a tensor.
pub struct ActivationCalls {
    layers: Vec<Act>,
    x: Tensor,
    variable: Var,
}

impl ActivationCalls {
    /// Layers of `activations`, and a tensor `[N, C, ..]` of this shape with values from -3 to 3.
    ///
    /// # Errors
    /// If the shape lacks channels, is empty or too large, or memory is short.
    pub fn new(
        activations: &[Activation],
        dtype: DType,
        shape: &[usize],
        device: &Device,
    ) -> Result<Self> {
        let x = Tensor::from_vec(values(shape)?, shape, &Device::Cpu)?;
        let x = x.to_dtype(dtype)?.to_device(device)?;
        let (generator, parameters) = (Generator::new(0), VarMap::new());
        let vb = VarBuilder::from_varmap(&parameters, dtype, device);
        let layer = |(i, activation): (usize, &Activation)| {
            act(activation, shape[1], vb.pp(i.to_string()), &generator)
        };
        let layers = activations.iter().enumerate().map(layer);
        Ok(Self {
            layers: layers.collect::<candle_core::Result<_>>()?,
            variable: Var::from_tensor(&x)?,
            x,
        })
    }

    /// The call of an activation.
    pub fn call(&self, activation: usize, pass: Pass) -> Call<'_> {
        let (layer, variable) = (&self.layers[activation], self.variable.as_tensor());
        match pass {
            Pass::Forward => Box::new(|| {
                black_box(layer.forward_t(&self.x, true)?);
                Ok(())
            }),
            Pass::ForwardBackward => Box::new(move || {
                black_box(value_and_grad(|| {
                    Ok((layer.forward_t(variable, true)?, ()))
                })?);
                Ok(())
            }),
        }
    }
}
