//! Which network to build: [`ModelSpec`], and [`ModelArgs`] if only part of it is known.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_mish::activation::{Activation, LayerActivations};
use serde::{Deserialize, Serialize};

use crate::darknet_cfg::DarknetCfg;

/// The channels of colour images.
pub const COLOUR_CHANNELS: usize = 3;

/// The height and width of CIFAR's images.
pub(crate) const CIFAR_SIZE: usize = 32;

/// Everything that determines a network, except its weights. Names are timm's.
///
/// [`ModelSpec::new`] describes a network for CIFAR-100 with Mish, [`ModelSpec::imagenet`] its
/// ImageNet form, whose checkpoint keys and shapes are timm's.
///
/// ```
/// use candle_mish::Activation;
/// use candle_mish_models::ModelSpec;
///
/// let spec = ModelSpec { activation: Activation::Silu, num_classes: 10, ..ModelSpec::new("resnet20") };
/// assert_eq!(spec.to_string(), "resnet20 with 10 classes, silu and the cifar stem");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The network's name in the registry.
    pub model: String,
    /// The activation of all layers that have one.
    pub activation: Activation,
    /// The activations of layers that have another one, by their paths.
    #[serde(default, skip_serializing_if = "LayerActivations::is_empty")]
    pub layer_activations: LayerActivations,
    /// The number of logits.
    pub num_classes: usize,
    /// The image size that the first layers are made for.
    pub stem: Stem,
    /// The channels of the images.
    pub in_chans: usize,
    /// The height and width of the images, for networks with a dense layer over flattened maps or
    /// pixels. `None` is 32, CIFAR's size. Other networks take any size and have no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub img_size: Option<usize>,
    /// The activation of gates, as in squeeze-and-excitation. `None` is the paper's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Activation>,
    /// The shortcuts of the CIFAR ResNets where the shape changes. Other networks have no choice.
    #[serde(default, skip_serializing_if = "Shortcut::is_default")]
    pub shortcut: Shortcut,
    /// The weight of the newest batch in the running statistics of batch norms. `None` is the
    /// network's own, usually 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_momentum: Option<f64>,
    /// The number that batch norms add to the variance. `None` is the network's own, usually 1e-5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_eps: Option<f64>,
    /// The layers of the network `darknet_cfg`. Other networks have no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cfg: Option<DarknetCfg>,
    /// The dropout probability before the classifier.
    #[serde(default)]
    pub drop_rate: f64,
    /// Stochastic depth: the probability of skipping the last residual block in training. It falls
    /// linearly to 0 for the first block.
    #[serde(default)]
    pub drop_path_rate: f64,
}

impl ModelSpec {
    /// The network called `model` for 32x32 colour images, with 100 classes and Mish.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            activation: Activation::Mish,
            layer_activations: LayerActivations::default(),
            num_classes: Stem::Cifar.num_classes(),
            stem: Stem::Cifar,
            in_chans: COLOUR_CHANNELS,
            img_size: None,
            gate: None,
            shortcut: Shortcut::B,
            bn_momentum: None,
            bn_eps: None,
            cfg: None,
            drop_rate: 0.0,
            drop_path_rate: 0.0,
        }
    }

    /// The network of a `.cfg` file of darknet, as the file describes it.
    pub fn of_cfg(cfg: &DarknetCfg) -> Self {
        Self {
            activation: cfg.activation(),
            layer_activations: cfg.layer_activations(),
            num_classes: cfg.num_classes(),
            stem: Stem::for_image_size(cfg.image_size()),
            in_chans: cfg.channels(),
            cfg: Some(cfg.clone()),
            ..Self::new("darknet_cfg")
        }
    }

    /// The network called `model` in its ImageNet form, with 1000 classes and Mish.
    pub fn imagenet(model: impl Into<String>) -> Self {
        Self {
            num_classes: Stem::ImageNet.num_classes(),
            stem: Stem::ImageNet,
            ..Self::new(model)
        }
    }

    /// The entries of a checkpoint's header that describe the network: `model`, `activation`,
    /// `num_classes`, `stem`, `in_chans` and, unless they are the defaults, `layer_activations`,
    /// `img_size`, `gate`, `shortcut`, `bn_eps` and `cfg`. The drop rates and `bn_momentum` are left out: they have no effect in
    /// evaluation.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let entries = [
            ("model", self.model.clone()),
            ("activation", self.activation.to_string()),
            ("num_classes", self.num_classes.to_string()),
            ("stem", self.stem.to_string()),
            ("in_chans", self.in_chans.to_string()),
        ];
        let layers = (!self.layer_activations.is_empty())
            .then(|| ("layer_activations", self.layer_activations.to_string()));
        let img_size = self.img_size.map(|size| ("img_size", size.to_string()));
        let gate = self.gate.map(|gate| ("gate", gate.to_string()));
        let other = !self.shortcut.is_default();
        let shortcut = other.then(|| ("shortcut", self.shortcut.to_string()));
        let bn_eps = self.bn_eps.map(|eps| ("bn_eps", eps.to_string()));
        let entries = entries.into_iter().chain(layers).chain(img_size);
        let cfg = self.cfg.as_ref().map(|cfg| ("cfg", cfg.to_string()));
        let entries = entries.chain(gate).chain(shortcut).chain(bn_eps);
        let entries = entries.chain(cfg);
        entries
            .map(|(key, value)| (key.to_string(), value))
            .collect()
    }

    /// Reads what [`ModelSpec::to_metadata`] wrote. Other entries are ignored.
    ///
    /// # Errors
    /// If `model`, `activation`, `num_classes` or `stem` is missing, or a value is not valid.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, MetadataError> {
        let args = ModelArgs::from_metadata(metadata)?;
        let missing = |key| MetadataError {
            key,
            reason: "it is missing".to_string(),
        };
        Ok(Self {
            activation: args.activation.ok_or_else(|| missing("activation"))?,
            num_classes: args.num_classes.ok_or_else(|| missing("num_classes"))?,
            stem: args.stem.ok_or_else(|| missing("stem"))?,
            in_chans: args.in_chans.unwrap_or(COLOUR_CHANNELS),
            layer_activations: args.layer_activations.unwrap_or_default(),
            img_size: args.img_size,
            gate: args.gate,
            shortcut: args.shortcut.unwrap_or_default(),
            bn_eps: args.bn_eps,
            cfg: args.cfg,
            ..Self::new(args.model.ok_or_else(|| missing("model"))?)
        })
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            model,
            activation,
            layer_activations,
            num_classes,
            stem,
            in_chans,
            img_size,
            shortcut,
            ..
        } = self;
        write!(f, "{model} with {num_classes} classes, {activation}")?;
        if !layer_activations.is_empty() {
            write!(f, " ({layer_activations})")?;
        }
        if *in_chans != COLOUR_CHANNELS {
            write!(f, ", {in_chans} image channels")?;
        }
        if let Some(size) = img_size {
            write!(f, ", {size}x{size} images")?;
        }
        if !shortcut.is_default() {
            write!(f, ", shortcuts of option {shortcut}")?;
        }
        write!(f, " and the {stem} stem")
    }
}

/// A [`ModelSpec`] with optional fields: what a caller, a file or a configuration specifies.
/// [`ModelArgs::or`] combines two sources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelArgs {
    /// As [`ModelSpec::model`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// As [`ModelSpec::activation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// As [`ModelSpec::layer_activations`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_activations: Option<LayerActivations>,
    /// As [`ModelSpec::num_classes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
    /// As [`ModelSpec::stem`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// As [`ModelSpec::in_chans`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_chans: Option<usize>,
    /// As [`ModelSpec::img_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub img_size: Option<usize>,
    /// As [`ModelSpec::gate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Activation>,
    /// As [`ModelSpec::shortcut`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// As [`ModelSpec::bn_momentum`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bn_momentum: Option<f64>,
    /// As [`ModelSpec::bn_eps`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bn_eps: Option<f64>,
    /// As [`ModelSpec::cfg`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfg: Option<DarknetCfg>,
    /// As [`ModelSpec::drop_rate`]; configurations call it `drop`.
    #[serde(rename = "drop", alias = "drop_rate")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_rate: Option<f64>,
    /// As [`ModelSpec::drop_path_rate`]; configurations call it `drop_path`.
    #[serde(rename = "drop_path", alias = "drop_path_rate")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path_rate: Option<f64>,
}

impl ModelArgs {
    /// Specifies only the name.
    pub fn named(model: impl Into<String>) -> Self {
        Self {
            model: Some(model.into()),
            ..Self::default()
        }
    }

    /// The fields of `self`, or of `fallback` where they are `None`.
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            model: self.model.clone().or_else(|| fallback.model.clone()),
            activation: self.activation.or(fallback.activation),
            layer_activations: self
                .layer_activations
                .clone()
                .or_else(|| fallback.layer_activations.clone()),
            num_classes: self.num_classes.or(fallback.num_classes),
            stem: self.stem.or(fallback.stem),
            in_chans: self.in_chans.or(fallback.in_chans),
            img_size: self.img_size.or(fallback.img_size),
            gate: self.gate.or(fallback.gate),
            shortcut: self.shortcut.or(fallback.shortcut),
            bn_momentum: self.bn_momentum.or(fallback.bn_momentum),
            bn_eps: self.bn_eps.or(fallback.bn_eps),
            cfg: self.cfg.clone().or_else(|| fallback.cfg.clone()),
            drop_rate: self.drop_rate.or(fallback.drop_rate),
            drop_path_rate: self.drop_path_rate.or(fallback.drop_path_rate),
        }
    }

    /// `spec`, overridden with all fields that are not `None`.
    pub fn over(&self, spec: ModelSpec) -> ModelSpec {
        ModelSpec {
            model: self.model.clone().unwrap_or(spec.model),
            activation: self.activation.unwrap_or(spec.activation),
            layer_activations: self
                .layer_activations
                .clone()
                .unwrap_or(spec.layer_activations),
            num_classes: self.num_classes.unwrap_or(spec.num_classes),
            stem: self.stem.unwrap_or(spec.stem),
            in_chans: self.in_chans.unwrap_or(spec.in_chans),
            img_size: self.img_size.or(spec.img_size),
            gate: self.gate.or(spec.gate),
            shortcut: self.shortcut.unwrap_or(spec.shortcut),
            bn_momentum: self.bn_momentum.or(spec.bn_momentum),
            bn_eps: self.bn_eps.or(spec.bn_eps),
            cfg: self.cfg.clone().or(spec.cfg),
            drop_rate: self.drop_rate.unwrap_or(spec.drop_rate),
            drop_path_rate: self.drop_path_rate.unwrap_or(spec.drop_path_rate),
        }
    }

    /// The fields that a checkpoint's header records.
    ///
    /// # Errors
    /// If a value is not valid.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, MetadataError> {
        Ok(Self {
            model: metadata.get("model").cloned(),
            activation: parsed(metadata, "activation")?,
            layer_activations: parsed(metadata, "layer_activations")?,
            num_classes: parsed(metadata, "num_classes")?,
            stem: parsed(metadata, "stem")?,
            in_chans: parsed(metadata, "in_chans")?,
            img_size: parsed(metadata, "img_size")?,
            gate: parsed(metadata, "gate")?,
            shortcut: parsed(metadata, "shortcut")?,
            bn_eps: parsed(metadata, "bn_eps")?,
            cfg: parsed(metadata, "cfg")?,
            ..Self::default()
        })
    }
}

/// The value of `key` in a checkpoint's header, if it has one.
pub(crate) fn parsed<T>(
    metadata: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Option<T>, MetadataError>
where
    T: FromStr<Err: fmt::Display>,
{
    let parse = |text: &String| {
        text.parse::<T>().map_err(|error| MetadataError {
            key,
            reason: error.to_string(),
        })
    };
    metadata.get(key).map(parse).transpose()
}

/// An entry of a checkpoint's header that is missing or not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header's '{key}' is not valid: {reason}")]
pub struct MetadataError {
    /// The entry.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// The image size that a network's first layers are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 32x32: the first layers keep the resolution, as in the usual CIFAR ports.
    #[default]
    Cifar,
    /// About 224x224: as in the paper, with timm's checkpoint keys.
    ImageNet,
}

impl Stem {
    /// All stems with their names.
    pub const ALL: [(&'static str, Self); 2] =
        [("cifar", Self::Cifar), ("imagenet", Self::ImageNet)];

    /// The stem for images of `size` pixels: [`Stem::Cifar`] up to 64.
    pub fn for_image_size(size: usize) -> Self {
        if size <= 64 {
            Self::Cifar
        } else {
            Self::ImageNet
        }
    }

    /// The number of classes of the data set that the stem is named after.
    pub const fn num_classes(self) -> usize {
        match self {
            Self::Cifar => 100,
            Self::ImageNet => 1000,
        }
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cifar => "cifar",
            Self::ImageNet => "imagenet",
        })
    }
}

impl FromStr for Stem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let found = found.map(|(_, stem)| *stem);
        found.ok_or_else(|| format!("unknown stem '{text}'; expected cifar or imagenet"))
    }
}

/// The shortcut of a residual block whose input and output have different shapes, with the names of
/// He et al., "Deep Residual Learning for Image Recognition" (2015, arXiv:1512.03385), section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Without parameters: every second row and column, between channels of zeros. Half of the new
    /// channels are before the old ones, as in PyTorch's CIFAR ports.
    A,
    /// A strided 1x1 convolution with batch norm.
    #[default]
    B,
}

impl Shortcut {
    /// All shortcuts with their names.
    pub const ALL: [(&'static str, Self); 2] = [("a", Self::A), ("b", Self::B)];

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

impl FromStr for Shortcut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let found = found.map(|(_, shortcut)| *shortcut);
        found.ok_or_else(|| format!("unknown shortcut '{text}'; expected a or b"))
    }
}
