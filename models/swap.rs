//! Networks of the registry for [`candle_mish::swap::study`].

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_mish::activation::{Activation, LayerActivations};
use candle_mish::nn::{ParamStore, summarize};
use candle_mish::rng::Generator;
use candle_mish::swap::{Forward, Replacement, Variant};

use crate::context::{BuildContext, Statistics, Swap};
use crate::entry::Entry;
use crate::error::ModelError;
use crate::model::Model;
use crate::registry::{create, create_with, find};
use crate::spec::ModelSpec;
use crate::transfer;

/// A trained network that an activation swap is studied on.
///
/// ```no_run
/// use std::sync::atomic::AtomicBool;
///
/// use candle_core::Device;
/// use candle_mish::Activation;
/// use candle_mish::data::{DataOptions, DatasetKind, Loader, LoaderConfig, open};
/// use candle_mish::swap::{SwapData, SwapOptions, study};
/// use candle_mish::checkpoint;
/// use candle_mish_models::{ModelSpec, swap::Subject};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weights = checkpoint::read("runs/relu/best.safetensors".as_ref())?.tensors;
/// let spec = ModelSpec { activation: Activation::Relu, ..ModelSpec::new("resnet20") };
/// let subject = Subject::new(spec, weights, 0, &Device::Cpu)?;
///
/// let set = open(&DataOptions { dataset: DatasetKind::Cifar100, ..DataOptions::default() })?;
/// let loader = |images, train| {
///     let config = LoaderConfig::in_order(128, set.mean, set.std);
///     Loader::new(images, if train { config.shuffled() } else { config })
/// };
/// let (train, test) = (loader(set.train.clone(), true), loader(set.test.clone(), false));
/// let data = SwapData { train: &train, calibration: &train, test: &test, normalisation: (set.mean, set.std) };
///
/// let question = SwapOptions::new("resnet20", Activation::Relu, &[Activation::Mish]);
/// let build = |replacement: Option<&_>| subject.variant(replacement);
/// let report = study(&build, &question, &data, &mut |_| {}, &AtomicBool::new(false))?;
/// for row in &report.rows {
///     println!("{} {}: {:.2} %", row.activation, row.stage, 100.0 * row.comparison.top1.value);
/// }
/// std::fs::write("swap.html", report.page())?;
/// # Ok(())
/// # }
/// ```
pub struct Subject {
    entry: &'static Entry,
    spec: ModelSpec,
    tensors: HashMap<String, Tensor>,
    /// The names of all tensors except the activations' parameters.
    plain: HashSet<String>,
    seed: u64,
    device: Device,
}

impl Subject {
    /// The network of `spec` with these weights. `seed` seeds its random layers.
    ///
    /// # Errors
    /// If the network cannot be built. [`Subject::variant`] reports weights that do not fit.
    pub fn new(
        spec: ModelSpec,
        tensors: HashMap<String, Tensor>,
        seed: u64,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let store = ParamStore::zeros(DType::F32, device);
        let plain = ModelSpec {
            activation: Activation::Identity,
            layer_activations: LayerActivations::default(),
            ..spec.clone()
        };
        create(&plain, store.var_builder())?;
        Ok(Self {
            entry: find(&spec.model)?,
            spec,
            tensors,
            plain: names(&store).collect(),
            seed,
            device: device.clone(),
        })
    }

    /// The network with its own activation, or with a replacement.
    ///
    /// The parameters of the new activation start with their initial values. Parameters of the old
    /// one are loaded in layers that keep it and in layers that blend from it.
    ///
    /// # Errors
    /// If the weights do not fit the network.
    pub fn variant(&self, replacement: Option<&Replacement>) -> Result<Variant> {
        let swap = replacement.map(|replacement| Swap {
            to: replacement.to,
            layers: replacement.layers.clone(),
            fitted: replacement.fitted.clone(),
            blend: replacement.blend.clone(),
        });
        let context = BuildContext {
            generator: Generator::named(self.seed, "network"),
            swap: swap.clone(),
            statistics: Statistics::Exponential,
            ..BuildContext::default()
        };
        let store = ParamStore::zeros(DType::F32, &self.device);
        let model = build(&self.spec, &context, &store)?;
        let mut transfer = match &swap {
            Some(swap) if swap.blend.is_none() && self.learns_activations() => {
                let kept = self
                    .tensors
                    .iter()
                    .filter(|(name, _)| !self.leaves(name, swap));
                let kept = kept.map(|(name, tensor)| (name.clone(), tensor.clone()));
                transfer::load(&*model, self.entry, &store, &kept.collect())?
            }
            _ => transfer::load(&*model, self.entry, &store, &self.tensors)?,
        };
        if swap.as_ref().is_some_and(|swap| swap.to.is_learnable()) {
            let missing = &mut transfer.report.missing;
            missing.retain(|name| self.plain.contains(name));
        }
        if !transfer.is_complete() || transfer.fresh_classifier {
            bail!("the weights do not fit {}: {transfer}", self.spec);
        }
        let frozen = store.frozen();
        let without_dropout = ModelSpec {
            drop_rate: 0.0,
            drop_path_rate: 0.0,
            ..self.spec.clone()
        };
        let cumulative = BuildContext {
            statistics: Statistics::Cumulative,
            ..context.clone()
        };
        Ok(Variant {
            head: model.classifier().to_string(),
            metadata: self.swapped(swap.as_ref()).to_metadata(),
            forward: forward(model),
            frozen: build(&self.spec, &context, &frozen)?,
            calibrating: build(&without_dropout, &cumulative, &frozen)?,
            store,
        })
    }

    /// Whether the network has its activation at a path that matches `pattern`.
    ///
    /// # Errors
    /// If the weights do not fit the network.
    pub fn has_activation_at(&self, pattern: &str) -> Result<bool> {
        let form = self.entry.form(self.spec.stem);
        let (_, height, width) = form.map_err(candle_core::Error::wrap)?.input;
        let (height, width) = self
            .spec
            .img_size
            .map_or((height, width), |size| (size, size));
        let image = (1, self.spec.in_chans, height, width);
        let image = Tensor::zeros(image, DType::F32, &self.device)?;
        let variant = self.variant(None)?;
        let (_, records) = summarize(|| variant.frozen.forward_t(&image, false))?;
        let swap = Swap {
            to: self.spec.activation,
            layers: vec![pattern.to_string()],
            fitted: LayerActivations::default(),
            blend: None,
        };
        let own = self.spec.activation.name();
        let mut records = records.iter();
        Ok(records.any(|record| record.kind == own && swap.applies_to(&record.path)))
    }

    /// Whether an activation of the network has learnable parameters.
    fn learns_activations(&self) -> bool {
        let mut others = self.spec.layer_activations.iter();
        self.spec.activation.is_learnable() || others.any(|(_, own)| own.is_learnable())
    }

    /// The network that a swap makes.
    fn swapped(&self, swap: Option<&Swap>) -> ModelSpec {
        let spec = self.spec.clone();
        let Some(swap) = swap else { return spec };
        if swap.layers.is_empty() {
            return ModelSpec {
                activation: swap.to,
                layer_activations: swap.fitted.clone(),
                ..spec
            };
        }
        let replaced = swap.layers.iter().map(|pattern| (pattern.clone(), swap.to));
        let replaced = swap.fitted.or(&replaced.collect());
        ModelSpec {
            layer_activations: replaced.or(&spec.layer_activations),
            ..spec
        }
    }

    /// Whether a tensor belongs to an activation that another one replaces.
    fn leaves(&self, name: &str, swap: &Swap) -> bool {
        let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
        !self.plain.contains(name) && swap.applies_to(layer)
    }
}

fn build(spec: &ModelSpec, context: &BuildContext, store: &ParamStore) -> Result<Box<dyn Model>> {
    create_with(spec, context, store.var_builder()).map_err(candle_core::Error::wrap)
}

fn names(store: &ParamStore) -> impl Iterator<Item = String> {
    store.tensors().into_iter().map(|(name, _)| name)
}

/// The network in training, with its auxiliary loss if it has one.
fn forward(model: Box<dyn Model>) -> Box<Forward> {
    Box::new(move |images, labels| match model.auxiliary() {
        Some(network) => {
            let (logits, own) = network.forward_with_loss(images, labels)?;
            Ok((logits, Some(own)))
        }
        None => Ok((model.forward_t(images, true)?, None)),
    })
}
