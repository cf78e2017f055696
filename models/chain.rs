//! A backbone without branches: stages of convolutions with batch norm and activation, and max
//! pooling between the stages.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, Dropout};
use candle_mish::ops::{Pool2dParams, max_pool2d};
use candle_nn::ModuleT;

use crate::groups::{GroupMatcher, Place};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Taps};
use crate::recomputed::Recomputed;

/// The output channels and kernel size of each convolution, stage by stage.
pub(crate) type Stages = [&'static [(usize, usize)]];

/// Each convolution, norm and activation is a layer of its own.
pub(crate) const GROUPS: GroupMatcher = &[
    ("conv#.", &[Place::Numbers, Place::At(0)]),
    ("bn#.", &[Place::Numbers, Place::At(1)]),
    ("act#.", &[Place::Numbers, Place::At(2)]),
];

/// Convolutions of one resolution.
struct Stage(Vec<ConvNormAct>);

impl ModuleT for Stage {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let conv = |x: Tensor, conv: &ConvNormAct| conv.forward_t(&x, train);
        self.0.iter().try_fold(x.clone(), conv)
    }
}

/// The stages, with 2x2 max pooling and dropout between them.
pub(crate) struct Chain {
    stages: Vec<Recomputed<Stage>>,
    dropout: Dropout,
    /// One map per stage, its last.
    pub info: Vec<FeatureInfo>,
    /// The channels of the last map.
    pub channels: usize,
}

impl Chain {
    /// Convolutions of stride 1 that keep the size, at `conv1`, `bn1`, `act1`, `conv2`, … below
    /// `layers`.
    pub fn new(stages: &Stages, layers: &Layers) -> Result<Self> {
        let (mut channels, mut index) = (layers.spec.in_chans, 0);
        let mut info = Vec::with_capacity(stages.len());
        let mut built = Vec::with_capacity(stages.len());
        for (number, rows) in stages.iter().enumerate() {
            let mut stage = Vec::with_capacity(rows.len());
            for &(outputs, kernel) in rows.iter() {
                index += 1;
                let [conv, norm, act] = ["conv", "bn", "act"].map(|name| format!("{name}{index}"));
                let config = Conv2dConfig::same(kernel).bias(true);
                let names = (&*conv, &*norm, &*act);
                stage.push(layers.conv_norm_act(names, channels, outputs, config)?);
                channels = outputs;
            }
            built.push(layers.block(Stage(stage)));
            info.push(FeatureInfo::new(
                channels,
                1 << number,
                format!("act{index}"),
            ));
        }
        Ok(Self {
            stages: built,
            dropout: layers.dropout()?,
            info,
            channels,
        })
    }

    /// The last map.
    pub fn forward(&self, x: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, stage) in self.stages.iter().enumerate() {
            if i > 0 {
                x = max_pool2d(&x, &Pool2dParams::new((2, 2)))?;
                x = self.dropout.forward_t(&x, train)?;
            }
            x = stage.forward_t(&x, train)?;
            taps.offer(&x);
        }
        Ok(x)
    }
}
