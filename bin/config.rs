//! The complete configuration of a run: `config.toml`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use candle_mish::data::{DataOptions, DatasetKind};
use candle_mish::train::communicator::Single;
use candle_mish::train::run_folder::CONFIG;
use candle_mish::train::{Recipe, RecipeError, RecipeTextError, RunOptions};
use candle_mish_models::{BuildContext, COLOUR_CHANNELS, ModelArgs, ModelSpec, Shortcut, Stem};
use serde::{Deserialize, Serialize};

use crate::failure::usage;
use crate::network::Weights;
use crate::recipes;

/// Everything that determines a run's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network. The data set supplies the numbers of classes and channels and the stem if they are
    /// not set; everything else has a value.
    #[serde(flatten)]
    pub network: ModelArgs,
    /// The origin of the weights to start from. `None` starts from random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<String>,
    /// Mean of each channel in the training of those weights. `None` takes the data set's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of each channel, as `mean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
    /// Gradient checkpointing. The result does not depend on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grad_checkpointing: bool,
    /// The hyperparameters.
    #[serde(default)]
    pub recipe: Recipe,
    /// The images.
    #[serde(default)]
    pub data: DataOptions,
    /// How the run is saved and when it ends early. The result does not depend on it.
    #[serde(default)]
    pub run: RunOptions,
}

/// The defaults for options of a network that no flag or file sets.
fn defaults() -> ModelArgs {
    ModelArgs {
        drop_rate: Some(0.0),
        drop_path_rate: Some(0.0),
        ..ModelArgs::default()
    }
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
        let config: Self = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), error.message()))?;
        for (key, missing) in [
            ("model", config.network.model.is_none()),
            ("activation", config.network.activation.is_none()),
        ] {
            if missing {
                bail!("{}: missing field `{key}`", path.display());
            }
        }
        let colour = ModelArgs {
            in_chans: Some(COLOUR_CHANNELS),
            ..defaults()
        };
        Ok(Self {
            network: config.network.or(&colour),
            ..config
        })
    }

    /// The configuration of a new run of `network` with this recipe, on the default data set.
    pub fn new(network: &ModelArgs, recipe: Recipe) -> Self {
        Self {
            network: network.or(&defaults()),
            pretrained: None,
            mean: None,
            std: None,
            grad_checkpointing: false,
            recipe,
            data: DataOptions::default(),
            run: RunOptions::default(),
        }
    }

    /// The network's name.
    pub fn model(&self) -> &str {
        self.network.model.as_deref().unwrap_or_default()
    }

    /// Starts from trained weights: takes their form and normalisation, except for `given` values and
    /// the number of classes, which the data set decides.
    ///
    /// # Errors
    /// If the weights belong to another network, or their header holds an invalid value.
    pub fn start_from(&mut self, weights: &Weights, given: &ModelArgs) -> anyhow::Result<()> {
        let asked = ModelArgs {
            model: self.network.model.clone(),
            // Weights without a classifier are as good as others.
            num_classes: given.num_classes.or(Some(1)),
            ..given.clone()
        };
        let spec = weights.spec(&asked)?;
        self.network = ModelArgs {
            model: Some(spec.model),
            activation: Some(spec.activation),
            layer_activations: Some(spec.layer_activations).filter(|layers| !layers.is_empty()),
            stem: Some(spec.stem),
            in_chans: Some(spec.in_chans),
            img_size: spec.img_size,
            gate: spec.gate,
            bn_eps: spec.bn_eps,
            cfg: spec.cfg,
            shortcut: (spec.shortcut != Shortcut::default()).then_some(spec.shortcut),
            ..self.network.clone()
        };
        if let Some((mean, std)) = weights.normalisation()? {
            (self.mean, self.std) = (Some(mean), Some(std));
        }
        self.pretrained = Some(weights.origin.clone());
        Ok(())
    }

    /// The network. `num_classes` and `stem` are defaults for what the configuration does not set.
    pub fn spec(&self, num_classes: usize, stem: Stem) -> ModelSpec {
        let open = ModelSpec {
            num_classes,
            stem,
            ..ModelSpec::new(self.model())
        };
        self.network.over(open)
    }

    /// How to build the network for training in one process.
    pub fn build_context(&self) -> BuildContext {
        BuildContext {
            grad_checkpointing: self.grad_checkpointing,
            sync_bn: self.recipe.sync_bn.then(|| Arc::new(Single) as _),
            fp32_precision: self.recipe.fp32_precision(),
            ..BuildContext::default()
        }
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// If a value has no form in TOML.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// Refuses a difference from `saved`, the configuration that a run started with, except in what the
    /// result does not depend on (the paths of files, gradient checkpointing and the options of saving),
    /// and in the number of epochs.
    ///
    /// # Errors
    /// A usage error that names the first difference.
    pub fn check_same_run(&self, saved: &Self) -> anyhow::Result<()> {
        let same_place = |config: &Self| {
            let mut config = config.clone();
            config.data.data_dir = None;
            config.data.cache_dir = None;
            config.data.offline = false;
            config.recipe.epochs = saved.recipe.epochs;
            config.grad_checkpointing = saved.grad_checkpointing;
            config.run = saved.run;
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

/// The recipe to start from on a data set: [`read_recipe`] without flips if a mirrored image is another
/// one, unless the file has flips.
///
/// # Errors
/// As [`read_recipe`].
pub fn starting_recipe(
    own: &str,
    dataset: Option<DatasetKind>,
    file: Option<&Path>,
) -> anyhow::Result<Recipe> {
    let mut own: toml::Table = toml::from_str(own)?;
    if dataset.is_some_and(|dataset| !dataset.allows_mirroring()) {
        own.insert("hflip".to_string(), toml::Value::Float(0.0));
    }
    read_recipe(&own.to_string(), file)
}

/// The recipe of a network, `own` in TOML, overridden with a recipe file.
///
/// # Errors
/// If the file cannot be read or is not a valid recipe.
pub fn read_recipe(own: &str, file: Option<&Path>) -> anyhow::Result<Recipe> {
    let mut table: toml::Table = toml::from_str(own)?;
    if let Some(path) = file {
        let text = recipes::read(path)?;
        // First alone, so that an error has the line of the file.
        let read = Recipe::parse(&text).and_then(|_| merged(&mut table, &text));
        return match read {
            Err(_) if is_configuration(&text) => bail!(
                "--recipe {}: this is the configuration of a run; a recipe has the entries of its \
                 table [recipe] only",
                path.display()
            ),
            Err(error) => bail!("--recipe {}: {error}", path.display()),
            Ok(recipe) => Ok(recipe),
        };
    }
    Ok(Recipe::from_toml(&table.to_string())?)
}

/// Whether `text` is what `--dry-run` prints.
fn is_configuration(text: &str) -> bool {
    let table: Result<toml::Table, _> = toml::from_str(text);
    table.is_ok_and(|table| table.get("recipe").is_some_and(toml::Value::is_table))
}

/// The recipe `own`, overridden with the valid recipe `text`.
fn merged(own: &mut toml::Table, text: &str) -> Result<Recipe, RecipeTextError> {
    let syntax = |error: toml::de::Error| RecipeTextError {
        line: None,
        error: RecipeError::Syntax(error.message().to_string()),
    };
    let given: toml::Table = toml::from_str(text).map_err(syntax)?;
    let keys: Vec<String> = given.keys().cloned().collect();
    own.extend(given);
    let recipe: Recipe = own.clone().try_into().map_err(syntax)?;
    let checked = recipe.validate().and_then(|()| {
        keys.iter()
            .try_for_each(|key| recipe.sched.check_reads(key))
    });
    checked.map_err(|error| error.located(text))?;
    Ok(recipe)
}
