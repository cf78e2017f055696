//! The plain networks of the paper: Misra, "Mish: A Self Regularized Non-Monotonic Activation
//! Function" (2019, arXiv:1908.08681), section 4.1.
//!
//! `cnn6` has six 3x3 convolutions with batch norm, two each with 32, 64 and 128 channels, max
//! pooling between them, and global average pooling before the classifier. The paper only states
//! the number of layers.
//!
//! `mlp_<depth>x<width>` has `depth` dense layers of `width` neurons, each with batch norm,
//! activation and dropout, before the classifier. The paper studies the depth with 500 neurons on
//! MNIST. Any depth and width is valid; the table lists two. An image is 32x32 values per
//! channel. The dense layers have no bias, since a batch norm follows.
//!
//! The dropout rate is 0 by default; the paper has 0.25.

use std::sync::{Mutex, PoisonError};

use candle_core::{Module, Result, Tensor, bail};
use candle_mish::nn::{Act, BatchNorm2d, Dropout, Linear, linear_no_bias};
use candle_mish::ops::{flatten_from, global_avg_pool2d};
use candle_nn::ModuleT;

use crate::chain::{self, Chain, Stages};
use crate::classifier::{Backbone, Classifier};
use crate::entry::{Entry, Grid};
use crate::error::ModelError;
use crate::groups::{GroupMatcher, STEM};
use crate::layers::Layers;
use crate::model::{Model, Taps};

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

/// Height and width of the images that a perceptron takes.
const SIDE: usize = 32;
/// The largest depth and width of a name.
const LARGEST: (usize, usize) = (1000, 10_000);
/// The most parameters of a named perceptron: 4 GB in f32.
const MOST_PARAMS: usize = 1_000_000_000;

/// The entry of a perceptron.
const fn mlp_entry(name: &'static str, grid: Grid) -> Entry {
    let (depth, width) = grid;
    let (inputs, classes) = (3 * SIDE * SIDE, 100);
    let products = inputs * width + (depth - 1) * width * width + width * classes;
    let size = (products + 2 * width * depth + classes, products as u64);
    Entry::grid(name, FAMILY, PAPER, size, (grid, mlp)).groups(MLP_GROUPS)
}

/// The entry of any `mlp_<depth>x<width>`, made on first use and kept for the whole process.
///
/// # Errors
/// If it would have too many parameters.
pub(crate) fn named(name: &str) -> std::result::Result<Option<&'static Entry>, ModelError> {
    static NAMED: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());
    let Some(grid) = grid_of(name) else {
        return Ok(None);
    };
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = named.iter().find(|entry| entry.name == name) {
        return Ok(Some(entry));
    }
    let params = mlp_entry("", grid).cifar.params;
    if params > MOST_PARAMS {
        let message = format!("{name} has {params} parameters, the limit is {MOST_PARAMS}");
        return Err(ModelError::Option(message));
    }
    let entry = mlp_entry(name.to_string().leak(), grid);
    let entry: &'static Entry = Box::leak(Box::new(entry));
    named.push(entry);
    Ok(Some(entry))
}

/// The depth and width in a name.
fn grid_of(name: &str) -> Option<Grid> {
    let (depth, width) = name.strip_prefix("mlp_")?.split_once('x')?;
    let (depth, width) = (depth.parse().ok()?, width.parse().ok()?);
    let in_range = (1..=LARGEST.0).contains(&depth) && (1..=LARGEST.1).contains(&width);
    (in_range && name == format!("mlp_{depth}x{width}")).then_some((depth, width))
}

fn mlp((depth, width): Grid, layers: Layers) -> Result<Box<dyn Model>> {
    let in_chans = layers.spec.in_chans;
    let dense = |i: usize| {
        let inputs = if i > 0 { width } else { in_chans * SIDE * SIDE };
        let layers = layers.pp("layers").pp(i);
        Ok(Dense {
            linear: linear_no_bias(inputs, width, layers.vb.pp("linear"))?,
            norm: layers.pp("bn").norm(width)?,
            act: layers.pp("act").act(width)?,
        })
    };
    let network = Mlp {
        in_chans,
        dense: (0..depth).map(dense).collect::<Result<_>>()?,
        dropout: layers.dropout()?,
    };
    Classifier::boxed(network, Vec::new(), width, "fc", &layers)
}

struct Dense {
    linear: Linear,
    norm: BatchNorm2d,
    act: Act,
}

impl ModuleT for Dense {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.linear.forward(x)?;
        self.norm.forward_act(&y, None, &self.act, train)
    }
}

struct Mlp {
    in_chans: usize,
    dense: Vec<Dense>,
    dropout: Dropout,
}

impl Backbone for Mlp {
    fn features(&self, images: &Tensor, train: bool, _taps: &mut Taps) -> Result<Tensor> {
        let (_, channels, height, width) = images.dims4()?;
        if channels != self.in_chans {
            bail!(
                "images of {} channels expected, not {channels}",
                self.in_chans
            );
        }
        if (height, width) != (SIDE, SIDE) {
            bail!(
                "a perceptron takes {SIDE}x{SIDE} images, not smaller or larger ones: {height}x{width}"
            );
        }
        let mut x = flatten_from(images, 1)?;
        for (i, dense) in self.dense.iter().enumerate() {
            if i > 0 {
                x = self.dropout.forward_t(&x, train)?;
            }
            x = dense.forward_t(&x, train)?;
        }
        // The dropout of the last layer belongs to the classifier.
        Ok(x)
    }
}
