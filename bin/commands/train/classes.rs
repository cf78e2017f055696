//! The labels of the classes: from the weights that a run starts from, or from the run that it
//! continues. Classes are matched by name.

use std::collections::HashMap;

use anyhow::bail;
use candle_core::Tensor;
use candle_mish::checkpoint;
use candle_mish::data::{DataError, Dataset, UnknownClasses};
use candle_mish::train::run_folder::{BEST, LAST};
use candle_mish::train::{RunFolder, RunState};
use candle_mish_models::ModelSpec;

use crate::config::Config;
use crate::network::{Network, Weights};

/// What to do with the classifier of trained weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classifier {
    /// Its rows are the classes of the data set by name.
    ByName,
    /// The weights record no classes: its rows are the data set's classes, if there are as many.
    ByPosition,
    /// The classes are others: it is not loaded.
    Fresh {
        /// Why.
        reason: String,
    },
}

/// Gives the classes of `dataset` their labels in `weights`, if they are the same classes. A subset
/// of them keeps labels of its own, unless the options ask for all outputs of the weights or for
/// leaving out other classes.
///
/// # Errors
/// If the names in the weights are not valid.
pub(super) fn of_weights(
    dataset: Dataset,
    weights: &Weights,
    config: &Config,
) -> anyhow::Result<(Dataset, Classifier)> {
    let Some(classes) = weights.classes()? else {
        let same = weights.dataset() == Some(&dataset.name);
        let classifier = if same {
            Classifier::ByName
        } else {
            Classifier::ByPosition
        };
        return Ok((dataset, classifier));
    };
    let all = config.network.num_classes == Some(classes.len());
    let unknown = if config.data.ignore_unknown_classes {
        UnknownClasses::Ignore
    } else {
        UnknownClasses::Refuse
    };
    let subset_wanted = all || unknown == UnknownClasses::Ignore;
    if dataset.classes.len() != classes.len() && !subset_wanted {
        // The classifier has another size.
        return Ok((dataset, Classifier::ByName));
    }
    match dataset.clone().map_classes(&classes, unknown) {
        Ok(mapped) => Ok((mapped, Classifier::ByName)),
        Err(error) => {
            let reason = match error {
                DataError::UnknownClasses {
                    dataset,
                    unknown,
                    total,
                    names,
                    ..
                } => format!(
                    "{unknown} of {total} classes of {dataset} are no class of the weights: {names}"
                ),
                error => error.to_string(),
            };
            Ok((dataset, Classifier::Fresh { reason }))
        }
    }
}

/// Loads trained weights into a new network. Their classifier only if its rows belong to the classes
/// of `dataset`.
///
/// # Errors
/// If a required tensor does not fit.
pub(super) fn load(
    network: &Network,
    spec: &ModelSpec,
    weights: &Weights,
    classifier: &Classifier,
    dataset: &Dataset,
) -> anyhow::Result<()> {
    let path = network.model.classifier();
    let initial = below(network, path)?;
    let transfer = network.start_from(spec, weights)?;
    if transfer.fresh_classifier {
        return Ok(());
    }
    let origin = &weights.origin;
    match classifier {
        Classifier::ByName => {}
        Classifier::ByPosition => tracing::warn!(
            "{origin} does not record its classes: its {} outputs stay in the order of the classes \
             of {}; --class-map gives another order",
            spec.num_classes,
            dataset.name
        ),
        Classifier::Fresh { reason } => {
            network.store.load_tensors(&initial)?;
            tracing::warn!("{origin}: initialised a new classifier {path}: {reason}");
        }
    }
    Ok(())
}

/// Copies of the parameters of a layer.
fn below(network: &Network, path: &str) -> candle_core::Result<HashMap<String, Tensor>> {
    let tensors = network.store.tensors().into_iter();
    let own = tensors.filter(|(name, _)| {
        let rest = name.strip_prefix(path);
        rest.is_some_and(|rest| rest.starts_with('.'))
    });
    // A full copy: loading writes into the memory of the variables.
    own.map(|(name, tensor)| Ok((name, tensor.force_contiguous()?)))
        .collect()
}

/// Gives the classes of `dataset` the labels that they had in the run so far.
///
/// # Errors
/// If a class was added, removed or renamed: the message lists them.
pub(super) fn of_run(
    dataset: Dataset,
    folder: &RunFolder,
    state: &RunState,
    config: &Config,
) -> anyhow::Result<Dataset> {
    let Some(classes) = recorded(folder, state)? else {
        return Ok(dataset);
    };
    // Runs with more outputs than classes may have started with a subset.
    let subset = config.network.num_classes.is_some() || config.data.ignore_unknown_classes;
    let unknown = if config.data.ignore_unknown_classes {
        UnknownClasses::Ignore
    } else {
        UnknownClasses::Refuse
    };
    if dataset.classes.len() == classes.len() || subset {
        match dataset.clone().map_classes(&classes, unknown) {
            Err(DataError::UnknownClasses { .. }) => {}
            mapped => return Ok(mapped?),
        }
    }
    let (added, removed) = (
        missing(&dataset.classes, &classes),
        missing(&classes, &dataset.classes),
    );
    let lists = [("new", added), ("missing", removed)];
    let lists = lists.iter().filter(|(_, names)| !names.is_empty());
    let lists: Vec<String> = lists
        .map(|(what, names)| format!("{what}: {names}"))
        .collect();
    bail!(
        "--resume: {} no longer has the classes that the run started with; {}",
        dataset.source.location,
        lists.join("; ")
    )
}

/// The class names that the run recorded.
fn recorded(folder: &RunFolder, state: &RunState) -> anyhow::Result<Option<Vec<String>>> {
    if let Some(classes) = state.metadata().get("classes") {
        return Ok(Some(serde_json::from_str(classes)?));
    }
    // Version 0.1 recorded them only in its checkpoints.
    for file in [LAST, BEST] {
        let path = folder.file(file);
        if path.is_file()
            && let Some(classes) = checkpoint::read(&path)?.metadata.get("classes")
        {
            return Ok(Some(serde_json::from_str(classes)?));
        }
    }
    Ok(None)
}

/// The first of `names` that `others` lacks.
fn missing(names: &[String], others: &[String]) -> String {
    const SHOWN: usize = 8;
    let lacking: Vec<&str> = names
        .iter()
        .filter(|name| !others.contains(name))
        .map(String::as_str)
        .collect();
    let more = lacking.len().saturating_sub(SHOWN);
    let shown = lacking[..lacking.len() - more].join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}
