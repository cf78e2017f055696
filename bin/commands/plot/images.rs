//! Trained weights with test images, as batches on the device.

use candle_core::Tensor;
use candle_mish::data::{CheckedSplits, Loader, LoaderConfig};
use candle_mish::train::Recipe;
use candle_mish_models::ModelSpec;

use crate::args::range::{MAX_BATCH, MAX_IMAGES, check_batch, count};
use crate::args::{DataArgs, NetworkArgs, PreprocessArgs};
use crate::commands::origin::Origin;
use crate::context::Context;
use crate::network::Network;
use crate::source::WeightsArgs;
use crate::{classes, dataset, preprocessing};

/// Flags that choose trained weights and test images.
#[derive(Debug, clap::Args)]
pub struct TrainedArgs {
    /// The network [default: from the weights]
    model: Option<String>,
    #[command(flatten, next_help_heading = "Weights")]
    weights: WeightsArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Test images to use: the first N
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count(1..=MAX_IMAGES),
          help_heading = "Data")]
    images: usize,
    /// Images per batch
    #[arg(long, short, value_name = "N", default_value_t = 128, help_heading = "Data",
          value_parser = count(1..=MAX_BATCH))]
    batch_size: usize,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// A trained network with test images.
pub(super) struct Trained {
    pub network: Network,
    pub spec: ModelSpec,
    /// The recipe of its run, or else the network's own.
    pub recipe: Recipe,
    /// Images and labels.
    pub batches: Vec<(Tensor, Tensor)>,
    /// Network, activation, images and data set.
    pub title: String,
    pub images: usize,
}

/// The states of a network that plots compare.
pub(super) const STATES: [&str; 2] = ["initial", "trained"];

impl Trained {
    /// The network with the initial weights of its run. Its batch norms, which have no statistics yet,
    /// get the statistics of `batches` of images.
    ///
    /// # Errors
    /// If the network cannot be built or an op fails.
    pub(super) fn initial<'a>(
        &self,
        batches: impl IntoIterator<Item = &'a Tensor>,
    ) -> anyhow::Result<Network> {
        let initial = Network::new(&self.spec, &self.recipe)?;
        let calibrating = initial.calibrating(&self.spec)?;
        for images in batches {
            calibrating.forward_t(images, true)?;
        }
        Ok(initial)
    }
}

impl TrainedArgs {
    /// Reads the weights and the images.
    ///
    /// # Errors
    /// If flags, weights or data are wrong.
    pub(super) fn open(&self, context: &Context) -> anyhow::Result<Trained> {
        let (name, offline) = (self.model.as_deref(), self.data.offline);
        let weights = self.weights.read(name, offline, context)?;
        let spec = weights.spec(&self.network.model_args(name))?;
        let origin = Origin::of(&weights, &spec.model, &self.data)?;
        let mut options = origin.data;
        let limit = options.limit_test.unwrap_or(self.images);
        options.limit_test = Some(limit.min(self.images));
        preprocessing::resolve(&mut options, &weights, &spec, &self.preprocess)?;
        let dataset = dataset::open(&options, CheckedSplits::Test, context)?;
        let dataset = classes::map(dataset, &options, &weights, &spec)?.dataset;
        let dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
        let images = dataset.test.len();
        check_batch(self.batch_size.min(images), &dataset.test)?;
        let network = Network::load(&spec, &weights)?;
        let (mean, std) = preprocessing::normalisation(&dataset, &weights, &self.preprocess)?;
        let config = LoaderConfig::in_order(self.batch_size, mean, std);
        let loader = Loader::new(dataset.test.clone(), config).on(network.store.device());
        let batches = loader.epoch(0, 0);
        let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.labels)));
        let title = format!(
            "{} with {} on {images} images of {}",
            spec.model, spec.activation, dataset.name
        );
        Ok(Trained {
            network,
            recipe: origin.recipe,
            batches: batches.collect::<Result<_, _>>()?,
            title,
            images,
            spec,
        })
    }
}
