//! Convolutions in a row, each with batch norm and activation, cut into stages by max pooling:
//! the body of networks without branches.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, Dropout};
use candle_mish::ops::{Pool2dParams, max_pool2d};
use candle_nn::ModuleT;

use crate::layers::Layers;

/// The output channels and the kernel of each convolution, stage by stage.
pub(crate) type Stages = [&'static [(usize, usize)]];

/// The stages; between two of them the maximum of 2x2 windows and dropout.
pub(crate) struct Chain {
    stages: Vec<Vec<ConvNormAct>>,
    dropout: Dropout,
}

impl Chain {
    /// Convolutions at stride 1 that keep the size, at `conv1`, `bn1`, `act1`, `conv2`, … below
    /// `layers`, and dropout of the user's rate. Also gives the channels of the last one.
    pub fn new(stages: &Stages, layers: &Layers) -> Result<(Self, usize)> {
        let (mut inputs, mut index) = (layers.options.in_channels, 0);
        let mut conv = |&(outputs, kernel): &(usize, usize)| {
            index += 1;
            let names = [
                format!("conv{index}"),
                format!("bn{index}"),
                format!("act{index}"),
            ];
            let names = (&*names[0], &*names[1], &*names[2]);
            let config = Conv2dConfig::same(kernel).bias(true);
            let conv = layers.conv_norm_act(names, inputs, outputs, config);
            inputs = outputs;
            conv
        };
        let stages = stages
            .iter()
            .map(|stage| stage.iter().map(&mut conv).collect());
        let stages = stages.collect::<Result<_>>()?;
        let dropout = layers.dropout()?;
        Ok((Self { stages, dropout }, inputs))
    }
}

impl ModuleT for Chain {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, stage) in self.stages.iter().enumerate() {
            if i > 0 {
                x = max_pool2d(&x, &Pool2dParams::new((2, 2)))?;
                x = self.dropout.forward_t(&x, train)?;
            }
            for conv in stage {
                x = conv.forward_t(&x, train)?;
            }
        }
        Ok(x)
    }
}
