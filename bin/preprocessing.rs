//! How image files become a network's input, and how images are normalised.

use candle_mish::data::{DataOptions, Dataset, DatasetKind, Preprocess};
use candle_mish_models::weights::Note;
use candle_mish_models::{COLOUR_CHANNELS, Stem};

use crate::args::PreprocessArgs;
use crate::failure::usage;
use crate::network::{Weights, choice, entry, warn};

/// Whether the data set consists of image files, which have any size.
pub fn has_image_files(options: &DataOptions) -> bool {
    options.dataset == DatasetKind::Folder
}

/// Refuses numbers of channels that images of data sets and files do not have.
///
/// # Errors
/// A usage error.
pub fn check_channels(in_chans: usize) -> anyhow::Result<()> {
    match in_chans {
        1 | COLOUR_CHANNELS => Ok(()),
        _ => Err(usage(format!(
            "--in-chans {in_chans}: images have {COLOUR_CHANNELS} channels, or 1 in grayscale; `mish \
             predict` takes other images from a safetensors file"
        ))),
    }
}

/// Converts the images to `in_chans` channels.
///
/// # Errors
/// As [`check_channels`].
pub fn with_channels(dataset: Dataset, in_chans: usize) -> anyhow::Result<Dataset> {
    check_channels(in_chans)?;
    Ok(match in_chans {
        1 => dataset.grey(),
        _ => dataset.colour(),
    })
}

/// The stem for image files, from the network's name and, if known, the image size.
///
/// # Errors
/// If there is no such network.
pub fn default_stem(model: &str, size: Option<usize>) -> anyhow::Result<Stem> {
    Ok(entry(model)?.default_stem(size))
}

/// The preprocessing for a new network: the flags, or else timm's defaults at the network's own
/// size.
///
/// # Errors
/// If there is no such network, or a flag does not suit it.
pub fn for_training(model: &str, stem: Stem, flags: &PreprocessArgs) -> anyhow::Result<Preprocess> {
    let entry = entry(model)?;
    let mut preprocess = Preprocess {
        input_size: entry.form(stem).map_err(choice)?.input.1,
        ..Preprocess::default()
    };
    flags.apply(&mut preprocess)?;
    Ok(preprocess)
}

/// The preprocessing for trained weights: the flags, or else `own`, which the run of the weights
/// used, or else what the weights record. Warns if it assumes anything.
///
/// # Errors
/// If the weights do not record enough, or a flag is wrong.
pub fn for_weights(
    weights: &Weights,
    model: &str,
    stem: Stem,
    own: Option<Preprocess>,
    flags: &PreprocessArgs,
) -> anyhow::Result<Preprocess> {
    let complete = flags.img_size.is_some() && flags.mean.is_some() && flags.std.is_some();
    let silent = own.is_none() && weights.normalisation()?.is_none();
    let known = match own {
        Some(own) => Some(own),
        None => weights.preprocess(model, stem)?,
    };
    let mut preprocess = match known {
        Some(preprocess) => preprocess,
        None if complete => Preprocess {
            crop_pct: 1.0,
            ..Preprocess::default()
        },
        None => {
            let origin = &weights.origin;
            return Err(usage(format!(
                "{origin} does not record its image size and normalisation: give --img-size, --mean \
                 and --std"
            )));
        }
    };
    flags.apply(&mut preprocess)?;
    if silent && !complete {
        warn(&Note::assumed_preprocess(&weights.origin, &preprocess));
    }
    Ok(preprocess)
}

/// Sets the preprocessing of trained weights in `options` if the data set consists of image files,
/// and refuses its flags otherwise.
///
/// # Errors
/// As [`for_weights`] and [`refuse`].
pub fn resolve(
    options: &mut DataOptions,
    weights: &Weights,
    model: &str,
    stem: Option<Stem>,
    flags: &PreprocessArgs,
) -> anyhow::Result<()> {
    if !has_image_files(options) {
        return refuse(flags);
    }
    let stem = match stem.or(weights.stem()?) {
        Some(stem) => stem,
        None => default_stem(model, flags.img_size.or(weights.image_size()?))?,
    };
    let own = options.preprocess.take();
    options.preprocess = Some(for_weights(weights, model, stem, own, flags)?);
    Ok(())
}

/// Refuses flags that have no effect on images of a fixed size.
///
/// # Errors
/// A usage error that names the flag.
pub fn refuse(flags: &PreprocessArgs) -> anyhow::Result<()> {
    let given = [
        ("--img-size", flags.img_size.is_some()),
        ("--crop-pct", flags.crop_pct.is_some()),
        ("--interpolation", flags.interpolation.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(usage(format!(
            "{flag} needs --dataset folder:PATH; other data sets have images of a fixed size"
        ))),
        None => Ok(()),
    }
}

/// The mean and standard deviation that normalise the images of `dataset` for trained weights.
///
/// # Errors
/// If the header of the weights holds invalid values.
pub fn normalisation(
    dataset: &Dataset,
    weights: &Weights,
    flags: &PreprocessArgs,
) -> anyhow::Result<([f32; 3], [f32; 3])> {
    let own = match dataset.test.preprocess() {
        Some(preprocess) => (preprocess.mean, preprocess.std),
        None => match weights.normalisation()? {
            Some(own) => own,
            None => {
                if flags.mean.is_none() || flags.std.is_none() {
                    warn_of_normalisation(&weights.origin, dataset);
                }
                (dataset.mean, dataset.std)
            }
        },
    };
    let mut preprocess = Preprocess {
        mean: own.0,
        std: own.1,
        ..Preprocess::default()
    };
    let only = PreprocessArgs {
        mean: flags.mean.clone(),
        std: flags.std.clone(),
        ..PreprocessArgs::default()
    };
    only.apply(&mut preprocess)?;
    Ok((preprocess.mean, preprocess.std))
}

/// Warns that weights do not record their normalisation, and that the data set's is used.
pub fn warn_of_normalisation(origin: &str, dataset: &Dataset) {
    let Dataset {
        name, mean, std, ..
    } = dataset;
    tracing::warn!(
        "{origin} does not record its normalisation: assuming mean {mean:?} and std {std:?} of \
         {name}; `mish eval` takes others with --mean and --std"
    );
}

/// Warns if the class folders of a data set differ from the network's classes. They are then
/// matched by order.
///
/// # Errors
/// If the header of the weights holds invalid values.
pub fn compare_classes(dataset: &Dataset, weights: &Weights) -> anyhow::Result<()> {
    if dataset.test.preprocess().is_none() {
        return Ok(());
    }
    let own = weights.classes()?;
    let count = own.as_ref().map(Vec::len).or(weights.num_classes()?);
    match (own, count) {
        (Some(own), _) if own == dataset.classes => {}
        (Some(own), _) if own.len() == dataset.classes.len() => {
            let pairs = own.iter().zip(&dataset.classes);
            for (own, folder) in pairs.filter(|(own, folder)| own != folder).take(1) {
                tracing::warn!(
                    "class names differ: folder '{folder}' counts as the network's class '{own}'"
                );
            }
        }
        (_, Some(count)) if count != dataset.classes.len() => tracing::warn!(
            "the network has {count} classes, the data set {}: the folders count as the first of \
             them, in order",
            dataset.classes.len()
        ),
        _ => {}
    }
    Ok(())
}
