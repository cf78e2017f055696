//! The network and the batch of a benchmark.

use candle_core::{Device, Tensor};
use candle_mish::activation::Activation;
use candle_mish::rng::Generator;
use candle_mish::train::{AmpDtype, Recipe};
use candle_mish_models::{BuildContext, ModelSpec, Stem};
use rand::Rng;

use crate::args::range::check_batch_of;
use crate::network::{Network, choice, entry};

/// Flags that name the network.
#[derive(Debug, Clone, clap::Args)]
pub struct SubjectArgs {
    /// The network
    #[arg(default_value = "resnet20")]
    pub model: String,
    /// Activation
    #[arg(long, value_name = "NAME", default_value = "mish")]
    pub activation: Activation,
    /// Form of the network: cifar for 32x32 images, imagenet for the network's own size
    #[arg(long, value_name = "NAME", default_value_t = Stem::Cifar)]
    pub stem: Stem,
}

/// A network with random weights, and a batch of random images with labels.
pub struct Subject {
    pub spec: ModelSpec,
    pub network: Network,
    pub images: Tensor,
    pub labels: Tensor,
}

impl SubjectArgs {
    /// Builds the network, with mixed precision if there is `amp`, and a batch.
    ///
    /// # Errors
    /// If there is no such network or form of it, or the batch is too large.
    pub fn build(&self, batch_size: usize, amp: Option<AmpDtype>) -> anyhow::Result<Subject> {
        let form = entry(&self.model)?.form(self.stem).map_err(choice)?;
        let (channels, height, width) = form.input;
        let classes = self.stem.num_classes();
        let spec = ModelSpec {
            activation: self.activation,
            num_classes: classes,
            stem: self.stem,
            ..ModelSpec::new(&self.model)
        };
        check_batch_of(batch_size, [channels, height, width])?;
        let recipe = Recipe {
            amp,
            ..Recipe::default()
        };
        let context = BuildContext {
            fp32_precision: recipe.fp32_precision(),
            ..BuildContext::default()
        };
        let network = Network::with_context(&spec, &recipe, context)?;
        let shape = (batch_size, channels, height, width);
        let (images, labels) = batch(shape, classes as u32, network.store.device())?;
        Ok(Subject {
            spec,
            network,
            images,
            labels,
        })
    }
}

/// Random images and labels.
fn batch(
    shape: (usize, usize, usize, usize),
    classes: u32,
    device: &Device,
) -> candle_core::Result<(Tensor, Tensor)> {
    let generator = Generator::new(0);
    let mut rng = generator.lock();
    let pixels = shape.0 * shape.1 * shape.2 * shape.3;
    let images: Vec<f32> = (0..pixels).map(|_| rng.random_range(-2.0..2.0)).collect();
    let labels: Vec<u32> = (0..shape.0).map(|_| rng.random_range(0..classes)).collect();
    Ok((
        Tensor::from_vec(images, shape, device)?,
        Tensor::from_vec(labels, shape.0, device)?,
    ))
}
