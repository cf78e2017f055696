//! The parts that Inception v3 and Inception-ResNet v2 share: branches described as data, their
//! layers, and the stem.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{AvgPool2d, Conv2dConfig, MaxPool2d};
use candle_mish::ops::{Pool2dParams, cat};
use candle_nn::ModuleT;

use crate::layers::Layers;
use crate::model::{FeatureInfo, Taps};
use crate::spec::Stem;

/// Epsilon and momentum of the batch norms.
pub(crate) const NORM: (f64, f64) = (1e-3, 0.1);

/// One step of a branch.
pub(crate) enum Step {
    /// A convolution with norm and activation.
    Conv(&'static str, usize, Conv2dConfig),
    /// The maximum of 3x3 windows at stride 2.
    MaxPool,
    /// The mean of 3x3 windows at stride 1; `count_include_pad` counts the padding.
    AvgPool { count_include_pad: bool },
    /// Branches side by side whose channels are concatenated, below a name if there is one.
    Fork(Option<&'static str>, Vec<Branch>),
}

/// Steps in sequence.
pub(crate) type Branch = Vec<Step>;

/// A convolution that keeps the size.
pub(crate) fn same(name: &'static str, outputs: usize, kernel: (usize, usize)) -> Step {
    let config = Conv2dConfig {
        kernel_size: kernel,
        padding: (kernel.0 / 2, kernel.1 / 2),
        ..Conv2dConfig::same(1)
    };
    Step::Conv(name, outputs, config)
}

/// A 3x3 convolution without padding.
pub(crate) fn valid(name: &'static str, outputs: usize, stride: usize) -> Step {
    let config = Conv2dConfig::same(3).padding(0).stride(stride);
    Step::Conv(name, outputs, config)
}

type Layer = Box<dyn ModuleT + Send + Sync>;

/// The layers of a [`Branch`], in sequence.
pub(crate) struct Sequence(Vec<Layer>);

impl Sequence {
    /// The layers and their output channels.
    pub fn new(steps: &[Step], inputs: usize, layers: &Layers) -> Result<(Self, usize)> {
        let mut channels = inputs;
        let layer = |step: &Step| -> Result<Layer> {
            let window = Pool2dParams::new((3, 3));
            Ok(match step {
                Step::Conv(name, outputs, config) => {
                    let inputs = std::mem::replace(&mut channels, *outputs);
                    let names = ("conv", "bn", "bn.act");
                    let at = layers.pp(name);
                    Box::new(at.conv_norm_act(names, inputs, *outputs, *config)?)
                }
                Step::MaxPool => Box::new(MaxPool2d::new(window.with_stride((2, 2)))),
                Step::AvgPool { count_include_pad } => {
                    let window = window.with_stride((1, 1)).with_padding((1, 1));
                    Box::new(AvgPool2d::new(window).count_include_pad(*count_include_pad))
                }
                Step::Fork(name, branches) => {
                    let at = name.map_or_else(|| layers.clone(), |name| layers.pp(name));
                    let (fork, outputs) = Fork::new(branches, channels, &at)?;
                    channels = outputs;
                    match name {
                        Some(_) => Box::new(at.block(fork)),
                        // A part of a block.
                        None => Box::new(fork),
                    }
                }
            })
        };
        let sequence = steps.iter().map(layer).collect::<Result<_>>()?;
        Ok((Self(sequence), channels))
    }
}

impl ModuleT for Sequence {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let step = |x: Tensor, layer: &Layer| layer.forward_t(&x, train);
        self.0.iter().try_fold(x.clone(), step)
    }
}

/// Branches side by side, concatenated.
pub(crate) struct Fork(Vec<Sequence>);

impl Fork {
    /// The branches and the sum of their output channels.
    pub fn new(branches: &[Branch], inputs: usize, layers: &Layers) -> Result<(Self, usize)> {
        let mut channels = 0;
        let branch = |branch: &Branch| {
            let (sequence, outputs) = Sequence::new(branch, inputs, layers)?;
            channels += outputs;
            Ok(sequence)
        };
        let branches = branches.iter().map(branch).collect::<Result<_>>()?;
        Ok((Self(branches), channels))
    }
}

impl ModuleT for Fork {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let outputs = self.0.iter().map(|branch| branch.forward_t(x, train));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        cat(&outputs.iter().collect::<Vec<_>>(), 1)
    }
}

/// The first layers of both networks. For ImageNet a max pool follows each of the two parts.
pub(crate) struct InceptionStem {
    parts: [Sequence; 2],
    pool: Option<MaxPool2d>,
}

impl InceptionStem {
    /// The output channels.
    pub const CHANNELS: usize = 192;

    /// The stem with these names of its five convolutions, and its two maps.
    pub fn new(names: [&'static str; 5], layers: &Layers) -> Result<(Self, Vec<FeatureInfo>)> {
        let [first, second, third, fourth, fifth] = names;
        let same3x3 = |name, outputs| same(name, outputs, (3, 3));
        let (begin, reductions) = match layers.spec.stem {
            Stem::Cifar => ([same3x3(first, 32), same3x3(second, 32)], [1, 1]),
            Stem::ImageNet => ([valid(first, 32, 2), valid(second, 32, 1)], [2, 4]),
        };
        let mut begin = Vec::from(begin);
        begin.push(same3x3(third, 64));
        let (begin, channels) = Sequence::new(&begin, layers.spec.in_chans, layers)?;
        let end = [same(fourth, 80, (1, 1)), valid(fifth, Self::CHANNELS, 1)];
        let (end, _) = Sequence::new(&end, channels, layers)?;
        let info = vec![
            FeatureInfo::new(channels, reductions[0], third),
            FeatureInfo::new(Self::CHANNELS, reductions[1], fifth),
        ];
        let pool = MaxPool2d::new(Pool2dParams::new((3, 3)).with_stride((2, 2)));
        let stem = Self {
            parts: [begin, end],
            pool: (layers.spec.stem == Stem::ImageNet).then_some(pool),
        };
        Ok((stem, info))
    }

    /// The input of the first block.
    pub fn forward(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = images.clone();
        for part in &self.parts {
            x = part.forward_t(&x, train)?;
            taps.offer(&x);
            if let Some(pool) = &self.pool {
                x = pool.forward(&x)?;
            }
        }
        Ok(x)
    }
}
