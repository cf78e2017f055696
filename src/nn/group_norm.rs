//! Group and layer normalisation.

use candle_core::{Module, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder};

use super::named;
use super::summary::record;
use crate::ops;

/// The number that is added to the variance, as in PyTorch.
const EPS: f64 = 1e-5;

/// Normalises each group of channels of each image (Wu, He, "Group Normalization", 2018), with a
/// factor and a bias per channel. [`group_norm`] builds it from a [`VarBuilder`].
///
/// # Shapes
/// - weight and bias: `[C]`
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
    /// A layer with the given parameters; eps is 1e-5.
    ///
    /// # Errors
    /// If `num_groups` does not divide the channels, or `weight` and `bias` are not vectors of one
    /// length.
    pub fn new(num_groups: usize, weight: Tensor, bias: Tensor) -> Result<Self> {
        let channels = weight.dims1()?;
        if bias.dims() != [channels] {
            candle_core::bail!(
                "group_norm: bias has the shape {:?}, must be [{channels}] like weight",
                bias.dims()
            );
        }
        check_groups(num_groups, channels, "")?;
        Ok(Self {
            num_groups,
            weight,
            bias,
            eps: EPS,
            path: String::new(),
        })
    }

    /// Sets the number that is added to the variance.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Sets the path that summaries and exported graphs show for this layer.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The factor of each channel, `[C]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias of each channel, `[C]`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// The number of groups.
    pub fn num_groups(&self) -> usize {
        self.num_groups
    }
}

/// A [`GroupNorm`] layer: takes `weight` and `bias`, `[C]` each, from `vb`. It starts as the
/// identity on normalised values.
///
/// # Errors
/// If `num_groups` does not divide the channels, or a tensor in `vb` has another shape.
pub fn group_norm(num_groups: usize, channels: usize, vb: VarBuilder) -> Result<GroupNorm> {
    check_groups(num_groups, channels, &vb.prefix())?;
    let weight = vb.get_with_hints(channels, "weight", Init::Const(1.0))?;
    let bias = vb.get_with_hints(channels, "bias", Init::Const(0.0))?;
    Ok(GroupNorm::new(num_groups, weight, bias)?.with_path(vb.prefix()))
}

fn check_groups(num_groups: usize, channels: usize, path: &str) -> Result<()> {
    if num_groups == 0 || !channels.is_multiple_of(num_groups) {
        candle_core::bail!(
            "{}: num_groups = {num_groups} does not divide {channels} channels",
            named("group_norm", path)
        );
    }
    Ok(())
}

impl Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let y = ops::group_norm(x, self.num_groups, weight, bias, self.eps)?;
        record(&self.path, "GroupNorm", &y, &[&self.weight, &self.bias], 0);
        Ok(y)
    }
}

/// Normalises over the last axes (Ba, Kiros, Hinton, "Layer Normalization", 2016), with a factor
/// and a bias per position in them. [`layer_norm`] builds it from a [`VarBuilder`].
///
/// # Shapes
/// - weight and bias: the normalised shape
/// - input and output: [.., normalised shape]
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    path: String,
}

impl LayerNorm {
    /// A layer with the given parameters; eps is 1e-5. `weight` has the shape over which the layer
    /// normalises.
    pub fn new(weight: Tensor, bias: Tensor) -> Self {
        Self {
            weight,
            bias,
            eps: EPS,
            path: String::new(),
        }
    }

    /// Sets the number that is added to the variance.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Sets the path that summaries and exported graphs show for this layer.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The factor of each position, of the normalised shape.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias of each position, of the normalised shape.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }
}

/// A [`LayerNorm`] layer: takes `weight` and `bias`, both of the shape `normalized_shape`, from
/// `vb`. It starts as the identity on normalised values.
///
/// # Errors
/// If a tensor in `vb` has another shape.
pub fn layer_norm(normalized_shape: impl Into<Shape>, vb: VarBuilder) -> Result<LayerNorm> {
    let shape = normalized_shape.into();
    let weight = vb.get_with_hints(shape.clone(), "weight", Init::Const(1.0))?;
    let bias = vb.get_with_hints(shape, "bias", Init::Const(0.0))?;
    Ok(LayerNorm::new(weight, bias).with_path(vb.prefix()))
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let y = ops::layer_norm(x, self.weight.dims(), weight, bias, self.eps)?;
        record(&self.path, "LayerNorm", &y, &[&self.weight, &self.bias], 0);
        Ok(y)
    }
}
