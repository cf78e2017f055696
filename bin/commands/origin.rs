//! The run that trained weights belong to.

use std::path::{Path, PathBuf};

use candle_mish::data::{self, DataOptions, Source};
use candle_mish::train::run_folder::{CONFIG, SUMMARY};
use candle_mish::train::{Recipe, Summary};

use crate::args::DataArgs;
use crate::config::{Config, read_recipe};
use crate::network::{Weights, entry};

/// The run that weights belong to, or else the data set that they name.
pub(super) struct Origin {
    /// The data set, overridden with the flags given.
    pub data: DataOptions,
    /// The hyperparameters of the run, or else the network's own.
    pub recipe: Recipe,
    /// Dropout before the classifier during training.
    pub drop: f64,
    /// Stochastic depth during training.
    pub drop_path: f64,
}

impl Origin {
    /// Reads the configuration in the folder of the weights, if there is one.
    ///
    /// # Errors
    /// If the configuration cannot be read, or there is no network `model`.
    pub fn of(weights: &Weights, model: &str, flags: &DataArgs) -> anyhow::Result<Self> {
        let folder = match weights.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut origin = if folder.join(CONFIG).is_file() && weights.dataset().is_some() {
            let config = Config::read(folder)?;
            Self {
                data: DataOptions {
                    earlier_dir: data_folder(folder),
                    ..config.data
                },
                recipe: config.recipe,
                drop: config.network.drop_rate.unwrap_or(0.0),
                drop_path: config.network.drop_path_rate.unwrap_or(0.0),
            }
        } else {
            let mut data = DataOptions::default();
            if let Some(Ok(dataset)) = weights.dataset().map(str::parse) {
                data.dataset = dataset;
                let size = weights.image_size()?;
                data.pad = size.and_then(|size| data.dataset.pad_to(size));
            }
            Self {
                data,
                recipe: read_recipe(entry(model)?.recipe, None)?,
                drop: 0.0,
                drop_path: 0.0,
            }
        };
        // The run's folder and revision belong to the run's data set.
        let own = origin.data.dataset;
        if flags
            .dataset
            .as_ref()
            .is_some_and(|dataset| dataset.kind != own)
        {
            origin.data.data_dir = None;
            origin.data.earlier_dir = None;
            origin.data.revision = None;
        }
        if flags.revision.is_some() {
            // Of the Hub.
            origin.data.earlier_dir = None;
        }
        if flags.dataset.is_some() || flags.data_dir.is_some() {
            // They are relative to the run's folder.
            origin.data.skipped.clear();
        }
        flags.apply(&mut origin.data);
        Ok(origin)
    }
}

/// The folder in which the finished run in `folder` found its data set, if it did not come from the Hub.
fn data_folder(folder: &Path) -> Option<PathBuf> {
    let summary = std::fs::read_to_string(folder.join(SUMMARY)).ok()?;
    let summary: Summary = serde_json::from_str(&summary).ok()?;
    let source: Source = serde_json::from_value(summary.source).ok()?;
    (source.origin == data::Origin::Folder).then(|| PathBuf::from(source.location))
}
