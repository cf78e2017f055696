//! The plain networks of the paper: Misra, "Mish: A Self Regularized Non-Monotonic Activation
//! Function" (2019, arXiv:1908.08681), section 4.1.
//!
//! `cnn6` has six 3x3 convolutions with batch norm, two each with 32, 64 and 128 channels, max
//! pooling between them, and global average pooling before the classifier. It is not the paper's
//! six-layer network, which has four convolutions and two dense layers: `conv4_mlp_1x512` in
//! conv_dense.rs, which has all networks with convolutions and dense layers.
//!
//! `mlp_<depth>x<width>` has `depth` dense layers of `width` neurons, each with batch norm,
//! activation and dropout, before the classifier: the depth study as the paper describes it. The
//! author's notebook has convolutions before the dense layers: `conv2_mlp_<depth>x<width>`. Any depth
//! and width is valid; the table lists two. The layers have no bias, since a batch norm follows. The
//! images have [`ModelSpec::img_size`](crate::ModelSpec::img_size) pixels.
//!
//! The dropout rate is 0 by default; the paper has 0.25.

use candle_core::{Result, Tensor};
use candle_mish::ops::{flatten_from, global_avg_pool2d};

use crate::chain::{self, Chain, Stages};
use crate::classifier::{Backbone, Classifier};
use crate::dense::{DenseStack, Norm, check_images};
use crate::entry::{Entry, Grid};
use crate::groups::{GroupMatcher, STEM};
use crate::layers::Layers;
use crate::model::{Model, Taps};
use crate::spec::{CIFAR_SIZE, COLOUR_CHANNELS};

pub(crate) const ENTRIES: [Entry; 3] = [
    Entry::new("cnn6", FAMILY, PAPER, (300_804, 38_646_272), cnn6).groups(chain::GROUPS),
    mlp_entry("mlp_5x500", (5, 500)),
    mlp_entry("mlp_15x500", (15, 500)),
];

const FAMILY: &str = "plain";
const PAPER: &str = "arXiv:1908.08681";

/// All dense layers form one group.
const MLP_GROUPS: GroupMatcher = &[("layers.", STEM)];

const CNN6: [&[(usize, usize)]; 3] = [
    &[(32, 3), (32, 3)],
    &[(64, 3), (64, 3)],
    &[(128, 3), (128, 3)],
];

fn cnn6(layers: Layers) -> Result<Box<dyn Model>> {
    let stages: &Stages = &CNN6;
    let convs = Chain::new(stages, &layers)?;
    let (info, channels) = (convs.info.clone(), convs.channels);
    Classifier::boxed(Cnn { convs }, info, channels, "fc", &layers)
}

struct Cnn {
    convs: Chain,
}

impl Backbone for Cnn {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        global_avg_pool2d(&self.convs.forward(images, train, taps)?)
    }
}

/// The entry of a perceptron.
pub(crate) const fn mlp_entry(name: &'static str, grid: Grid) -> Entry {
    let (depth, width) = grid;
    let (inputs, classes) = (COLOUR_CHANNELS * CIFAR_SIZE * CIFAR_SIZE, 100);
    let products = inputs * width + (depth - 1) * width * width + width * classes;
    let size = (products + 2 * width * depth + classes, products as u64);
    Entry::grid(name, FAMILY, PAPER, size, (grid, mlp))
        .with_img_size()
        .groups(MLP_GROUPS)
}

fn mlp(grid: Grid, layers: Layers) -> Result<Box<dyn Model>> {
    let (in_chans, img_size) = (layers.spec.in_chans, layers.img_size());
    let inputs = in_chans * img_size * img_size;
    let network = Mlp {
        in_chans,
        img_size,
        dense: DenseStack::new(inputs, grid, Norm::Before, &layers)?,
    };
    Classifier::boxed(network, Vec::new(), grid.1, "fc", &layers)
}

struct Mlp {
    in_chans: usize,
    img_size: usize,
    dense: DenseStack,
}

impl Backbone for Mlp {
    fn features(&self, images: &Tensor, train: bool, _taps: &mut Taps) -> Result<Tensor> {
        check_images(images, self.in_chans, self.img_size)?;
        self.dense.forward(&flatten_from(images, 1)?, train)
    }
}
