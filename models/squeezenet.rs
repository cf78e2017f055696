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
//! ports, so that the three max pools leave 16, 8 and 4. The keys are torchvision's in both forms.
//!
//! `squeezenet_bn` is the usual CIFAR port, weiaicunzai/pytorch-cifar100, with that repository's keys.
//! It is version 1.0 with batch norm after each convolution but the last, with shortcuts around the
//! third, fifth and seventh fire module (the paper's simple bypass; the paper also has one around the
//! ninth), with 2x2 max pools, and without an activation after the classifier. Misra, "Mish: A Self
//! Regularized Non-Monotonic Activation Function" (2019, arXiv:1908.08681) trains this network 23 times
//! with each activation; the author's notebook has the same definition.

use candle_core::{Module, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, MaxPool2d, WeightInit, gain,
};
use candle_mish::ops::{Pool2dParams, add, cat, global_avg_pool2d};
use candle_nn::{ModuleT, VarBuilder};

use crate::context::BuildContext;
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Mode, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::{ModelSpec, Stem};

const fn variant(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "squeezenet", "arXiv:1602.07360", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
        .recipe(RECIPE)
}

const GROUPS: GroupMatcher = &[("features.#.", BLOCK)];
const BN_GROUPS: GroupMatcher = &[("stem.", STEM), ("fire#.", BLOCK)];

/// Without norms, SGD diverges at every rate that learns anything in a few epochs.
const RECIPE: &str = "opt = 'adamw'\nlr = 0.001\n";

pub(crate) const ENTRIES: [Entry; 3] = [
    variant(
        "squeezenet1_0",
        (775_204, 53_280_768),
        (1_248_424, 818_924_576),
        |root| build(&V1_0, root),
    ),
    variant(
        "squeezenet1_1",
        (773_796, 24_248_320),
        (1_235_496, 349_151_936),
        |root| build(&V1_1, root),
    ),
    Entry::new(
        "squeezenet_bn",
        "squeezenet",
        "arXiv:1602.07360",
        (781_156, 53_280_768),
        |root| build(&BN, root),
    )
    .groups(BN_GROUPS),
];

/// What differs between the networks.
struct Version {
    /// The channels of the first convolution and, for ImageNet, its kernel size.
    stem: (usize, usize),
    /// The number of fire modules after each max pool.
    groups: [usize; 3],
    /// Height and width of a max pool.
    pool: usize,
    /// The fire modules with a shortcut, counted from 0.
    bypasses: &'static [usize],
    keys: Keys,
}

/// The paths of the layers.
struct Keys {
    stem: UnitKeys,
    /// The path of a fire module, from the number of max pools before it and its number from 0.
    fire: fn(usize, usize) -> String,
    squeeze: UnitKeys,
    expand1x1: UnitKeys,
    expand3x3: UnitKeys,
    classifier: &'static str,
    classifier_unit: UnitKeys,
}

/// The paths of a convolution, and of its norm and activation if it has them.
type UnitKeys = (&'static str, Option<&'static str>, Option<&'static str>);

const TORCHVISION: Keys = Keys {
    stem: ("features.0", None, Some("features.1")),
    // The stem has two numbers, and a max pool one.
    fire: |pools, fire| format!("features.{}", 2 + pools + fire),
    squeeze: ("squeeze", None, Some("squeeze_activation")),
    expand1x1: ("expand1x1", None, Some("expand1x1_activation")),
    expand3x3: ("expand3x3", None, Some("expand3x3_activation")),
    classifier: "classifier",
    classifier_unit: ("classifier.1", None, Some("classifier.2")),
};

const WEIAICUNZAI: Keys = Keys {
    stem: ("stem.0", Some("stem.1"), Some("stem.2")),
    fire: |_, fire| format!("fire{}", fire + 2),
    squeeze: ("squeeze.0", Some("squeeze.1"), Some("squeeze.2")),
    expand1x1: ("expand_1x1.0", Some("expand_1x1.1"), Some("expand_1x1.2")),
    expand3x3: ("expand_3x3.0", Some("expand_3x3.1"), Some("expand_3x3.2")),
    classifier: "conv10",
    classifier_unit: ("conv10", None, None),
};

const V1_0: Version = Version {
    stem: (96, 7),
    groups: [3, 4, 1],
    pool: 3,
    bypasses: &[],
    keys: TORCHVISION,
};

const V1_1: Version = Version {
    stem: (64, 3),
    groups: [2, 2, 4],
    ..V1_0
};

const BN: Version = Version {
    pool: 2,
    bypasses: &[1, 3, 5],
    keys: WEIAICUNZAI,
    ..V1_0
};

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

/// A convolution, with a norm and an activation where its keys have them.
struct Unit {
    conv: Conv2d,
    norm: Option<BatchNorm2d>,
    act: Act,
}

impl Unit {
    fn new(
        (conv, norm, act): UnitKeys,
        inputs: usize,
        outputs: usize,
        config: Conv2dConfig,
        layers: &Layers,
    ) -> Result<Self> {
        let norm = norm.map(|norm| layers.pp(norm).norm(outputs));
        Ok(Self {
            conv: layers.pp(conv).conv(inputs, outputs, config.bias(true))?,
            norm: norm.transpose()?,
            act: match act {
                Some(act) => layers.pp(act).act(outputs)?,
                None => Act::new(&Activation::Identity)?,
            },
        })
    }
}

impl ModuleT for Unit {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match &self.norm {
            Some(norm) => norm.forward_conv(&self.conv, x, None, &self.act, train),
            None => self.act.forward_t(&self.conv.forward(x)?, train),
        }
    }
}

/// A 1x1 convolution to fewer channels, then 1x1 and 3x3 convolutions to more.
struct Fire {
    squeeze: Unit,
    expand1x1: Unit,
    expand3x3: Unit,
    bypass: bool,
}

impl Fire {
    fn new(
        inputs: usize,
        (squeezed, expanded): (usize, usize),
        bypass: bool,
        keys: &Keys,
        layers: &Layers,
    ) -> Result<Self> {
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        let unit = |keys, inputs, outputs, config| Unit::new(keys, inputs, outputs, config, layers);
        Ok(Self {
            squeeze: unit(keys.squeeze, inputs, squeezed, conv1x1)?,
            expand1x1: unit(keys.expand1x1, squeezed, expanded, conv1x1)?,
            expand3x3: unit(keys.expand3x3, squeezed, expanded, conv3x3)?,
            bypass,
        })
    }
}

impl ModuleT for Fire {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let squeezed = self.squeeze.forward_t(x, train)?;
        let narrow = self.expand1x1.forward_t(&squeezed, train)?;
        let y = cat(&[&narrow, &self.expand3x3.forward_t(&squeezed, train)?], 1)?;
        if self.bypass { add(&y, x) } else { Ok(y) }
    }
}

struct SqueezeNet {
    version: &'static Version,
    stem: Unit,
    pool: MaxPool2d,
    /// A max pool precedes each group.
    fires: Vec<Vec<Recomputed<Fire>>>,
    dropout: Dropout,
    classifier: Unit,
    num_features: usize,
    info: Vec<FeatureInfo>,
    spec: ModelSpec,
    context: BuildContext,
}

/// The convolution that computes the logits, without norms with the authors' small initial weights.
fn classifier(
    version: &Version,
    num_features: usize,
    num_classes: usize,
    root: &Layers,
) -> Result<Unit> {
    let init = match version.keys.stem.1 {
        None => WeightInit::Normal { std: 0.01 },
        Some(_) => WeightInit::Default,
    };
    let root = root.clone().with_conv_init(init);
    let keys = version.keys.classifier_unit;
    Unit::new(
        keys,
        num_features,
        num_classes,
        Conv2dConfig::same(1),
        &root,
    )
}

/// The network below `root`.
fn build(version: &'static Version, root: Layers) -> Result<Box<dyn Model>> {
    let keys = &version.keys;
    let normed = keys.stem.1.is_some();
    // Without norms, the weights determine the scale of the features. The authors initialise them
    // by the fan-in.
    let gain = gain(&root.spec.activation);
    let root = root.with_conv_init(match normed {
        true => WeightInit::Default,
        false => WeightInit::KaimingUniform { gain },
    });
    let (stem, kernel) = version.stem;
    let (config, mut reduction) = match root.spec.stem {
        Stem::Cifar => (Conv2dConfig::same(3), 1),
        Stem::ImageNet => (Conv2dConfig::same(kernel).stride(2).padding(0), 2),
    };
    let first = Unit::new(keys.stem, root.spec.in_chans, stem, config, &root)?;
    let mut info = vec![FeatureInfo::new(
        stem,
        reduction,
        keys.stem.2.unwrap_or_default(),
    )];
    let mut rows = FIRES.into_iter().enumerate();
    let mut fires = Vec::with_capacity(version.groups.len());
    let (mut inputs, mut last) = (stem, String::new());
    for (group, count) in version.groups.into_iter().enumerate() {
        let mut modules = Vec::with_capacity(count);
        for (number, row) in rows.by_ref().take(count) {
            last = (keys.fire)(group + 1, number);
            let bypass = version.bypasses.contains(&number);
            let fire = Fire::new(inputs, row, bypass, keys, &root.pp(&last))?;
            modules.push(root.block(fire));
            inputs = 2 * row.1;
        }
        fires.push(modules);
        reduction *= 2;
        info.push(FeatureInfo::new(inputs, reduction, last.clone()));
    }
    let pool = Pool2dParams::new((version.pool, version.pool))
        .with_stride((2, 2))
        .with_ceil_mode(true);
    Ok(Box::new(SqueezeNet {
        version,
        stem: first,
        pool: MaxPool2d::new(pool),
        fires,
        dropout: root.dropout()?,
        classifier: classifier(version, inputs, root.spec.num_classes, &root)?,
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
        self.version.keys.classifier
    }

    fn forward_mode(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let maps = self.maps(images, mode.trains_backbone(), &mut Taps::none())?;
        let train = mode.trains_classifier();
        let x = self.dropout.forward_t(&maps, train)?;
        global_avg_pool2d(&self.classifier.forward_t(&x, train)?)
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        let root = Layers::new(&self.spec, &self.context, vb);
        self.classifier = classifier(self.version, self.num_features, num_classes, &root)?;
        Ok(())
    }
}

impl ModuleT for SqueezeNet {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(images, Mode::from_train(train))
    }
}
