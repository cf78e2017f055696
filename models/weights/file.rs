//! [`Weights`]: a checkpoint, and what is known about it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_mish::activation::{Activation, LayerActivations};
use candle_mish::checkpoint::{self, Checkpoint, CheckpointError, ReadOptions};
use candle_mish::nn::ParamStore;

use crate::entry::Entry;
use crate::model::Model;
#[cfg(feature = "hub")]
use crate::pretrained::Pretrained;
use crate::registry::{create, find};
use crate::spec::{MetadataError, ModelArgs, ModelSpec, Stem, parsed};
use crate::transfer::{self, Transfer};
use crate::weights::described;
use crate::weights::description;
use crate::weights::error::LoadError;
use crate::weights::fixed::Fixed;
use crate::weights::inspect::Inspection;
use crate::weights::known_classes::Known;
use crate::weights::note::Note;
use crate::weights::transformers;

/// The mean and the standard deviation of each channel, RGB, of pixels in [0, 1].
pub type MeanStd = ([f32; 3], [f32; 3]);

/// A checkpoint and what is known about it.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The file.
    pub path: PathBuf,
    /// Where the weights come from: the file, or their address on the Hub with the commit.
    pub origin: String,
    /// Its tensors, and its header completed from the description or the table of weights.
    pub checkpoint: Checkpoint,
    /// What the description asks for that is not supported.
    pub notes: Vec<Note>,
    /// The data set whose classes the weights are known to have.
    pub(super) known_classes: Option<Known>,
    /// How the described network differs from the registry's, if it does.
    pub(super) difference: Option<&'static str>,
    /// The network whose published weights supply the defaults for what the header does not record.
    pub(super) like: Option<&'static Entry>,
}

impl Weights {
    /// Reads a checkpoint without its description.
    pub(super) fn read_alone(path: &Path, options: &ReadOptions) -> Result<Self, LoadError> {
        let checkpoint = checkpoint::read_with(path, options)?;
        Ok(Self::of_checkpoint(path, checkpoint))
    }

    /// A checkpoint that was read from `path`, without a description.
    pub(super) fn of_checkpoint(path: &Path, checkpoint: Checkpoint) -> Self {
        let like = checkpoint.metadata.get("model");
        let like = like.and_then(|name| find(name).ok());
        let origin = path.display().to_string();
        let notes = checkpoint.notes.iter();
        let notes = notes.map(|line| Note::of_checkpoint(&origin, line));
        Self {
            path: path.to_path_buf(),
            notes: notes.collect(),
            origin,
            checkpoint,
            difference: None,
            known_classes: None,
            like,
        }
    }

    /// Reads a checkpoint with the default [`ReadOptions`]; see [`Weights::read_with`].
    ///
    /// # Errors
    /// As [`Weights::read_with`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Self::read_with(path, &ReadOptions::default())
    }

    /// Reads a checkpoint (safetensors, a PyTorch file, an index of several files or its folder) and
    /// the description `config.json` of timm or transformers in its folder, if there is one. The
    /// header takes precedence over the description. A `.weights` file of darknet is read with the
    /// `.cfg` file of the same name in its folder, as by [`Weights::read_darknet`].
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Self, LoadError> {
        if checkpoint::darknet::is_darknet(path) {
            return match &options.state_dict_key {
                None => Self::read_darknet(path, &path.with_extension("cfg")),
                Some(key) => Err(LoadError::Checkpoint(CheckpointError::StateDictKey {
                    path: path.to_path_buf(),
                    key: key.clone(),
                    tables: "the tensors of a darknet file".to_owned(),
                })),
            };
        }
        let mut weights = Self::read_alone(path, options)?;
        let description = if path.is_dir() {
            path.join(described::FILE)
        } else {
            path.with_file_name(described::FILE)
        };
        if description.is_file()
            && let Some(description) = description::read_known(&description)?
        {
            weights.describe(&description, None);
        }
        Ok(weights)
    }

    /// Completes the header from a description. `model` is the name that the caller gives.
    pub(super) fn describe(&mut self, description: &serde_json::Value, model: Option<&str>) {
        self.difference = transformers::difference(description);
        let described = description::read(&self.origin, description, model);
        self.known_classes = described.known_classes;
        self.complete(described.entries);
        self.notes.extend(described.notes);
    }

    /// Completes the header from a row of the table of weights.
    #[cfg(feature = "hub")]
    pub(super) fn describe_row(&mut self, row: &Pretrained) {
        self.known_classes = description::classes_of_row(row);
        self.complete(description::of_row(row));
    }

    fn complete(&mut self, entries: BTreeMap<String, String>) {
        for (key, value) in entries {
            self.checkpoint.metadata.entry(key).or_insert(value);
        }
        self.assume_model(None);
    }

    /// Sets the network of a file that does not record one. Its published weights then supply the
    /// defaults.
    pub fn assume_model(&mut self, model: Option<&str>) {
        let name = self.text("model").or(model);
        self.like = name.and_then(|name| find(name).ok());
    }

    /// What the header records about the network.
    ///
    /// # Errors
    /// If a value is not valid.
    pub fn args(&self) -> Result<ModelArgs, LoadError> {
        ModelArgs::from_metadata(&self.checkpoint.metadata).map_err(|error| self.header(error))
    }

    /// The network: the `given` name, or else the recorded one.
    ///
    /// # Errors
    /// If neither names one, the registry lacks it, or they differ.
    pub fn model(&self, given: Option<&str>) -> Result<String, LoadError> {
        let path = || self.path.clone();
        match (given, self.text("model")) {
            (Some(given), Some(own)) if given != own => Err(LoadError::OtherModel {
                path: path(),
                own: own.to_string(),
                given: given.to_string(),
            }),
            (Some(name), _) | (None, Some(name)) => {
                find(name)?;
                Ok(name.to_string())
            }
            (None, None) => Err(LoadError::Unnamed { path: path() }),
        }
    }

    /// The recorded activation.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn own_activation(&self) -> Result<Option<Activation>, LoadError> {
        self.parsed("activation")
    }

    /// The activation: the `given` one, or else the recorded one, or else the one of the network's
    /// published weights. The note warns if they differ or nothing is recorded.
    ///
    /// # Errors
    /// If the recorded value is not valid, or nothing names the network.
    pub fn activation(
        &self,
        given: Option<&Activation>,
    ) -> Result<(Activation, Option<Note>), LoadError> {
        self.activation_like(given, self.like)
    }

    /// As [`Weights::activation`], where `like` names the network.
    pub(super) fn activation_like(
        &self,
        given: Option<&Activation>,
        like: Option<&Entry>,
    ) -> Result<(Activation, Option<Note>), LoadError> {
        match (given, self.own_activation()?) {
            (Some(given), Some(own)) if *given != own => {
                Ok((*given, Some(Note::other_activation(own, *given))))
            }
            (Some(given), _) => Ok((*given, None)),
            (None, Some(own)) => Ok((own, None)),
            (None, None) => {
                let like = like.ok_or_else(|| LoadError::Unnamed {
                    path: self.path.clone(),
                })?;
                let activation = like.published_activation();
                let note = Note::assumed_activation(&self.origin, activation);
                Ok((activation, Some(note)))
            }
        }
    }

    /// The recorded image channels.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn in_chans(&self) -> Result<Option<usize>, LoadError> {
        self.parsed("in_chans")
    }

    /// The recorded height and width of the images of a network that takes one size only.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn img_size(&self) -> Result<Option<usize>, LoadError> {
        self.parsed("img_size")
    }

    /// The recorded activation of gates.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn gate(&self) -> Result<Option<Activation>, LoadError> {
        self.parsed("gate")
    }

    /// The recorded number of classes.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn num_classes(&self) -> Result<Option<usize>, LoadError> {
        self.parsed("num_classes")
    }

    /// Refuses recorded sizes that no tensor has, before a network of these sizes fills the memory.
    pub(super) fn check_recorded_sizes(&self, spec: &ModelSpec) -> Result<(), LoadError> {
        let tensors = self.checkpoint.tensors.values();
        let largest = tensors.flat_map(|tensor| tensor.dims()).copied().max();
        for (key, recorded, size) in [
            ("num_classes", self.num_classes()?, spec.num_classes),
            ("in_chans", self.in_chans()?, spec.in_chans),
            ("img_size", self.img_size()?, spec.img_size.unwrap_or(0)),
        ] {
            if recorded == Some(size) && size > largest.unwrap_or(0) {
                let reason = format!("it is {size}, more than any dimension of a tensor");
                return Err(self.header(MetadataError { key, reason }));
            }
        }
        let tensors = self.checkpoint.tensors.values();
        let values: usize = tensors.map(|tensor| tensor.elem_count()).sum();
        if spec
            .cfg
            .as_ref()
            .is_some_and(|cfg| cfg.num_values() > values)
        {
            let reason = format!("its network has more than the {values} values of all tensors");
            return Err(self.header(MetadataError { key: "cfg", reason }));
        }
        Ok(())
    }

    /// The recorded stem.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn stem(&self) -> Result<Option<Stem>, LoadError> {
        self.parsed("stem")
    }

    /// The number of classes, inferred from the shape of `model`'s classifier.
    ///
    /// # Errors
    /// If the file has no such classifier.
    pub fn infer_num_classes(&self, model: &str, stem: Stem) -> Result<usize, LoadError> {
        let known = ModelArgs {
            stem: Some(stem),
            ..ModelArgs::default()
        };
        let found = Inspection::of(find(model)?, &self.checkpoint.tensors, &known)?;
        found
            .num_classes
            .ok_or_else(|| self.no_classifier(model, found.classifier))
    }

    pub(super) fn no_classifier(&self, model: &str, classifier: String) -> LoadError {
        LoadError::NoClassifier {
            path: self.path.clone(),
            classifier,
            model: model.to_string(),
        }
    }

    /// The recorded height of the images.
    ///
    /// # Errors
    /// If the value is not valid.
    pub fn image_size(&self) -> Result<Option<usize>, LoadError> {
        self.parsed("image_size")
    }

    /// The recorded mean and standard deviation of each channel.
    ///
    /// # Errors
    /// If a value is not valid.
    pub fn normalisation(&self) -> Result<Option<MeanStd>, LoadError> {
        Ok(self.json("mean")?.zip(self.json("std")?))
    }

    /// The recorded data set.
    pub fn dataset(&self) -> Option<&str> {
        self.text("dataset")
    }

    /// Copies the tensors that fit into a network of `spec` that was built on `store`.
    ///
    /// # Errors
    /// If a value cannot be converted.
    pub fn transfer(
        &self,
        model: &dyn Model,
        spec: &ModelSpec,
        store: &ParamStore,
    ) -> Result<Transfer, LoadError> {
        let entry = find(&spec.model)?;
        self.refuse_style(entry)?;
        Ok(transfer::load(
            model,
            entry,
            store,
            &self.checkpoint.tensors,
        )?)
    }

    /// Loads a network of `spec` that was built on `store`: every tensor must fit.
    ///
    /// # Errors
    /// [`LoadError::OtherForm`] if the tensors belong to another form of the network,
    /// [`LoadError::Refused`] if they belong to another program's network that differs from it,
    /// [`LoadError::Mismatch`] if a tensor does not fit for another reason.
    pub fn load(
        &self,
        model: &dyn Model,
        spec: &ModelSpec,
        store: &ParamStore,
    ) -> Result<Transfer, LoadError> {
        let transfer = self.transfer(model, spec, store)?;
        if !transfer.is_complete() || transfer.fresh_classifier {
            return Err(self.mismatch(spec, transfer, Fixed::Everything));
        }
        Ok(transfer)
    }

    /// Loads a new network of `spec` that was built on `store`, to train it further. Keeps the
    /// initial values of a classifier with another number of classes, of the parameters of another
    /// activation and, if the stem differs, of everything that does not fit. The notes report them.
    ///
    /// # Errors
    /// As [`Weights::load`], if another tensor does not fit.
    pub fn initialise(
        &self,
        model: &dyn Model,
        spec: &ModelSpec,
        store: &ParamStore,
    ) -> Result<(Transfer, Vec<Note>), LoadError> {
        let mut transfer = self.transfer(model, spec, store)?;
        let fresh = self.exclude_activation(spec, &mut transfer)?;
        let mut notes: Vec<Note> = Note::transferred(&self.origin, &transfer)
            .into_iter()
            .collect();
        if fresh > 0 {
            notes.push(Note::fresh_activation(&self.origin, fresh, spec.activation));
        }
        if !transfer.is_complete() {
            if self.stem()?.is_none_or(|own| own == spec.stem) {
                return Err(self.mismatch(spec, transfer, Fixed::Layers));
            }
            notes.push(Note::other_stem(&self.origin, spec.stem, &transfer.report));
        }
        Ok((transfer, notes))
    }

    /// Removes the parameters of activations from the report, if the weights have another
    /// activation or do not record it. Returns the number of tensors that keep their initial
    /// values.
    fn exclude_activation(
        &self,
        spec: &ModelSpec,
        transfer: &mut Transfer,
    ) -> Result<usize, LoadError> {
        let own = self.own_activation()?;
        let learnable = spec.activation.is_learnable() || own.is_some_and(|a| a.is_learnable());
        if !learnable || own == Some(spec.activation) {
            return Ok(0);
        }
        let report = &mut transfer.report;
        let plain = names(spec, Activation::Identity)?;
        let before = report.missing.len() + report.mismatched.len();
        report.missing.retain(|name| plain.contains(name));
        report.mismatched.retain(|(name, ..)| plain.contains(name));
        let fresh = before - report.missing.len() - report.mismatched.len();
        if let Some(own) = own {
            let learnt = names(spec, own)?;
            let of_own = |name: &String| learnt.contains(name) && !plain.contains(name);
            report.unexpected.retain(|name| !of_own(name));
        }
        Ok(fresh)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.checkpoint.metadata.get(key).map(String::as_str)
    }

    pub(super) fn parsed<T>(&self, key: &'static str) -> Result<Option<T>, LoadError>
    where
        T: std::str::FromStr<Err: fmt::Display>,
    {
        parsed(&self.checkpoint.metadata, key).map_err(|error| self.header(error))
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, LoadError> {
        let parse = |text: &str| {
            serde_json::from_str(text).map_err(|error| {
                self.header(MetadataError {
                    key,
                    reason: error.to_string(),
                })
            })
        };
        self.text(key).map(parse).transpose()
    }

    fn header(&self, source: MetadataError) -> LoadError {
        LoadError::Header {
            path: self.path.clone(),
            source,
        }
    }
}

/// The keys of a network with another activation.
fn names(spec: &ModelSpec, activation: Activation) -> Result<HashSet<String>, LoadError> {
    let spec = ModelSpec {
        activation,
        layer_activations: LayerActivations::default(),
        ..spec.clone()
    };
    let store = ParamStore::zeros(DType::F32, &Device::Cpu);
    create(&spec, store.var_builder())?;
    let tensors = store.tensors().into_iter();
    Ok(tensors.map(|(name, _)| name).collect())
}
