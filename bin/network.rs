//! Building networks, and what their checkpoints say about them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use candle_core::{DType, Device};
use candle_mish::activation::Activation;
use candle_mish::checkpoint::{self, Checkpoint};
use candle_mish::data::{Dataset, Preprocess};
use candle_mish::nn::{LoadReport, ParamStore};
use candle_mish::rng::Generator;
use candle_mish_models::transfer::{self, Transfer};
use candle_mish_models::tuning::HeadOnly;
use candle_mish_models::{self as models, Entry, Model, ModelError, Options, Stem};

use crate::device;
use crate::failure::usage;
use crate::source::Fetched;

/// What determines a network but its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Its name in the registry.
    pub model: String,
    /// Its activation.
    pub activation: Activation,
    /// The width of its logits.
    pub num_classes: usize,
    /// For which images its first layers are made.
    pub stem: Stem,
    /// The channels of the images.
    pub in_chans: usize,
    /// The activation of gates; the network's own if none.
    pub gate: Option<Activation>,
    /// Dropout in front of the classifier.
    pub drop: f64,
    /// Stochastic depth.
    pub drop_path: f64,
}

/// The channels of images in colour.
pub const COLOURS: usize = 3;

impl Architecture {
    /// What a network for images in colour needs to be evaluated.
    pub fn evaluated(
        model: String,
        activation: Activation,
        num_classes: usize,
        stem: Stem,
    ) -> Self {
        Self {
            model,
            activation,
            num_classes,
            stem,
            in_chans: COLOURS,
            gate: None,
            drop: 0.0,
            drop_path: 0.0,
        }
    }
}

impl Architecture {
    fn options(&self, generator: &Generator) -> Options {
        Options {
            activation: self.activation,
            num_classes: self.num_classes,
            stem: self.stem,
            in_channels: self.in_chans,
            gate: self.gate,
            drop_rate: self.drop,
            drop_path_rate: self.drop_path,
            generator: generator.clone(),
            ..Options::default()
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            model,
            activation,
            num_classes,
            stem,
            in_chans,
            ..
        } = self;
        write!(f, "{model} with {num_classes} classes, {activation}")?;
        if *in_chans != COLOURS {
            write!(f, ", {in_chans} image channels")?;
        }
        write!(f, " and the {stem} stem")
    }
}

/// The stem for images of `size` pixels: the resolution of small ones is kept.
pub fn stem_for(size: usize) -> Stem {
    if size <= 64 {
        Stem::Cifar
    } else {
        Stem::ImageNet
    }
}

/// A network with its weights, and its twin that records no graph.
pub struct Network {
    /// Weights and buffers.
    pub store: ParamStore,
    /// Built on `store`: for training.
    pub model: Box<dyn Model>,
    /// Built on the frozen store: for evaluation.
    pub frozen: Box<dyn Model>,
    /// What the network draws random numbers from, by name.
    pub generators: Vec<(String, Generator)>,
}

impl Network {
    /// Builds a network with initial weights drawn from `seed`.
    pub fn new(architecture: &Architecture, seed: u64) -> anyhow::Result<Self> {
        let store = ParamStore::new(DType::F32, device::current()?, seed);
        Self::build(architecture, store, seed)
    }

    /// Builds a network on an empty store; `seed` is for its random layers.
    fn build(architecture: &Architecture, store: ParamStore, seed: u64) -> anyhow::Result<Self> {
        let name = &architecture.model;
        let entry = models::find(name).map_err(usage)?;
        entry.form(architecture.stem).map_err(usage)?;
        let generator = Generator::named(seed, "network");
        let options = architecture.options(&generator);
        let model = models::create(name, &options, store.var_builder()).map_err(|error| {
            if matches!(error, ModelError::Option(_)) {
                usage(error)
            } else {
                error.into()
            }
        })?;
        let frozen = models::create(name, &options, store.frozen().var_builder())?;
        Ok(Self {
            store,
            model,
            frozen,
            generators: vec![("network".to_string(), generator)],
        })
    }

    /// Builds the network of a checkpoint and loads it.
    pub fn load(architecture: &Architecture, weights: &Weights) -> anyhow::Result<Self> {
        let store = ParamStore::zeros(DType::F32, device::current()?);
        let network = Self::build(architecture, store, 0)?;
        let transfer = network.transfer(architecture, weights)?;
        if !transfer.is_complete() || transfer.fresh_classifier {
            bail!(
                "{} does not fit {architecture}: {}",
                weights.path.display(),
                explained(&transfer.report, &transfer)
            );
        }
        tell_notes(&weights.path.display(), &transfer);
        Ok(network)
    }

    /// Puts weights into a new network and says what did not fit: a classifier of other classes
    /// and, in another form than theirs, anything else stays as it was drawn.
    pub fn begin_with(
        &self,
        architecture: &Architecture,
        pretrained: &Fetched,
    ) -> anyhow::Result<()> {
        let Fetched { weights, origin } = pretrained;
        let mut transfer = self.transfer(architecture, weights)?;
        let report = &mut transfer.report;
        let anew = set_activation_apart(architecture, weights.own_activation()?, report)?;
        tell_notes(origin, &transfer);
        if anew > 0 {
            let activation = architecture.activation;
            tracing::warn!("{origin}: {anew} tensors that {activation} learns start anew");
        }
        if transfer.is_complete() {
            return Ok(());
        }
        let report = explained(&transfer.report, &transfer.report);
        if weights.stem()?.is_some_and(|own| own != architecture.stem) {
            tracing::warn!(
                "{origin} is not of the {} stem: {report}",
                architecture.stem
            );
            return Ok(());
        }
        bail!("{origin} does not fit {architecture}: {report}")
    }

    /// The network once more, learning only its classifier.
    pub fn head_only(&self, architecture: &Architecture) -> anyhow::Result<HeadOnly> {
        let store = self.store.frozen_except(self.model.classifier());
        let generator = &self.generators[0].1;
        let options = architecture.options(generator);
        let model = models::create(&architecture.model, &options, store.var_builder())?;
        Ok(HeadOnly(model))
    }

    /// Puts weights into the network as far as they fit.
    pub fn transfer(
        &self,
        architecture: &Architecture,
        weights: &Weights,
    ) -> anyhow::Result<Transfer> {
        let entry = models::find(&architecture.model).map_err(usage)?;
        let tensors = &weights.checkpoint.tensors;
        Ok(transfer::load(&*self.model, entry, &self.store, tensors)?)
    }
}

/// Says in a line how weights came to fit, if not all of them did by themselves.
fn tell_notes(origin: &dyn std::fmt::Display, transfer: &Transfer) {
    let notes = transfer.notes();
    if !notes.is_empty() {
        tracing::warn!("{origin}: {}", notes.join("; "));
    }
}

/// What `told` says of a report in a line; the log has all of it.
fn explained(report: &LoadReport, told: &dyn std::fmt::Display) -> String {
    for line in report.lines() {
        tracing::info!("{line}");
    }
    match report.is_abridged() {
        true => format!("{told} (-v lists all)"),
        false => told.to_string(),
    }
}

/// Takes out of a report what only the activations learn, where the weights are of another one or
/// do not say of which: it has no counterpart. Gives the number of tensors that are left as they
/// were drawn.
fn set_activation_apart(
    architecture: &Architecture,
    own: Option<Activation>,
    report: &mut LoadReport,
) -> anyhow::Result<usize> {
    let learnable = architecture.activation.is_learnable() || own.is_some_and(|a| a.is_learnable());
    if !learnable || own == Some(architecture.activation) {
        return Ok(0);
    }
    let plain = names(architecture, Activation::Identity)?;
    let before = report.missing.len() + report.mismatched.len();
    report.missing.retain(|name| plain.contains(name));
    report.mismatched.retain(|(name, ..)| plain.contains(name));
    if let Some(own) = own {
        let learnt = names(architecture, own)?;
        let of_own = |name: &String| learnt.contains(name) && !plain.contains(name);
        report.unexpected.retain(|name| !of_own(name));
    }
    Ok(before - report.missing.len() - report.mismatched.len())
}

/// The keys of a network with another activation.
fn names(architecture: &Architecture, activation: Activation) -> anyhow::Result<HashSet<String>> {
    let architecture = Architecture {
        activation,
        ..architecture.clone()
    };
    let store = ParamStore::zeros(DType::F32, &Device::Cpu);
    let network = Network::build(&architecture, store, 0)?;
    let tensors = network.store.tensors().into_iter();
    Ok(tensors.map(|(name, _)| name).collect())
}

/// Refuses a name that the registry does not have.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    models::find(name).map(|_| ()).map_err(usage)
}

/// What a run writes into the header of its checkpoints.
pub fn describe(
    architecture: &Architecture,
    dataset: &Dataset,
) -> anyhow::Result<BTreeMap<String, String>> {
    let entries = [
        ("format", "pt".to_string()),
        ("model", architecture.model.clone()),
        ("activation", architecture.activation.to_string()),
        ("num_classes", architecture.num_classes.to_string()),
        ("stem", architecture.stem.to_string()),
        ("in_chans", architecture.in_chans.to_string()),
        ("classes", serde_json::to_string(&dataset.classes)?),
        ("dataset", dataset.name.clone()),
        ("mean", serde_json::to_string(&dataset.mean)?),
        ("std", serde_json::to_string(&dataset.std)?),
        ("image_size", dataset.train.height().to_string()),
        ("candle_mish", env!("CARGO_PKG_VERSION").to_string()),
    ];
    let of_pictures = dataset.train.preprocess().map(|preprocess| {
        [
            ("crop_pct", preprocess.crop_pct.to_string()),
            ("interpolation", preprocess.interpolation.to_string()),
        ]
    });
    let gate = architecture.gate.map(|gate| ("gate", gate.to_string()));
    let owned = |(key, value): (&str, String)| (key.to_string(), value);
    let entries = entries.into_iter().chain(of_pictures.into_iter().flatten());
    let entries = entries.chain(gate);
    Ok(entries.map(owned).collect())
}

/// A checkpoint file with what its header says.
pub struct Weights {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub checkpoint: Checkpoint,
    /// The network whose published weights it is taken to be like where its header is silent.
    like: Option<&'static Entry>,
}

impl Weights {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            checkpoint: checkpoint::read(path)?,
            like: None,
        })
    }

    /// Takes the file to be like the published weights of its network, which the header or else
    /// `given` names.
    pub fn suppose(&mut self, given: Option<&str>) {
        let name = self.text("model").or(given);
        self.like = name.and_then(|name| models::find(name).ok());
    }

    /// The network's name: the one given, which the header must not contradict, or else the
    /// header's.
    pub fn model(&self, given: Option<&str>) -> anyhow::Result<String> {
        match (given, self.text("model")) {
            (Some(given), Some(own)) if given != own => {
                bail!("{} holds {own}, not {given}", self.path.display())
            }
            (Some(name), _) | (None, Some(name)) => {
                check_name(name)?;
                Ok(name.to_string())
            }
            (None, None) => Err(usage(format!(
                "{} does not say which network it is of: name it as MODEL",
                self.path.display()
            ))),
        }
    }

    /// The activation that the weights were trained with, if their header says so, or the Hub's
    /// table or description of them.
    pub fn own_activation(&self) -> anyhow::Result<Option<Activation>> {
        self.parsed("activation")
    }

    /// The activation: the one given, with a warning if it is not the header's, or else the
    /// header's; where that says nothing, which this program's files never do, with a warning, that
    /// of the network's published weights.
    pub fn activation(&self, given: Option<&Activation>) -> anyhow::Result<Activation> {
        match (given, self.own_activation()?) {
            (Some(given), Some(own)) if *given != own => {
                tracing::warn!("the weights were trained with {own}, not {given}");
                Ok(*given)
            }
            (Some(given), _) => Ok(*given),
            (None, Some(own)) => Ok(own),
            (None, None) => {
                let path = self.path.display();
                let like = self
                    .like
                    .with_context(|| format!("{path} names no network"))?;
                let activation = like.published_activation();
                tracing::warn!(
                    "{path} does not say its activation: taken for {activation}; --activation NAME \
                     says otherwise"
                );
                Ok(activation)
            }
        }
    }

    /// The channels of the images, if the header says so.
    pub fn in_chans(&self) -> anyhow::Result<Option<usize>> {
        self.parsed("in_chans")
    }

    /// The activation of the gates, if the header says so.
    pub fn gate(&self) -> anyhow::Result<Option<Activation>> {
        self.parsed("gate")
    }

    /// The number of classes, if the header says so.
    pub fn num_classes(&self) -> anyhow::Result<Option<usize>> {
        self.parsed("num_classes")
    }

    /// The stem, if the header says so.
    pub fn stem(&self) -> anyhow::Result<Option<Stem>> {
        self.parsed("stem")
    }

    /// The classes of `model`'s classifier as its tensor in the file tells.
    pub fn classifier_rows(&self, model: &str, stem: Stem) -> anyhow::Result<usize> {
        let architecture =
            Architecture::evaluated(model.to_string(), Activation::Identity, 1, stem);
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        let network = Network::build(&architecture, store, 0)?;
        let transfer = network.transfer(&architecture, self)?;
        transfer.classes.with_context(|| {
            let (path, classifier) = (self.path.display(), transfer.classifier);
            format!("{path} has no classifier {classifier}: it is not of {model}")
        })
    }

    /// The size of the images that it was trained on, if the header says so.
    pub fn image_size(&self) -> anyhow::Result<Option<usize>> {
        self.parsed("image_size")
    }

    /// The names of the classes, if the header has them.
    pub fn classes(&self) -> anyhow::Result<Option<Vec<String>>> {
        self.json("classes")
    }

    /// The mean and standard deviation of the channels, if the header has them.
    pub fn normalisation(&self) -> anyhow::Result<Option<([f32; 3], [f32; 3])>> {
        Ok(self.json("mean")?.zip(self.json("std")?))
    }

    /// How pictures become images of the network: as the header says, or else as for the network's
    /// default weights on the Hub, or else as timm does it for ImageNet's images, at the network's
    /// own size. `None` if the network is for small images and the header does not say how they are
    /// made.
    pub fn preprocess(&self, model: &str, stem: Stem) -> anyhow::Result<Option<Preprocess>> {
        let entry = models::find(model).map_err(usage)?;
        let size = self.image_size()?;
        let normalisation = self.normalisation()?;
        let like = entry.pretrained().next().filter(|row| row.stem == stem);
        let own = match (stem, like) {
            (Stem::ImageNet, Some(row)) => Preprocess {
                input_size: row.input_size,
                crop_pct: row.crop_pct,
                interpolation: row.interpolation.parse().map_err(anyhow::Error::msg)?,
                mean: row.mean,
                std: row.std,
            },
            (Stem::ImageNet, None) => Preprocess {
                input_size: entry.form(stem).map_err(usage)?.input.1,
                ..Preprocess::default()
            },
            // Small images are seen whole.
            (Stem::Cifar, _) if size.is_some() && normalisation.is_some() => Preprocess {
                crop_pct: 1.0,
                ..Preprocess::default()
            },
            (Stem::Cifar, _) => return Ok(None),
        };
        let (mean, std) = normalisation.unwrap_or((own.mean, own.std));
        Ok(Some(Preprocess {
            input_size: size.unwrap_or(own.input_size),
            crop_pct: self.parsed("crop_pct")?.unwrap_or(own.crop_pct),
            interpolation: self.parsed("interpolation")?.unwrap_or(own.interpolation),
            mean,
            std,
        }))
    }

    /// The data set, if the header names it.
    pub fn dataset(&self) -> Option<&str> {
        self.text("dataset")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.checkpoint.metadata.get(key).map(String::as_str)
    }

    fn parsed<T>(&self, key: &str) -> anyhow::Result<Option<T>>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let parse = |text: &str| text.parse::<T>().map_err(|e| self.bad(key, e));
        self.text(key).map(parse).transpose()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> anyhow::Result<Option<T>> {
        let parse = |text: &str| serde_json::from_str(text).map_err(|e| self.bad(key, e));
        self.text(key).map(parse).transpose()
    }

    fn bad(&self, key: &str, error: impl std::fmt::Display) -> anyhow::Error {
        let path = self.path.display();
        anyhow::anyhow!("{path}: the header's '{key}' is not valid: {error}")
    }
}
