//! Networks with their weights, and the library's warnings and errors in terms of flags.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

use candle_core::DType;
use candle_mish::checkpoint::ReadOptions;
use candle_mish::data::Dataset;
use candle_mish::nn::ParamStore;
use candle_mish::ops::{Fp32Precision, MemoryFormat};
use candle_mish::rng::Generator;
use candle_mish::train::Recipe;
use candle_mish_models::transfer::Transfer;
use candle_mish_models::tuning::HeadOnly;
use candle_mish_models::weights::{self, LoadError, Note};
use candle_mish_models::{
    self as models, BuildContext, Entry, Model, ModelArgs, ModelError, ModelSpec, NoEffect,
    Statistics,
};

use crate::args::range::{check_classes, check_in_chans};
use crate::failure::usage;
use crate::{device, unknown_model};

/// A network on one store: for training, and for evaluation without a graph.
pub struct Network {
    /// Weights and statistics.
    pub store: ParamStore,
    /// The network for training.
    pub model: Box<dyn Model>,
    /// The network for evaluation. It follows every change of the weights.
    pub frozen: Rc<dyn Model>,
    /// The random generators of the network, by name.
    pub generators: Vec<(String, Generator)>,
}

impl Network {
    /// Builds a network with initial weights as `recipe` draws them.
    ///
    /// # Errors
    /// If the network cannot be built, or the device cannot be opened.
    pub fn new(spec: &ModelSpec, recipe: &Recipe) -> anyhow::Result<Self> {
        Self::with_context(spec, recipe, BuildContext::default())
    }

    /// As [`Network::new`], built as `context` says, with a generator of the recipe's seed.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn with_context(
        spec: &ModelSpec,
        recipe: &Recipe,
        context: BuildContext,
    ) -> anyhow::Result<Self> {
        let store = ParamStore::new(DType::F32, device::current()?, recipe.seed);
        let own = models::find(&spec.model)
            .map_err(choice)?
            .own_initialisation;
        let store = store
            .with_initialisation(recipe.initialisation(&spec.activation))
            .with_own_initialisation(own);
        Self::build(spec, store, recipe.seed, context)
    }

    /// Builds a network on an empty store. `seed` seeds its random layers.
    fn build(
        spec: &ModelSpec,
        store: ParamStore,
        seed: u64,
        context: BuildContext,
    ) -> anyhow::Result<Self> {
        let context = BuildContext {
            generator: Generator::named(seed, "network"),
            ..context
        };
        let create = |store: &ParamStore, context: &BuildContext| {
            models::create_with(spec, context, store.var_builder()).map_err(choice)
        };
        let model = create(&store, &context)?;
        // Evaluation is in f32, so that it equals the evaluation of a checkpoint.
        let of_frozen = BuildContext {
            fp32_precision: Fp32Precision::Ieee,
            ..context.clone()
        };
        let frozen = create(&store.frozen(), &of_frozen)?.into();
        Ok(Self {
            store,
            model,
            frozen,
            generators: vec![("network".to_string(), context.generator)],
        })
    }

    /// Builds the network of trained weights and loads them.
    ///
    /// # Errors
    /// If the network cannot be built or a tensor does not fit.
    pub fn load(spec: &ModelSpec, weights: &Weights) -> anyhow::Result<Self> {
        let store = ParamStore::zeros(DType::F32, device::current()?);
        let network = Self::build(spec, store, 0, BuildContext::default())?;
        let transfer = weights.load(&*network.model, spec, &network.store);
        let transfer = transfer.map_err(explained)?;
        if let Some(note) = Note::transferred(&weights.origin, &transfer) {
            warn(&note);
        }
        Ok(network)
    }

    /// As `frozen`, to the bit, with layers that arrange their weights once. The weights must not
    /// change after its first batch.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn for_evaluation(&self, spec: &ModelSpec) -> anyhow::Result<Box<dyn Model>> {
        self.constant(spec, MemoryFormat::Contiguous)
    }

    /// As [`Network::for_evaluation`], with layers that keep images channels-last: faster, with logits
    /// that differ by rounding.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn for_inference(&self, spec: &ModelSpec) -> anyhow::Result<Box<dyn Model>> {
        self.constant(spec, MemoryFormat::ChannelsLast)
    }

    fn constant(
        &self,
        spec: &ModelSpec,
        memory_format: MemoryFormat,
    ) -> anyhow::Result<Box<dyn Model>> {
        let context = BuildContext {
            constant: true,
            memory_format,
            ..BuildContext::default()
        };
        models::create_with(spec, &context, self.store.frozen().var_builder()).map_err(choice)
    }

    /// Loads trained weights into a new network, to train it further.
    ///
    /// # Errors
    /// If a required tensor does not fit.
    pub fn start_from(&self, spec: &ModelSpec, weights: &Weights) -> anyhow::Result<Transfer> {
        let loaded = weights.initialise(&*self.model, spec, &self.store);
        let (transfer, notes) = loaded.map_err(explained)?;
        notes.iter().for_each(warn);
        Ok(transfer)
    }

    /// The same network with batch norms that average the statistics of all batches, and without
    /// dropout.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn calibrating(&self, spec: &ModelSpec) -> anyhow::Result<Box<dyn Model>> {
        let context = BuildContext {
            generator: self.generators[0].1.clone(),
            statistics: Statistics::Cumulative,
            ..BuildContext::default()
        };
        let spec = ModelSpec {
            drop_rate: 0.0,
            drop_path_rate: 0.0,
            ..spec.clone()
        };
        let store = self.store.frozen();
        Ok(models::create_with(&spec, &context, store.var_builder())?)
    }

    /// The same network with only its classifier trainable.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn head_only(&self, spec: &ModelSpec) -> anyhow::Result<HeadOnly> {
        let store = self.store.frozen_except(self.model.classifier());
        let context = BuildContext {
            generator: self.generators[0].1.clone(),
            ..BuildContext::default()
        };
        let model = models::create_with(spec, &context, store.var_builder())?;
        Ok(HeadOnly(model))
    }
}

/// Logs a note of the library as a warning, with the flags that override what it assumed.
pub fn warn(note: &Note) {
    for line in &note.details {
        tracing::info!("{line}");
    }
    let flags: Vec<String> = note.arguments.iter().map(|name| flag(name)).collect();
    let hint = match flags.as_slice() {
        _ if !note.details.is_empty() => " (-v lists all)".to_string(),
        [] => String::new(),
        flags => format!("; change it with {}", flags.join(", ")),
    };
    tracing::warn!("{note}{hint}");
}

/// The flag of an argument.
fn flag(argument: &str) -> String {
    // timm's arguments `drop_rate` and `drop_path_rate` have the flags --drop and --drop-path.
    let name = argument.strip_suffix("_rate").unwrap_or(argument);
    format!("--{}", name.replace('_', "-"))
}

/// Refuses an option of `given` or `context` that has no effect on the network `spec`.
///
/// # Errors
/// A usage error that names the flag and what the network lacks.
pub fn check_options(
    given: &ModelArgs,
    spec: &ModelSpec,
    context: &BuildContext,
) -> anyhow::Result<()> {
    let spec = ModelSpec {
        gate: given.gate,
        bn_momentum: given.bn_momentum,
        bn_eps: given.bn_eps,
        drop_rate: given.drop_rate.unwrap_or(0.0),
        drop_path_rate: given.drop_path_rate.unwrap_or(0.0),
        ..spec.clone()
    };
    models::check_options(&spec, context).map_err(choice)
}

/// A usage error for a name or an option that the registry refuses.
pub fn choice(error: ModelError) -> anyhow::Error {
    match error {
        ModelError::Unknown { name, suggestion } => {
            usage(unknown_model::message(&name, suggestion))
        }
        ModelError::Option(_) => usage(error),
        ModelError::NoEffect(NoEffect {
            model,
            option,
            lacks,
        }) => usage(format!(
            "{} has no effect on {model}, which has no {lacks}",
            flag(option)
        )),
        _ => error.into(),
    }
}

/// Translates an error of the library for the command line: wrong names and options become usage
/// errors, and tensors that do not fit are all listed in the log.
pub fn explained(error: LoadError) -> anyhow::Error {
    match error {
        LoadError::Model(error) => choice(error),
        // Unwrapped, so that `failure` finds its remedy.
        LoadError::Hub(error) => error.into(),
        LoadError::Unnamed { path } => usage(format!(
            "{} does not record its network: name it as MODEL",
            path.display()
        )),
        LoadError::NoCfg { path, cfg, source } => anyhow::Error::new(source).context(format!(
            "{} is a darknet file, which needs {} in its folder or --cfg FILE",
            path.display(),
            cfg.display()
        )),
        LoadError::Mismatch {
            origin,
            spec,
            transfer,
        } => {
            let report = &transfer.report;
            for line in report.lines() {
                tracing::info!("{line}");
            }
            let hint = if report.is_abridged() {
                " (-v lists all)"
            } else {
                ""
            };
            anyhow::anyhow!("{origin} does not fit {spec}: {transfer}{hint}")
        }
        _ => error.into(),
    }
}

/// The registry's entry called `name`.
///
/// # Errors
/// A usage error with the most similar name, if there is no such network.
pub fn entry(name: &str) -> anyhow::Result<&'static Entry> {
    models::find(name).map_err(choice)
}

/// The header of a run's checkpoints.
///
/// # Errors
/// If a value has no form in JSON.
pub fn describe(spec: &ModelSpec, dataset: &Dataset) -> anyhow::Result<BTreeMap<String, String>> {
    let mut metadata = spec.to_metadata();
    let mut set = |key: &str, value: String| metadata.insert(key.to_string(), value);
    set("format", "pt".to_string());
    set("classes", serde_json::to_string(&dataset.classes)?);
    set("dataset", dataset.name.clone());
    set("mean", serde_json::to_string(&dataset.mean)?);
    set("std", serde_json::to_string(&dataset.std)?);
    set("image_size", dataset.train.height().to_string());
    set("candle_mish", env!("CARGO_PKG_VERSION").to_string());
    if let Some(preprocess) = dataset.train.preprocess() {
        set("crop_pct", preprocess.crop_pct.to_string());
        set("interpolation", preprocess.interpolation.to_string());
    }
    Ok(metadata)
}

/// Trained weights. Warnings are logged.
pub struct Weights(weights::Weights);

impl Deref for Weights {
    type Target = weights::Weights;

    fn deref(&self) -> &weights::Weights {
        &self.0
    }
}

impl From<weights::Weights> for Weights {
    /// Logs what the description of the weights asks for that is not supported.
    fn from(weights: weights::Weights) -> Self {
        weights.notes.iter().for_each(warn);
        Self(weights)
    }
}

impl Weights {
    /// Reads a file. `model` is the name from the command line, `state_dict_key` the table of weights
    /// in a PyTorch file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(
        path: &Path,
        model: Option<&str>,
        state_dict_key: Option<&str>,
    ) -> anyhow::Result<Self> {
        let options = ReadOptions {
            state_dict_key: state_dict_key.map(str::to_string),
        };
        let weights = weights::Weights::read_with(path, &options);
        let mut weights = weights.map_err(explained)?;
        weights.assume_model(model);
        Ok(weights.into())
    }

    /// Reads weights of darknet with their `.cfg` file. `model` is the name from the command line.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read_darknet(path: &Path, cfg: &Path, model: Option<&str>) -> anyhow::Result<Self> {
        let weights = weights::Weights::read_darknet(path, cfg);
        let mut weights = weights.map_err(explained)?;
        weights.assume_model(model);
        Ok(weights.into())
    }

    /// The network of these weights: the `given` values, or else what the weights say. Logs what is
    /// assumed.
    ///
    /// # Errors
    /// If nothing names the network, or a value is not valid or out of range.
    pub fn spec(&self, given: &ModelArgs) -> anyhow::Result<ModelSpec> {
        let (spec, notes) = self.0.spec(given).map_err(explained)?;
        notes.iter().for_each(warn);
        check_options(given, &spec, &BuildContext::default())?;
        check_classes(spec.num_classes)?;
        check_in_chans(spec.in_chans)?;
        Ok(spec)
    }
}
