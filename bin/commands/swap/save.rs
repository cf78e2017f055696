//! The folder of a swap's checkpoints.

use std::path::Path;

use anyhow::Context as _;
use candle_mish::checkpoint::write_atomically;
use candle_mish::data::Dataset;
use candle_mish::swap::SaveOptions;
use candle_mish::train::Recipe;
use candle_mish::train::run_folder::CONFIG;
use candle_mish_models::{ModelArgs, ModelSpec};

use crate::commands::origin::Origin;
use crate::config::Config;
use crate::failure::usage;
use crate::network::{Weights, describe};

/// Makes the folder, and writes the configuration that gives `mish eval` the images and the batch size
/// of the study, so that it repeats its figures.
///
/// # Errors
/// If the folder holds files already or cannot be written.
pub fn prepare(
    folder: &Path,
    spec: &ModelSpec,
    weights: &Weights,
    dataset: &Dataset,
    origin: &Origin,
    recipe: &Recipe,
) -> anyhow::Result<SaveOptions> {
    let place = || format!("cannot write --save {}", folder.display());
    std::fs::create_dir_all(folder).with_context(place)?;
    if std::fs::read_dir(folder)
        .with_context(place)?
        .next()
        .is_some()
    {
        return Err(usage(format!(
            "--save {}: the folder is not empty",
            folder.display()
        )));
    }
    let network = spec.to_metadata();
    let mut metadata = describe(spec, dataset)?;
    metadata.retain(|key, _| !network.contains_key(key));
    if let Some(classes) = weights.classes()? {
        metadata.insert("classes".to_string(), serde_json::to_string(&classes)?);
    }
    let network = ModelArgs {
        drop_rate: Some(spec.drop_rate),
        drop_path_rate: Some(spec.drop_path_rate),
        ..ModelArgs::from_metadata(&network)?
    };
    let own = Recipe {
        batch_size: recipe.batch_size,
        ..origin.recipe.clone()
    };
    let mut config = Config::new(&network, own);
    config.data.clone_from(&origin.data);
    config.data.dataset = dataset.name.parse()?;
    config.data.skipped.clone_from(&dataset.source.skipped);
    let text = config.to_toml()?;
    write_atomically(&folder.join(CONFIG), |file| file.write_all(text.as_bytes()))
        .with_context(place)?;
    Ok(SaveOptions {
        folder: folder.to_path_buf(),
        metadata,
    })
}
