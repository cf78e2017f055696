//! The classes of a data set as classes of a network.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use candle_mish::data::{DataError, DataOptions, Dataset, UnknownClasses};
use candle_mish_models::ModelSpec;

use crate::network::Weights;
use crate::preprocessing::has_image_files;

/// A data set with the labels of a network.
pub struct Mapped {
    /// The data set, with the names of the network's classes if they are known.
    pub dataset: Dataset,
    /// The labels of the classes that the data set has, if it does not have all of the network's.
    pub subset: Option<Vec<u32>>,
}

/// Gives `dataset`, opened with `options`, the labels of the network `spec`: by name if the weights
/// have class names, as the class map says, or else by position, which it warns about.
///
/// # Errors
/// If a class of the data set is no class of the network, or nothing decides the labels.
pub fn map(
    dataset: Dataset,
    options: &DataOptions,
    weights: &Weights,
    spec: &ModelSpec,
) -> anyhow::Result<Mapped> {
    let names = weights.classes()?;
    let labels = match &names {
        _ if dataset.source.class_map => used_labels(&dataset),
        Some(names) => dataset
            .network_labels(names)
            .into_iter()
            .flatten()
            .collect(),
        None => (0..).take(dataset.classes.len()).collect::<Vec<u32>>(),
    };
    let name = dataset.name.clone();
    let dataset = match &names {
        Some(names) => dataset
            .map_classes(names, unknown(options))
            .map_err(|error| explained(error, &name, weights))?,
        None => {
            check_positions(&dataset, options, weights, spec)?;
            dataset
        }
    };
    let all = names.map_or(spec.num_classes, |names| names.len());
    Ok(Mapped {
        dataset,
        subset: (labels.len() < all).then_some(labels),
    })
}

fn unknown(options: &DataOptions) -> UnknownClasses {
    if options.ignore_unknown_classes {
        UnknownClasses::Ignore
    } else {
        UnknownClasses::Refuse
    }
}

/// Names the data set of the weights, if it has no class in common with the one called `name`.
fn explained(error: DataError, name: &str, weights: &Weights) -> anyhow::Error {
    let is_disjoint = match &error {
        DataError::UnknownClasses {
            unknown,
            total,
            in_folders,
            ..
        } => unknown == total && !in_folders,
        _ => false,
    };
    match weights.dataset() {
        Some(own) if is_disjoint => {
            anyhow!("the network was trained on {own}; {name} shares none of its classes")
        }
        _ => error.into(),
    }
}

/// The labels that images have.
fn used_labels(dataset: &Dataset) -> Vec<u32> {
    let validation = dataset.validation.as_ref();
    let sets = [Some(&dataset.train), validation, Some(&dataset.test)];
    let labels = sets.into_iter().flatten().flat_map(|set| set.labels());
    labels
        .copied()
        .collect::<BTreeSet<u32>>()
        .into_iter()
        .collect()
}

/// Refuses a data set with other labels than a network without class names, and warns if only
/// the order of folders decides them.
fn check_positions(
    dataset: &Dataset,
    options: &DataOptions,
    weights: &Weights,
    spec: &ModelSpec,
) -> anyhow::Result<()> {
    let (origin, name) = (&weights.origin, &dataset.name);
    let (own, classes) = (spec.num_classes, dataset.classes.len());
    if dataset.source.class_map {
        if classes > own {
            bail!("{origin} has {own} classes, the class map has {classes}");
        }
        return Ok(());
    }
    if classes != own {
        let hint = if has_image_files(options) {
            "; give the label of each folder with --class-map"
        } else {
            ""
        };
        bail!("{origin} has {own} classes without names, {name} has {classes}{hint}");
    }
    // Published data sets have one order.
    if has_image_files(options)
        && let [first, .., last] = dataset.classes.as_slice()
    {
        tracing::warn!(
            "{origin} does not record the names of its classes: the folders of {name} are its classes \
             in their order, from {first} to {last}; change it with --class-map"
        );
    }
    Ok(())
}
