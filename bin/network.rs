//! Building networks, and what their checkpoints say about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use candle_core::{DType, Device};
use candle_mish::activation::Activation;
use candle_mish::data::Dataset;
use candle_mish::nn::ParamStore;
use candle_mish::rng::Generator;
use candle_mish::train::checkpoint::{self, Checkpoint};
use candle_mish_models::{self as models, Model, Options};

use crate::failure::usage;

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
    pub fn new(
        name: &str,
        activation: &Activation,
        num_classes: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        check_name(name)?;
        let generator = Generator::named(seed, "network");
        let options = Options {
            activation: *activation,
            num_classes,
            generator: generator.clone(),
            ..Options::default()
        };
        let store = ParamStore::new(DType::F32, &Device::Cpu, seed);
        let model = models::create(name, &options, store.var_builder())?;
        let frozen = models::create(name, &options, store.frozen().var_builder())?;
        Ok(Self {
            store,
            model,
            frozen,
            generators: vec![("network".to_string(), generator)],
        })
    }

    /// Builds the network of a checkpoint and loads it.
    pub fn load(
        name: &str,
        activation: &Activation,
        num_classes: usize,
        weights: &Weights,
    ) -> anyhow::Result<Self> {
        let network = Self::new(name, activation, num_classes, 0)?;
        let report = network.store.load(&weights.checkpoint.tensors)?;
        if !report.is_exact() {
            bail!(
                "{} does not fit {name} with {num_classes} classes and {activation}: {report}",
                weights.path.display()
            );
        }
        Ok(network)
    }
}

/// Refuses a name that the registry does not have.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    models::find(name).map(|_| ()).map_err(usage)
}

/// What a run writes into the header of its checkpoints.
pub fn describe(
    name: &str,
    activation: &Activation,
    num_classes: usize,
    dataset: &Dataset,
) -> anyhow::Result<BTreeMap<String, String>> {
    let entries = [
        ("format", "pt".to_string()),
        ("model", name.to_string()),
        ("activation", activation.to_string()),
        ("num_classes", num_classes.to_string()),
        ("classes", serde_json::to_string(&dataset.classes)?),
        ("dataset", dataset.name.clone()),
        ("mean", serde_json::to_string(&dataset.mean)?),
        ("std", serde_json::to_string(&dataset.std)?),
        ("image_size", dataset.train.height().to_string()),
        ("candle_mish", env!("CARGO_PKG_VERSION").to_string()),
    ];
    let owned = |(key, value): (&str, String)| (key.to_string(), value);
    Ok(entries.into_iter().map(owned).collect())
}

/// A checkpoint file with what its header says.
pub struct Weights {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub checkpoint: Checkpoint,
}

impl Weights {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            checkpoint: checkpoint::read(path)?,
        })
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

    /// The activation: the one given, with a warning if it is not the header's, or else the
    /// header's, or Mish.
    pub fn activation(&self, given: Option<&Activation>) -> anyhow::Result<Activation> {
        let own = match self.text("activation") {
            None => None,
            Some(text) => Some(
                text.parse::<Activation>()
                    .map_err(|e| self.bad("activation", e))?,
            ),
        };
        match (given, own) {
            (Some(given), Some(own)) if *given != own => {
                tracing::warn!("the weights were trained with {own}, not {given}");
                Ok(*given)
            }
            (Some(given), _) => Ok(*given),
            (None, Some(own)) => Ok(own),
            (None, None) => Ok(Activation::Mish {}),
        }
    }

    /// The number of classes, if the header says so.
    pub fn num_classes(&self) -> anyhow::Result<Option<usize>> {
        self.parsed("num_classes")
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

    /// The data set, if the header names it.
    pub fn dataset(&self) -> Option<&str> {
        self.text("dataset")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.checkpoint.metadata.get(key).map(String::as_str)
    }

    fn parsed(&self, key: &str) -> anyhow::Result<Option<usize>> {
        let parse = |text: &str| text.parse().map_err(|e| self.bad(key, e));
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

/// Loads an image file as the network takes it: RGB, shorter side scaled to `size`, the middle
/// cropped, normalised, `[1, 3, size, size]`.
pub fn read_image(
    path: &Path,
    size: usize,
    (mean, std): ([f32; 3], [f32; 3]),
) -> anyhow::Result<candle_core::Tensor> {
    let image = image::ImageReader::open(path)
        .and_then(|reader| reader.with_guessed_format())
        .with_context(|| path.display().to_string())?;
    let image = image.decode().with_context(|| path.display().to_string())?;
    let side = u32::try_from(size)?;
    let filter = image::imageops::FilterType::Triangle;
    let image = image.resize_to_fill(side, side, filter).to_rgb8();
    let mut values = Vec::with_capacity(3 * size * size);
    for (channel, (mean, std)) in mean.into_iter().zip(std).enumerate() {
        let normalise = |pixel: &image::Rgb<u8>| (f32::from(pixel.0[channel]) / 255.0 - mean) / std;
        values.extend(image.pixels().map(normalise));
    }
    Ok(candle_core::Tensor::from_vec(
        values,
        (1, 3, size, size),
        &Device::Cpu,
    )?)
}
