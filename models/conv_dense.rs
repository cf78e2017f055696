//! Convolutions, flattened maps and dense layers: the classic networks of the studies of Misra,
//! "Mish: A Self Regularized Non-Monotonic Activation Function" (2019, arXiv:1908.08681). The paper
//! gives numbers of layers; what follows is from the author's public notebooks, or inferred as
//! stated.
//!
//! `conv2_mlp_<depth>x<width>` is the network of the depth study on MNIST: 5x5 convolutions with 20
//! and 50 channels and activations, a 2x2 max pool, then `depth` dense layers of `width` neurons,
//! each with batch norm and activation. Dropout follows the pool and each dense layer. The author's
//! notebook has this definition, with 500 neurons, a dropout rate of 0.25 and 12 to 22 dense layers.
//! The figure counts the convolutions and the classifier too: 15 to 25 layers. By this count
//! `conv2_mlp_2x500` has the five layers of the network of the input-noise study, which is described
//! by this number only; that it is this network is inferred.
//!
//! `conv4_mlp_<depth>x<width>` has 3x3 convolutions with 32, 32, 64 and 64 channels, a 2x2 max pool
//! after each pair, and dense layers without norms. `conv4_mlp_1x512` is the six-layer network of the
//! studies of optimizers, initialisers and learning rates: the paper states six layers, four of them
//! convolutions. Channels and paddings (the second convolution of each pair has none) are inferred:
//! they are the same as in Keras's CIFAR-10 example, whose documented accuracy matches the author's
//! plots. The study of the width varies the dense layer: 100, 250, 500 and 1024 neurons.
//!
//! `cnn4` has 3x3 convolutions with 32 and 64 channels without padding, a 2x2 max pool and a dense
//! layer of 128 neurons, without norms. It is the "4 layered" network of the author's first studies
//! on MNIST. The number of layers is known; the rest is inferred from Keras's MNIST example.
//!
//! `lenet4` has padded 5x5 convolutions with 20 and 50 channels, a 2x2 max pool after each, and a
//! dense layer of 500 neurons. The author's notebook has this definition, without norm and dropout.
//!
//! `minivgg` has padded 3x3 convolutions with 32, 32, 64 and 64 channels, a 2x2 max pool after each
//! pair, and a dense layer of 512 neurons. Batch norm follows each activation. The author states the
//! name, Fashion-MNIST and 25 epochs; the definition is inferred from the tutorial with this network,
//! these epochs and the author's class names, PyImageSearch's "Fashion MNIST with Keras and Deep
//! Learning".
//!
//! The dropout rate before the classifier is [`ModelSpec::drop_rate`](crate::ModelSpec::drop_rate), 0
//! by default; the originals have 0.5, and 0.25 in `conv2_mlp`. After each pool it is half this rate,
//! the originals' proportion, in `conv2_mlp` the whole rate, and 0 in `lenet4`.
//!
//! The flattened maps depend on the size of the images, which is
//! [`ModelSpec::img_size`](crate::ModelSpec::img_size): 28 is the paper's for MNIST, 32 the default.
//! A dense layer before a batch norm has no bias, which the norm would remove. Batch norms have
//! PyTorch's constants, not Keras's (an epsilon of 0.001, a momentum of 0.01 in PyTorch's meaning).

use candle_core::{Result, Tensor, bail};
use candle_mish::nn::{Act, BatchNorm2d, Conv2d, Conv2dConfig, Dropout};
use candle_mish::ops::{Pool2dParams, flatten_from, max_pool2d};
use candle_nn::{Module, ModuleT};

use crate::classifier::{Backbone, Classifier};
use crate::dense::{DenseStack, Norm, check_images};
use crate::entry::{Entry, Grid, Size};
use crate::groups::{GroupMatcher, Place};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::spec::{CIFAR_SIZE, COLOUR_CHANNELS, Stem};

pub(crate) const ENTRIES: [Entry; 6] = [
    entry("lenet4", &LENET4, |root| build(&LENET4, root)),
    entry("minivgg", &MINIVGG, |root| build(&MINIVGG, root)),
    entry("cnn4", &CNN4, |root| build(&CNN4, root)),
    conv2_mlp("conv2_mlp_2x500", (2, 500)),
    conv2_mlp("conv2_mlp_12x500", (12, 500)),
    conv4_mlp("conv4_mlp_1x512", (1, 512)),
];

const FAMILY: &str = "plain";
const PAPER: &str = "arXiv:1908.08681";

/// Each convolution with its activation and norm, and all dense layers together.
const GROUPS: GroupMatcher = &[
    ("conv#.", &[Place::At(0), Place::Numbers]),
    ("bn#.", &[Place::At(0), Place::Numbers]),
    ("act#.", &[Place::At(0), Place::Numbers]),
    ("layers.", &[Place::At(1)]),
];

/// A convolution: output channels, kernel size, and whether it is padded to keep the size.
type Conv = (usize, usize, bool);

/// A network.
struct Design {
    /// The convolutions before each pool.
    stages: &'static [&'static [Conv]],
    dense: Grid,
    /// Whether a batch norm follows the activation of each convolution.
    conv_norm: bool,
    /// The norm of the dense layers.
    dense_norm: Norm,
    /// The dropout rate after each pool, as a share of the network's rate.
    pool_dropout: f64,
}

const LENET4: Design = Design {
    stages: &[&[(20, 5, true)], &[(50, 5, true)]],
    dense: (1, 500),
    conv_norm: false,
    dense_norm: Norm::None,
    pool_dropout: 0.0,
};

const MINIVGG: Design = Design {
    stages: &[
        &[(32, 3, true), (32, 3, true)],
        &[(64, 3, true), (64, 3, true)],
    ],
    dense: (1, 512),
    conv_norm: true,
    dense_norm: Norm::After,
    pool_dropout: 0.5,
};

const CNN4: Design = Design {
    stages: &[&[(32, 3, false), (64, 3, false)]],
    dense: (1, 128),
    conv_norm: false,
    dense_norm: Norm::None,
    pool_dropout: 0.5,
};

const fn conv2_design(dense: Grid) -> Design {
    Design {
        stages: &[&[(20, 5, false), (50, 5, false)]],
        dense,
        conv_norm: false,
        dense_norm: Norm::Before,
        pool_dropout: 1.0,
    }
}

const fn conv4_design(dense: Grid) -> Design {
    Design {
        stages: &[
            &[(32, 3, true), (32, 3, false)],
            &[(64, 3, true), (64, 3, false)],
        ],
        dense,
        conv_norm: false,
        dense_norm: Norm::None,
        pool_dropout: 0.5,
    }
}

const fn entry(name: &'static str, design: &Design, build: crate::entry::Build) -> Entry {
    Entry::new(name, FAMILY, PAPER, design.size(), build)
        .with_img_size()
        .groups(GROUPS)
}

/// The entry of any `conv2_mlp_<depth>x<width>`.
pub(crate) const fn conv2_mlp(name: &'static str, grid: Grid) -> Entry {
    let build = (grid, conv2_build as crate::entry::BuildGrid);
    Entry::grid(name, FAMILY, PAPER, conv2_design(grid).size(), build)
        .with_img_size()
        .groups(GROUPS)
}

/// The entry of any `conv4_mlp_<depth>x<width>`.
pub(crate) const fn conv4_mlp(name: &'static str, grid: Grid) -> Entry {
    let build = (grid, conv4_build as crate::entry::BuildGrid);
    Entry::grid(name, FAMILY, PAPER, conv4_design(grid).size(), build)
        .with_img_size()
        .groups(GROUPS)
}

fn conv2_build(grid: Grid, root: Layers) -> Result<Box<dyn Model>> {
    build(&conv2_design(grid), root)
}

fn conv4_build(grid: Grid, root: Layers) -> Result<Box<dyn Model>> {
    build(&conv4_design(grid), root)
}

impl Design {
    /// Parameters and multiply-adds for 32x32 colour images and 100 classes.
    const fn size(&self) -> Size {
        let (depth, width) = self.dense;
        let classes = Stem::Cifar.num_classes();
        let (mut inputs, mut side) = (COLOUR_CHANNELS, CIFAR_SIZE);
        let (mut params, mut products) = (0, 0);
        let mut stage = 0;
        while stage < self.stages.len() {
            let mut conv = 0;
            while conv < self.stages[stage].len() {
                let (outputs, kernel, padded) = self.stages[stage][conv];
                if !padded {
                    side -= kernel - 1;
                }
                let weights = inputs * outputs * kernel * kernel;
                products += weights * side * side;
                params += weights + outputs;
                if self.conv_norm {
                    params += 2 * outputs;
                }
                inputs = outputs;
                conv += 1;
            }
            side /= 2;
            stage += 1;
        }
        let weights = (inputs * side * side + (depth - 1) * width + classes) * width;
        params += weights + depth * self.dense_norm.values() * width + classes;
        (params, (products + weights) as u64)
    }
}

/// A convolution, an activation, and perhaps a norm.
struct ConvActNorm {
    conv: Conv2d,
    act: Act,
    norm: Option<BatchNorm2d>,
}

impl ModuleT for ConvActNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.act.forward_t(&self.conv.forward(x)?, train)?;
        match &self.norm {
            Some(norm) => norm.forward_t(&y, train),
            None => Ok(y),
        }
    }
}

struct ConvDense {
    /// The channels and the size of the images.
    input: (usize, usize),
    stages: Vec<Vec<ConvActNorm>>,
    pool_dropout: Dropout,
    dense: DenseStack,
}

fn build(design: &Design, root: Layers) -> Result<Box<dyn Model>> {
    let input = (root.spec.in_chans, root.img_size());
    let (mut channels, mut side) = input;
    let mut info = Vec::new();
    let mut stages = Vec::new();
    let mut index = 0;
    for rows in design.stages {
        let mut stage = Vec::new();
        for &(outputs, kernel, padded) in rows.iter() {
            index += 1;
            let config = Conv2dConfig::same(kernel).bias(true);
            let (config, lost) = match padded {
                true => (config, 0),
                false => (config.padding(0), kernel - 1),
            };
            side = side.saturating_sub(lost);
            let conv = root.pp(format!("conv{index}"));
            let norm = root.pp(format!("bn{index}"));
            let norm = design.conv_norm.then(|| norm.norm(outputs));
            stage.push(ConvActNorm {
                conv: conv.conv(channels, outputs, config)?,
                act: root.pp(format!("act{index}")).act(outputs)?,
                norm: norm.transpose()?,
            });
            channels = outputs;
        }
        let last = if design.conv_norm { "bn" } else { "act" };
        let last = format!("{last}{index}");
        info.push(FeatureInfo::new(channels, 1 << stages.len(), last));
        stages.push(stage);
        side /= 2;
    }
    if side == 0 {
        bail!("img_size is {}, too small for this network", input.1);
    }
    let network = ConvDense {
        input,
        stages,
        pool_dropout: root.dropout_of(design.pool_dropout)?,
        dense: DenseStack::new(
            channels * side * side,
            design.dense,
            design.dense_norm,
            &root,
        )?,
    };
    Classifier::boxed(network, info, design.dense.1, "fc", &root)
}

impl Backbone for ConvDense {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let (in_chans, size) = self.input;
        check_images(images, in_chans, size)?;
        let mut x = images.clone();
        for stage in &self.stages {
            for conv in stage {
                x = conv.forward_t(&x, train)?;
            }
            taps.offer(&x);
            x = max_pool2d(&x, &Pool2dParams::new((2, 2)))?;
            x = self.pool_dropout.forward_t(&x, train)?;
        }
        self.dense.forward(&flatten_from(&x, 1)?, train)
    }
}
