//! What a run trains: its network with weights, and its images.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::bail;
use candle_core::Tensor;
use candle_mish::data::{Dataset, ImageSet, Loader, LoaderConfig};
use candle_mish::train::communicator::Communicator;
use candle_mish::train::{Parts, Recipe, RunState};
use candle_mish_models::tuning::HeadOnly;
use candle_mish_models::{self as models, BuildContext, ModelSpec, Stem};

use super::classes::{self, Classifier};
use super::configure::Setup;
use super::image_sizes;
use super::resume::Resumed;
use crate::args::in_flags;
use crate::args::range::check_batch;
use crate::config::Config;
use crate::failure::usage;
use crate::network::Network;
use crate::{device, preprocessing};

/// The training images that new weights may follow, as in airbench94.
const PREPARATION: usize = 5000;

/// A network with its weights, and its images.
pub(in crate::commands) struct Prepared {
    pub config: Config,
    pub dataset: Dataset,
    pub network: Network,
    /// The network with only its classifier trainable, and the layer of each parameter, if the
    /// recipe needs them.
    parts: Option<(HeadOnly, HashMap<String, usize>)>,
    pub spec: ModelSpec,
    /// The run to continue, and its state.
    pub(super) resumed: Option<(Resumed, RunState)>,
    /// The ranks of the run.
    pub(super) communicator: Arc<dyn Communicator>,
}

impl Prepared {
    /// Builds the network and loads trained weights into it.
    ///
    /// # Errors
    /// If the data set or the weights do not fit the network.
    pub(in crate::commands) fn new(setup: Setup, mut dataset: Dataset) -> anyhow::Result<Self> {
        let Setup {
            mut config,
            pretrained,
            resumed,
            communicator,
        } = setup;
        if dataset.train.is_empty() {
            bail!(
                "{} has no training images: expected train/CLASS/*.jpg and val/CLASS/*.jpg",
                dataset.source.location
            );
        }
        let mut state = None;
        let mut classifier = Classifier::ByName;
        if let Some(run) = &resumed {
            let saved = run.state()?;
            dataset = classes::of_run(dataset, &run.folder, &saved, &config)?;
            state = Some(saved);
        } else if let Some(weights) = &pretrained {
            (dataset, classifier) = classes::of_weights(dataset, weights, &config)?;
        }
        let classes = dataset.classes.len();
        let size = dataset.train.height();
        let stem = Stem::for_image_size(size);
        config.network.img_size = models::find(config.model())?.img_size(size);
        let spec = config.spec(classes, stem);
        if spec.num_classes < classes {
            return Err(usage(format!(
                "--num-classes {}: {} has {classes} classes",
                spec.num_classes, dataset.name
            )));
        }
        config.network.stem = Some(spec.stem);
        config.data.dataset = dataset.name.parse()?;
        config.data.skipped.clone_from(&dataset.source.skipped);
        if let Some(weights) = &pretrained
            && config.mean.is_none()
            && dataset.train.preprocess().is_none()
        {
            preprocessing::warn_of_normalisation(&weights.origin, &dataset);
        }
        dataset.mean = config.mean.unwrap_or(dataset.mean);
        dataset.std = config.std.unwrap_or(dataset.std);
        let dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
        let batch_size = config.recipe.batch_size.min(dataset.train.len());
        check_batch(batch_size, &dataset.train)?;
        let sync = config.recipe.sync_bn && communicator.size() > 1;
        let build_context = BuildContext {
            sync_bn: sync.then(|| communicator.clone() as _),
            ..config.build_context()
        };
        check_amp(&config.recipe)?;
        let network = Network::with_context(&spec, &config.recipe, build_context)?;
        image_sizes::check(&network, &spec, &config.recipe, batch_size)?;
        let parameters = config.recipe.check_parameters(&network.store);
        parameters.map_err(in_flags)?;
        if let Some(weights) = &pretrained {
            classes::load(&network, &spec, weights, &classifier, &dataset)?;
        } else if resumed.is_none() {
            let images = || first_images(&dataset);
            network.model.prepare(&network.store, &images)?;
        }
        let parts = if config.recipe.tells_parts_apart() {
            let layers = models::find(&spec.model)?.layer_groups(&network.store);
            Some((network.head_only(&spec)?, layers))
        } else {
            None
        };
        Ok(Self {
            config,
            dataset,
            network,
            parts,
            spec,
            resumed: resumed.zip(state),
            communicator,
        })
    }

    /// The parts of the network, if the recipe needs them.
    pub(in crate::commands) fn parts(&self) -> Option<Parts<'_>> {
        let parts = self.parts.as_ref();
        parts.map(|(head_only, layers)| Parts {
            head_only,
            head: self.network.model.classifier(),
            layers,
        })
    }

    /// Batches of the training images, shuffled and augmented, or of others as they are.
    pub(in crate::commands) fn loader(&self, images: &ImageSet, train: bool) -> Loader {
        let Dataset { mean, std, .. } = self.dataset;
        let recipe = &self.config.recipe;
        let config = match train {
            true => recipe.loader_config(mean, std, self.spec.num_classes),
            false => LoaderConfig::in_order(recipe.batch_size, mean, std),
        };
        Loader::new(images.clone(), config).on(self.network.store.device())
    }

    /// The name of the run in plots.
    pub(in crate::commands) fn title(&self) -> String {
        let ModelSpec {
            model, activation, ..
        } = &self.spec;
        format!("{model} with {activation} on {}", self.dataset.name)
    }
}

/// The first training images, normalised and without augmentation.
fn first_images(dataset: &Dataset) -> candle_core::Result<Tensor> {
    let images = dataset.train.take(PREPARATION);
    let config = LoaderConfig::in_order(images.len(), dataset.mean, dataset.std);
    let loader = Loader::new(images, config);
    let batches = loader.epoch(0, 0).map(|batch| Ok(batch?.images));
    Tensor::cat(&batches.collect::<candle_core::Result<Vec<_>>>()?, 0)
}

/// Refuses mixed precision on a GPU, and warns where it is slow.
fn check_amp(recipe: &Recipe) -> anyhow::Result<()> {
    let Some(amp) = recipe.amp else {
        return Ok(());
    };
    if !device::current()?.is_cpu() {
        return Err(usage(format!("--amp {amp} needs --device cpu")));
    }
    if !recipe.fp32_precision().is_accelerated() {
        tracing::warn!(
            "this processor has no instructions for products in {amp} (AVX-512 BF16): --amp makes training slower"
        );
    }
    Ok(())
}
