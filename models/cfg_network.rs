//! A classifier of darknet, built from its `.cfg` file: Redmon, "Darknet: Open Source Neural Networks
//! in C" (<https://pjreddie.com/darknet>), and the fork by Bochkovskiy
//! (<https://github.com/AlexeyAB/darknet>).
//!
//! Each section of the file is a layer at `layers.N`, with N from 0 after `[net]`; the layer that
//! computes the logits is `head`. A layer has `conv` and `bn`, or `fc`, and its activation at `act`.
//!
//! - Batch norm divides by sqrt(variance + 1e-5), as AlexeyAB's code and pjreddie's GPU code.
//!   pjreddie's CPU code divides by sqrt(variance) + 1e-6.
//! - A shortcut between maps of different sizes is pjreddie's: it adds every n-th row and column, and
//!   the channels that both maps have.
//! - `[dropout]` sections do nothing. `drop_rate` sets the dropout before the logits.

use candle_core::{Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, WeightInit, conv2d,
    linear_with,
};
use candle_mish::ops::{
    Pool2dParams, add, cat, flatten_from, global_avg_pool2d, max_pool2d, narrow, pad, reshape,
    scale_channels,
};
use candle_nn::{Module, ModuleT, VarBuilder};

use crate::darknet_cfg::{Convolution, DarknetCfg, Function, HEAD, Layer, MaxPool, Shape, stride};
use crate::entry::Entry;
use crate::groups::{BLOCK, GroupMatcher};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Mode, Model, Taps};
use crate::spec::ModelSpec;

/// A layer per section, and the classifier.
const GROUPS: GroupMatcher = &[("layers.#.", BLOCK)];

/// The network of [`ModelSpec::cfg`]. The registry's list leaves it out: it has no size of its own.
pub(crate) static ENTRY: Entry = Entry::new(
    "darknet_cfg",
    "darknet",
    "pjreddie.com/darknet",
    (0, 0),
    build,
)
.imagenet(256, (0, 0))
.with_cfg()
.groups(GROUPS);

/// The batch norm's addition to the variance, and the weight of the newest batch (AlexeyAB's).
const NORM: (f64, f64) = (1e-5, 0.1);

/// A layer with its weights.
enum Step {
    Convolution {
        conv: Conv2d,
        norm: Option<BatchNorm2d>,
        act: Act,
    },
    MaxPool(MaxPool),
    GlobalAvgPool,
    Connected {
        fc: Linear,
        act: Act,
    },
    Shortcut {
        from: Vec<usize>,
        act: Act,
    },
    Route {
        from: Vec<usize>,
        groups: usize,
        group: usize,
    },
    ScaleChannels(usize),
    Same,
}

impl Step {
    /// The layer at `layers` for an `input` and an output of these shapes.
    fn new(layer: &Layer, input: Shape, output: Shape, layers: &Layers) -> Result<Self> {
        let act = || act(layer.function(), output.channels, &layers.pp("act"));
        Ok(match layer {
            Layer::Convolution(convolution) => {
                let at = layers.pp("conv");
                let config = config(convolution);
                let norm = convolution.batch_normalize;
                let norm = norm.then(|| layers.pp("bn").norm(output.channels));
                Self::Convolution {
                    conv: at.conv(input.channels, output.channels, config)?,
                    norm: norm.transpose()?,
                    act: act()?,
                }
            }
            Layer::MaxPool(pool) => Self::MaxPool(*pool),
            Layer::GlobalAvgPool => Self::GlobalAvgPool,
            Layer::Connected { .. } => Self::Connected {
                fc: layers.pp("fc").linear(input.values(), output.channels)?,
                act: act()?,
            },
            Layer::Shortcut { from, .. } => Self::Shortcut {
                from: from.clone(),
                act: act()?,
            },
            Layer::Route {
                from,
                groups,
                group,
            } => Self::Route {
                from: from.clone(),
                groups: *groups,
                group: *group,
            },
            Layer::ScaleChannels { from } => Self::ScaleChannels(*from),
            Layer::Same => Self::Same,
        })
    }

    /// The output [N, C, H, W] for the previous output `x`. `at` returns an earlier output.
    fn forward<'a>(
        &self,
        x: &Tensor,
        at: impl Fn(usize) -> Result<&'a Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        match self {
            Self::Convolution { conv, norm, act } => match norm {
                Some(norm) => norm.forward_conv(conv, x, None, act, train),
                None => act.forward_t(&conv.forward(x)?, train),
            },
            Self::MaxPool(pool) => max_pool(x, pool),
            Self::GlobalAvgPool => vector(&global_avg_pool2d(x)?),
            Self::Connected { fc, act } => {
                let y = vector(&fc.forward(&flatten_from(x, 1)?)?)?;
                act.forward_t(&y, train)
            }
            Self::Shortcut { from, act } => {
                let mut y = x.clone();
                for from in from {
                    y = add(&y, &fitted(at(*from)?, x)?)?;
                }
                act.forward_t(&y, train)
            }
            Self::Route {
                from,
                groups,
                group,
            } => {
                let part = |from: &usize| {
                    let x = at(*from)?;
                    let channels = x.dim(1)? / groups;
                    match groups {
                        1 => Ok(x.clone()),
                        _ => narrow(x, 1, group * channels, channels),
                    }
                };
                let parts = from.iter().map(part).collect::<Result<Vec<Tensor>>>()?;
                match parts.as_slice() {
                    [only] => Ok(only.clone()),
                    parts => cat(&parts.iter().collect::<Vec<_>>(), 1),
                }
            }
            Self::ScaleChannels(from) => scale_channels(at(*from)?, x),
            Self::Same => Ok(x.clone()),
        }
    }
}

fn config(convolution: &Convolution) -> Conv2dConfig {
    let pair = |size: usize| (size, size);
    Conv2dConfig {
        kernel_size: pair(convolution.size),
        stride: convolution.stride,
        padding: pair(convolution.padding),
        dilation: pair(convolution.dilation),
        groups: convolution.groups,
        bias: !convolution.batch_normalize,
        init: WeightInit::Default,
    }
}

fn act(function: Function, channels: usize, layers: &Layers) -> Result<Act> {
    match function {
        Function::None => Act::new(&Activation::Identity),
        Function::Gate => layers.gate(channels),
        Function::Activation(_) => layers.act(channels),
    }
}

/// [N, C] as [N, C, 1, 1].
fn vector(x: &Tensor) -> Result<Tensor> {
    let (images, channels) = x.dims2()?;
    reshape(x, (images, channels, 1, 1))
}

/// The maximum of windows of which the first starts `padding / 2` before the first value. Where the
/// padding is odd, there is one more value after the last.
fn max_pool(x: &Tensor, pool: &MaxPool) -> Result<Tensor> {
    let (vertical, horizontal) = pool.stride;
    let (_, _, height, width) = x.dims4()?;
    let params = Pool2dParams::new((pool.size, pool.size)).with_stride(pool.stride);
    let before = pool.padding / 2;
    let windows = |size, stride| {
        let windows = pool.windows(size, stride);
        windows.ok_or_else(|| candle_core::Error::Msg("the image is too small".to_string()))
    };
    let (rows, columns) = (windows(height, vertical)?, windows(width, horizontal)?);
    let padded = |padding| params.with_padding((padding, padding));
    if pool.padding.is_multiple_of(2) {
        return max_pool2d(x, &padded(before));
    }
    // Steps of 1 reach the window after the last value only with padding on both sides, which adds one
    // in front. Longer steps reach it as an incomplete window.
    let one = |stride: usize| usize::from(stride == 1);
    let padding = (before + one(vertical), before + one(horizontal));
    let y = max_pool2d(x, &params.with_padding(padding).with_ceil_mode(true))?;
    let y = narrow(&y, 2, one(vertical), rows)?;
    narrow(&y, 3, one(horizontal), columns)
}

/// A map as a shortcut adds it to `to`: every n-th row and column, without the channels that `to`
/// lacks, and with zeros for those that it has more.
fn fitted(x: &Tensor, to: &Tensor) -> Result<Tensor> {
    let ((_, have, h, w), (_, want, height, width)) = (x.dims4()?, to.dims4()?);
    let mut x = x.clone();
    if (h, w) != (height, width) {
        let Some(stride) = stride((h, w), (height, width)) else {
            candle_core::bail!("a shortcut adds a map of {h}x{w} to one of {height}x{width}");
        };
        // The maximum of one value.
        let every = Pool2dParams::new((1, 1)).with_stride((stride, stride));
        x = max_pool2d(&x, &every)?;
        if x.dims()[2..] != [height, width] {
            x = narrow(&narrow(&x, 2, 0, height)?, 3, 0, width)?;
        }
    }
    match want.checked_sub(have) {
        Some(0) => Ok(x),
        Some(missing) => pad(&x, 1, 0, missing),
        None => narrow(&x, 1, 0, want),
    }
}

/// The layer that computes the logits.
enum Head {
    Convolution(Conv2d),
    Connected(Linear),
}

impl Head {
    /// Builds it below `root`, in construction and in [`Model::replace_classifier`].
    fn new(layer: &Layer, input: Shape, num_classes: usize, root: &VarBuilder) -> Result<Self> {
        let init = WeightInit::Normal { std: 0.01 };
        let at = root.pp(HEAD);
        Ok(match layer {
            Layer::Convolution(convolution) => {
                let config = config(convolution).init(init);
                Self::Convolution(conv2d(input.channels, num_classes, config, at.pp("conv"))?)
            }
            _ => {
                let config = LinearConfig { bias: true, init };
                let fc = linear_with(input.values(), num_classes, config, at.pp("fc"))?;
                Self::Connected(fc)
            }
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Convolution(conv) => conv.forward(x),
            Self::Connected(fc) => vector(&fc.forward(&flatten_from(x, 1)?)?),
        }
    }
}

struct CfgNetwork {
    /// The layers before the logits.
    steps: Vec<Step>,
    /// For each step, the earlier outputs that no later step takes.
    done: Vec<Vec<usize>>,
    /// The steps whose outputs are feature maps.
    taps: Vec<usize>,
    info: Vec<FeatureInfo>,
    dropout: Dropout,
    head: Head,
    /// The activation of the logits, which some networks have.
    act: Act,
    /// Whether the logits are the means of maps.
    pools: bool,
    cfg: DarknetCfg,
    /// The shape of the input of the logits' layer.
    features: Shape,
}

fn build(root: Layers) -> Result<Box<dyn Model>> {
    let (eps, momentum) = NORM;
    let root = root.with_norm(eps, momentum);
    let ModelSpec {
        cfg: Some(cfg),
        in_chans,
        num_classes,
        ..
    } = root.spec
    else {
        candle_core::bail!("{} needs a cfg", ENTRY.name);
    };
    let shapes = cfg.shapes(*in_chans, *num_classes);
    let shapes = shapes.map_err(candle_core::Error::wrap)?;
    let image = Shape::image(*in_chans, cfg.image_size());
    let input = |index: usize| index.checked_sub(1).map_or(image, |before| shapes[before]);
    let head = cfg.head();
    let mut steps = Vec::with_capacity(head);
    for (index, layer) in cfg.layers().iter().enumerate().take(head) {
        let at = cfg
            .path(index)
            .split('.')
            .fold(root.clone(), |at, name| at.pp(name));
        steps.push(Step::new(layer, input(index), shapes[index], &at)?);
    }
    let layer = &cfg.layers()[head];
    let taps = taps(&shapes[..head]);
    let info = |step: &usize| {
        let Shape {
            channels,
            reduction,
            ..
        } = shapes[*step];
        FeatureInfo::new(channels, reduction.unwrap_or(1), cfg.path(*step))
    };
    let after = &cfg.layers()[head + 1..];
    Ok(Box::new(CfgNetwork {
        steps,
        done: done(&cfg.layers()[..head]),
        info: taps.iter().map(info).collect(),
        taps,
        dropout: root.dropout()?,
        head: Head::new(layer, input(head), *num_classes, &root.vb)?,
        act: act(layer.function(), *num_classes, &root.pp(HEAD).pp("act"))?,
        pools: after.contains(&Layer::GlobalAvgPool),
        features: input(head),
        cfg: cfg.clone(),
    }))
}

/// The last output of each resolution, in order.
fn taps(shapes: &[Shape]) -> Vec<usize> {
    let mut last: Vec<(usize, usize)> = Vec::new();
    for (index, shape) in shapes.iter().enumerate() {
        if let Some(reduction) = shape.reduction {
            last.retain(|(other, _)| *other != reduction);
            last.push((reduction, index));
        }
    }
    last.into_iter().map(|(_, index)| index).collect()
}

/// For each layer, the outputs whose last use it is. The previous output is passed on by itself.
fn done(layers: &[Layer]) -> Vec<Vec<usize>> {
    let mut last: Vec<usize> = (0..layers.len()).collect();
    for (index, layer) in layers.iter().enumerate() {
        for from in layer.from() {
            last[*from] = index;
        }
    }
    let mut done = vec![Vec::new(); layers.len()];
    for (index, last) in last.into_iter().enumerate() {
        done[last].push(index);
    }
    done
}

impl CfgNetwork {
    /// The input of the logits' layer [N, C, H, W].
    fn maps(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut outputs: Vec<Option<Tensor>> = Vec::with_capacity(self.steps.len());
        let mut x = images.clone();
        for (index, step) in self.steps.iter().enumerate() {
            let at = |layer: usize| {
                let found = outputs.get(layer).and_then(Option::as_ref);
                found.ok_or_else(|| candle_core::Error::Msg(format!("layer {layer} has no output")))
            };
            x = step.forward(&x, at, train)?;
            if self.taps.contains(&index) {
                taps.offer(&x);
            }
            outputs.push(Some(x.clone()));
            for layer in &self.done[index] {
                outputs[*layer] = None;
            }
        }
        Ok(x)
    }

    fn takes_maps(&self) -> bool {
        matches!(self.head, Head::Convolution(_))
    }
}

impl Model for CfgNetwork {
    fn features(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let maps = self.maps(images, mode.trains_backbone(), &mut Taps::none())?;
        if self.takes_maps() {
            global_avg_pool2d(&maps)
        } else {
            flatten_from(&maps, 1)
        }
    }

    fn num_features(&self) -> usize {
        if self.takes_maps() {
            self.features.channels
        } else {
            self.features.values()
        }
    }

    fn feature_info(&self) -> &[FeatureInfo] {
        &self.info
    }

    fn feature_maps(
        &self,
        images: &Tensor,
        out_indices: &[usize],
        mode: Mode,
    ) -> Result<Vec<Tensor>> {
        let mut taps = Taps::of(out_indices, &self.info)?;
        self.maps(images, mode.trains_backbone(), &mut taps)?;
        taps.into_maps()
    }

    fn classifier(&self) -> &'static str {
        HEAD
    }

    fn forward_mode(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let maps = self.maps(images, mode.trains_backbone(), &mut Taps::none())?;
        let train = mode.trains_classifier();
        let x = self.dropout.forward_t(&maps, train)?;
        let y = self.act.forward_t(&self.head.forward(&x)?, train)?;
        if self.pools {
            global_avg_pool2d(&y)
        } else {
            flatten_from(&y, 1)
        }
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        let layer = &self.cfg.layers()[self.cfg.head()];
        self.head = Head::new(layer, self.features, num_classes, &vb)?;
        Ok(())
    }
}

impl ModuleT for CfgNetwork {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(images, Mode::from_train(train))
    }
}
