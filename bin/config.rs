//! The complete configuration of a run: `config.toml`.

use std::path::Path;

use anyhow::{Context, bail};
use candle_mish::activation::Activation;
use candle_mish::data::DataOptions;
use candle_mish::train::Recipe;
use candle_mish::train::run_folder::CONFIG;
use candle_mish_models::Stem;
use serde::{Deserialize, Serialize};

use crate::failure::usage;
use crate::network::{Architecture, COLOURS, Weights};

/// Everything that determines a run's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network's name.
    pub model: String,
    /// Its activation.
    pub activation: Activation,
    /// The number of classes. `None` takes the data set's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
    /// The first layers. `None` chooses them by the size of the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// The channels of the images.
    #[serde(default = "colours")]
    pub in_chans: usize,
    /// The activation of gates. `None` takes the network's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Activation>,
    /// Dropout before the classifier.
    #[serde(default)]
    pub drop: f64,
    /// Stochastic depth.
    #[serde(default)]
    pub drop_path: f64,
    /// The origin of the weights to start from. `None` starts from random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<String>,
    /// Mean of each channel in the training of those weights. `None` takes the data set's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of each channel, as `mean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
    /// The hyperparameters.
    #[serde(default)]
    pub recipe: Recipe,
    /// The images.
    #[serde(default)]
    pub data: DataOptions,
}

fn colours() -> usize {
    COLOURS
}

impl Config {
    /// Reads the configuration of the run in `folder`.
    ///
    /// # Errors
    /// If the file cannot be read or holds an unknown key or value.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(CONFIG);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), error.message()))
    }

    /// Starts from trained weights: takes their form and normalisation, and their activation unless
    /// another one is `given`.
    ///
    /// # Errors
    /// If the weights belong to another network, or their header holds an invalid value.
    pub fn begin_with(
        &mut self,
        weights: &Weights,
        origin: &str,
        given: Option<&Activation>,
    ) -> anyhow::Result<()> {
        // Refuses weights of another network.
        self.model = weights.model(Some(&self.model))?;
        self.activation = weights.activation(given)?;
        self.stem = weights.stem()?;
        self.in_chans = weights.in_chans()?.unwrap_or(self.in_chans);
        self.gate = weights.gate()?;
        if let Some((mean, std)) = weights.normalisation()? {
            (self.mean, self.std) = (Some(mean), Some(std));
        }
        self.pretrained = Some(origin.to_string());
        Ok(())
    }

    /// The network. `num_classes` and `stem` fill what the configuration leaves open.
    pub fn architecture(&self, num_classes: usize, stem: Stem) -> Architecture {
        Architecture {
            model: self.model.clone(),
            activation: self.activation,
            num_classes: self.num_classes.unwrap_or(num_classes),
            stem: self.stem.unwrap_or(stem),
            in_chans: self.in_chans,
            gate: self.gate,
            drop: self.drop,
            drop_path: self.drop_path,
        }
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// If a value has no form in TOML.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// Refuses a difference from `saved`, the configuration that a run started with, except in the
    /// paths of files: the result does not depend on them.
    ///
    /// # Errors
    /// A usage error that names the first difference.
    pub fn check_same_run(&self, saved: &Self) -> anyhow::Result<()> {
        let same_place = |config: &Self| {
            let mut config = config.clone();
            config.data.data_dir = None;
            config.data.cache_dir = None;
            config.data.offline = false;
            toml::Table::try_from(config)
        };
        let (now, then) = (same_place(self)?, same_place(saved)?);
        match first_difference(&then, &now) {
            None => Ok(()),
            Some((name, then, now)) => Err(usage(format!(
                "--resume: the run started with {name} = {then}, it cannot continue with {now}"
            ))),
        }
    }
}

/// The first key whose values differ, with both values.
fn first_difference(then: &toml::Table, now: &toml::Table) -> Option<(String, String, String)> {
    let keys = then.keys().chain(now.keys());
    for key in keys {
        let (then, now) = (then.get(key), now.get(key));
        match (then, now) {
            (Some(toml::Value::Table(then)), Some(toml::Value::Table(now))) => {
                if let Some(found) = first_difference(then, now) {
                    return Some(found);
                }
            }
            _ if then == now => {}
            _ => {
                let text = |value: Option<&toml::Value>| match value {
                    Some(value) => value.to_string(),
                    None => "none".to_string(),
                };
                return Some((key.clone(), text(then), text(now)));
            }
        }
    }
    None
}

/// The recipe of a network, `own` in TOML, overridden with a recipe file.
///
/// # Errors
/// If the file cannot be read or is not a valid recipe.
pub fn read_recipe(own: &str, file: Option<&Path>) -> anyhow::Result<Recipe> {
    let mut table: toml::Table = toml::from_str(own)?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read --recipe {}", path.display()))?;
        if let Err(error) = Recipe::from_toml(&text) {
            bail!("--recipe {}: {error}", path.display());
        }
        table.extend(toml::from_str::<toml::Table>(&text)?);
    }
    Ok(Recipe::from_toml(&table.to_string())?)
}
