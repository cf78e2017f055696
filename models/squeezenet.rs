//! SqueezeNet: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
//! <0.5MB model size" (2016, arXiv:1602.07360), table 1, and its version 1.1, which makes the
//! first convolution smaller and the pools earlier.
//!
//! Fire modules squeeze the channels with a 1x1 convolution and expand them with 1x1 and 3x3
//! convolutions side by side. There is no norm. The classifier is a 1x1 convolution with an
//! activation, whose maps are averaged to logits. The paper's dropout of 0.5 before it is
//! [`ModelSpec::drop_rate`], 0 by default.
//!
//! For 32x32 images the first convolution is 3x3 with stride 1 and padding, as in the usual CIFAR
//! ports, so that the three max pools leave 16, 8 and 4. Those ports also add batch norm, this
//! network does not. The keys are torchvision's in both forms.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, Conv2d, Conv2dConfig, Dropout, MaxPool2d, WeightInit, gain};
use candle_mish::ops::{Pool2dParams, cat, global_avg_pool2d};
use candle_nn::{ModuleT, VarBuilder};

use crate::context::BuildContext;
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Mode, Model, Taps};
use crate::spec::{ModelSpec, Stem};

const fn variant(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "squeezenet", "arXiv:1602.07360", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
        .recipe(RECIPE)
}

const GROUPS: GroupMatcher = &[("features.#.", BLOCK)];

/// Without norms, SGD diverges at every rate that learns anything in a few epochs.
const RECIPE: &str = "opt = 'adamw'\nlr = 0.001\n";

pub(crate) const ENTRIES: [Entry; 2] = [
    variant(
        "squeezenet1_0",
        (775_204, 53_280_768),
        (1_248_424, 818_924_576),
        |root| build((96, 7), [3, 4, 1], root),
    ),
    variant(
        "squeezenet1_1",
        (773_796, 24_248_320),
        (1_235_496, 349_151_936),
        |root| build((64, 3), [2, 2, 4], root),
    ),
];

/// The squeezed channels of each fire module, and the channels of each of its two expansions.
const FIRES: [(usize, usize); 8] = [
    (16, 64),
    (16, 64),
    (32, 128),
    (32, 128),
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
];

/// A convolution and an activation.
struct ConvAct {
    conv: Conv2d,
    act: Act,
}

impl ConvAct {
    fn new(
        (conv, act): (&str, &str),
        inputs: usize,
        outputs: usize,
        config: Conv2dConfig,
        layers: &Layers,
    ) -> Result<Self> {
        Ok(Self {
            conv: layers.pp(conv).conv(inputs, outputs, config.bias(true))?,
            act: layers.pp(act).act(outputs)?,
        })
    }
}

impl ModuleT for ConvAct {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.act.forward_t(&self.conv.forward(x)?, train)
    }
}

/// A 1x1 convolution to fewer channels, then 1x1 and 3x3 convolutions to more.
struct Fire {
    squeeze: ConvAct,
    expand1x1: ConvAct,
    expand3x3: ConvAct,
}

impl Fire {
    fn new(inputs: usize, squeezed: usize, expanded: usize, layers: &Layers) -> Result<Self> {
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        let conv =
            |names, inputs, outputs, config| ConvAct::new(names, inputs, outputs, config, layers);
        let narrow = ("expand1x1", "expand1x1_activation");
        let broad = ("expand3x3", "expand3x3_activation");
        Ok(Self {
            squeeze: conv(("squeeze", "squeeze_activation"), inputs, squeezed, conv1x1)?,
            expand1x1: conv(narrow, squeezed, expanded, conv1x1)?,
            expand3x3: conv(broad, squeezed, expanded, conv3x3)?,
        })
    }
}

impl ModuleT for Fire {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.squeeze.forward_t(x, train)?;
        let narrow = self.expand1x1.forward_t(&x, train)?;
        cat(&[&narrow, &self.expand3x3.forward_t(&x, train)?], 1)
    }
}

struct SqueezeNet {
    stem: ConvAct,
    pool: MaxPool2d,
    /// A max pool precedes each group.
    fires: Vec<Vec<Fire>>,
    dropout: Dropout,
    classifier: ConvAct,
    num_features: usize,
    info: Vec<FeatureInfo>,
    spec: ModelSpec,
    context: BuildContext,
}

const CLASSIFIER: &str = "classifier";

/// The convolution that computes the logits, with the authors' small initial weights.
fn classifier(num_features: usize, num_classes: usize, root: &Layers) -> Result<ConvAct> {
    let config = Conv2dConfig::same(1).init(WeightInit::Normal { std: 0.01 });
    let layers = root.pp(CLASSIFIER);
    ConvAct::new(("1", "2"), num_features, num_classes, config, &layers)
}

/// The network below `root`. The first convolution has `stem` channels and, for ImageNet, this
/// kernel size. `groups` has the number of fire modules after each max pool.
fn build(
    (stem, kernel): (usize, usize),
    groups: [usize; 3],
    root: Layers,
) -> Result<Box<dyn Model>> {
    // Without norms, the weights determine the scale of the features. The authors initialise them
    // by the fan-in.
    let gain = gain(&root.spec.activation);
    let root = root.with_conv_init(WeightInit::KaimingFanIn { gain });
    let layers = root.pp("features");
    let (config, mut reduction) = match root.spec.stem {
        Stem::Cifar => (Conv2dConfig::same(3), 1),
        Stem::ImageNet => (Conv2dConfig::same(kernel).stride(2).padding(0), 2),
    };
    let first = ConvAct::new(("0", "1"), root.spec.in_chans, stem, config, &layers)?;
    let mut info = vec![FeatureInfo::new(stem, reduction, "features.1")];
    let mut rows = FIRES.into_iter();
    let mut fires = Vec::with_capacity(groups.len());
    let (mut inputs, mut index) = (stem, 2);
    for count in groups {
        // Skips the number of the max pool.
        index += 1;
        let mut group = Vec::with_capacity(count);
        for (squeezed, expanded) in rows.by_ref().take(count) {
            group.push(Fire::new(inputs, squeezed, expanded, &layers.pp(index))?);
            inputs = 2 * expanded;
            index += 1;
        }
        fires.push(group);
        reduction *= 2;
        info.push(FeatureInfo::new(
            inputs,
            reduction,
            format!("features.{}", index - 1),
        ));
    }
    let pool = Pool2dParams::new((3, 3))
        .with_stride((2, 2))
        .with_ceil_mode(true);
    Ok(Box::new(SqueezeNet {
        stem: first,
        pool: MaxPool2d::new(pool),
        fires,
        dropout: root.dropout()?,
        classifier: classifier(inputs, root.spec.num_classes, &root)?,
        num_features: inputs,
        info,
        spec: root.spec.clone(),
        context: root.context.clone(),
    }))
}

impl SqueezeNet {
    /// The input maps of the classifier.
    fn maps(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        taps.offer(&x);
        for group in &self.fires {
            x = self.pool.forward(&x)?;
            for fire in group {
                x = fire.forward_t(&x, train)?;
            }
            taps.offer(&x);
        }
        Ok(x)
    }
}

impl Model for SqueezeNet {
    fn features(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let train = mode.trains_backbone();
        global_avg_pool2d(&self.maps(images, train, &mut Taps::none())?)
    }

    fn num_features(&self) -> usize {
        self.num_features
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
        CLASSIFIER
    }

    fn forward_mode(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let maps = self.maps(images, mode.trains_backbone(), &mut Taps::none())?;
        let train = mode.trains_classifier();
        let x = self.dropout.forward_t(&maps, train)?;
        global_avg_pool2d(&self.classifier.forward_t(&x, train)?)
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        let root = Layers::new(&self.spec, &self.context, vb);
        self.classifier = classifier(self.num_features, num_classes, &root)?;
        Ok(())
    }
}

impl ModuleT for SqueezeNet {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(images, Mode::from_train(train))
    }
}
