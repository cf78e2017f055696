//! Group and layer normalisation.

use candle_core::{Module, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder};

use super::summary::record;
use crate::ops::{group_norm, layer_norm};

/// What is added to the variance, as in PyTorch.
const EPS: f64 = 1e-5;

/// Normalises each group of channels of each image (Wu, He, "Group Normalization", 2018), with a
/// gain and a bias per channel.
///
/// # Shapes
/// - input and output: [N, C, …]
#[derive(Debug, Clone)]
pub struct GroupNorm {
    num_groups: usize,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    path: String,
}

impl GroupNorm {
    /// Takes `weight` and `bias`, `[C]` each, from `vb`; eps is 1e-5.
    ///
    /// # Errors
    /// If the groups do not divide the channels or `vb` has tensors of other shapes.
    pub fn new(num_groups: usize, channels: usize, vb: VarBuilder) -> Result<Self> {
        if num_groups == 0 || !channels.is_multiple_of(num_groups) {
            candle_core::bail!(
                "group_norm {}: {num_groups} groups do not divide {channels} channels",
                vb.prefix()
            );
        }
        Ok(Self {
            num_groups,
            weight: vb.get_with_hints(channels, "weight", Init::Const(1.0))?,
            bias: vb.get_with_hints(channels, "bias", Init::Const(0.0))?,
            eps: EPS,
            path: vb.prefix(),
        })
    }

    /// With another number added to the variance.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }
}

impl Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let y = group_norm(x, self.num_groups, weight, bias, self.eps)?;
        record(&self.path, "GroupNorm", &y, &[&self.weight, &self.bias], 0);
        Ok(y)
    }
}

/// Normalises over the last axes (Ba, Kiros, Hinton, "Layer Normalization", 2016), with a gain
/// and a bias per position in them.
///
/// # Shapes
/// - input and output: [.., normalized shape]
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    path: String,
}

impl LayerNorm {
    /// Takes `weight` and `bias`, both of the shape `normalized_shape`, from `vb`; eps is 1e-5.
    ///
    /// # Errors
    /// If `vb` has tensors of other shapes.
    pub fn new(normalized_shape: impl Into<Shape>, vb: VarBuilder) -> Result<Self> {
        let shape = normalized_shape.into();
        Ok(Self {
            weight: vb.get_with_hints(shape.clone(), "weight", Init::Const(1.0))?,
            bias: vb.get_with_hints(shape, "bias", Init::Const(0.0))?,
            eps: EPS,
            path: vb.prefix(),
        })
    }

    /// With another number added to the variance.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let y = layer_norm(x, self.weight.dims(), weight, bias, self.eps)?;
        record(&self.path, "LayerNorm", &y, &[&self.weight, &self.bias], 0);
        Ok(y)
    }
}
