//! A stack of dense layers of one width: all layers of a perceptron, or those after convolutions.

use candle_core::{Result, Tensor, bail};
use candle_mish::nn::{Act, BatchNorm2d, Dropout, Linear, linear, linear_no_bias};
use candle_nn::{Module, ModuleT};

use crate::entry::Grid;
use crate::layers::Layers;

/// Where a layer has its batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norm {
    /// It has none.
    None,
    /// Before the activation. The dense layer then has no bias.
    Before,
    /// After the activation.
    After,
}

impl Norm {
    /// The values of a layer per neuron, apart from its weights: the bias, and the norm's scale and
    /// bias.
    pub const fn values(self) -> usize {
        match self {
            Self::None => 1,
            Self::Before => 2,
            Self::After => 3,
        }
    }
}

/// Dense layers, with dropout between them.
pub(crate) struct DenseStack {
    dense: Vec<Dense>,
    dropout: Dropout,
}

impl DenseStack {
    /// `depth` layers of `width` neurons over `inputs` values, at `layers.0.linear`, `layers.0.bn`,
    /// `layers.0.act`, `layers.1.linear`, … below `root`.
    pub fn new(inputs: usize, (depth, width): Grid, norm: Norm, root: &Layers) -> Result<Self> {
        let dense = |i: usize| {
            let inputs = if i > 0 { width } else { inputs };
            Dense::new(inputs, width, norm, &root.pp("layers").pp(i))
        };
        Ok(Self {
            dense: (0..depth).map(dense).collect::<Result<_>>()?,
            dropout: root.dropout()?,
        })
    }

    /// The outputs [N, width] for inputs [N, C]. The dropout after the last layer belongs to the
    /// classifier.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, dense) in self.dense.iter().enumerate() {
            if i > 0 {
                x = self.dropout.forward_t(&x, train)?;
            }
            x = dense.forward_t(&x, train)?;
        }
        Ok(x)
    }
}

struct Dense {
    linear: Linear,
    norm: Option<BatchNorm2d>,
    norm_first: bool,
    act: Act,
}

impl Dense {
    fn new(inputs: usize, outputs: usize, norm: Norm, layers: &Layers) -> Result<Self> {
        let vb = layers.vb.pp("linear");
        let norm_first = norm == Norm::Before;
        Ok(Self {
            linear: if norm_first {
                linear_no_bias(inputs, outputs, vb)?
            } else {
                linear(inputs, outputs, vb)?
            },
            norm: match norm {
                Norm::None => None,
                Norm::Before | Norm::After => Some(layers.pp("bn").norm(outputs)?),
            },
            norm_first,
            act: layers.pp("act").act(outputs)?,
        })
    }
}

impl ModuleT for Dense {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.linear.forward(x)?;
        match &self.norm {
            Some(norm) if self.norm_first => norm.forward_act(&y, None, &self.act, train),
            Some(norm) => norm.forward_t(&self.act.forward_t(&y, train)?, train),
            None => self.act.forward_t(&y, train),
        }
    }
}

/// Refuses images that do not have the channels and the size that a network is built for.
pub(crate) fn check_images(images: &Tensor, in_chans: usize, size: usize) -> Result<()> {
    let (_, channels, height, width) = images.dims4()?;
    if channels != in_chans {
        bail!("images of {in_chans} channels expected, not {channels}");
    }
    if (height, width) != (size, size) {
        bail!("this network takes {size}x{size} images only, not {height}x{width}");
    }
    Ok(())
}
