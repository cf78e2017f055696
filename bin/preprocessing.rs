//! How image files become a network's input, and how images are normalised.

use candle_mish::data::{DataOptions, Dataset, DatasetKind, Preprocess};
use candle_mish_models::weights::{self, Note};
use candle_mish_models::{COLOUR_CHANNELS, ModelArgs, ModelSpec, Stem};

use crate::args::PreprocessArgs;
use crate::failure::usage;
use crate::network::{Weights, choice, entry, explained, warn};

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

/// The preprocessing for the network `spec` with trained weights: the flags, or else `own`, which the
/// run of the weights used, or else what the weights record, or else defaults, which it warns about.
///
/// # Errors
/// If the header of the weights holds an invalid value, or a flag is wrong.
pub fn for_weights(
    weights: &Weights,
    spec: &ModelSpec,
    own: Option<Preprocess>,
    flags: &PreprocessArgs,
) -> anyhow::Result<Preprocess> {
    let given = flags.img_size.is_some() && flags.mean.is_some() && flags.std.is_some();
    let assumed = own.is_none() && !given && !weights.records_preprocess()?;
    let mut preprocess = match own {
        Some(own) => own,
        None => weights.preprocess(spec).map_err(explained)?,
    };
    flags.apply(&mut preprocess)?;
    if assumed {
        warn(&Note::assumed_preprocess(&weights.origin, &preprocess));
    }
    Ok(preprocess)
}

/// The preprocessing to train weights further as `model` with this stem: as [`for_weights`].
///
/// # Errors
/// As [`for_weights`].
pub fn for_fine_tuning(
    weights: &Weights,
    model: &str,
    stem: Stem,
    flags: &PreprocessArgs,
) -> anyhow::Result<Preprocess> {
    let given = ModelArgs {
        stem: Some(stem),
        ..ModelArgs::named(model)
    };
    // The training reports what it assumes about the network.
    let (spec, _) = weights::Weights::spec(weights, &given).map_err(explained)?;
    for_weights(weights, &spec, None, flags)
}

/// Sets the preprocessing of trained weights in `options` if the data set consists of image files,
/// and refuses its flags otherwise.
///
/// # Errors
/// As [`for_weights`] and [`refuse`].
pub fn resolve(
    options: &mut DataOptions,
    weights: &Weights,
    spec: &ModelSpec,
    flags: &PreprocessArgs,
) -> anyhow::Result<()> {
    if !has_image_files(options) {
        return refuse(flags);
    }
    let own = options.preprocess.take();
    options.preprocess = Some(for_weights(weights, spec, own, flags)?);
    Ok(())
}

/// Refuses flags that have no effect on images of a fixed size.
///
/// # Errors
/// A usage error that names the flag.
pub fn refuse(flags: &PreprocessArgs) -> anyhow::Result<()> {
    let normalises = |flag: &&str| ["--mean", "--std"].contains(flag);
    match given(flags).find(|flag| !normalises(flag)) {
        Some(flag) => Err(usage(format!(
            "{flag} needs --dataset folder:PATH; other data sets have images of a fixed size"
        ))),
        None => Ok(()),
    }
}

/// The flags that are given.
pub fn given(flags: &PreprocessArgs) -> impl Iterator<Item = &'static str> {
    let all = [
        ("--img-size", flags.img_size.is_some()),
        ("--crop-pct", flags.crop_pct.is_some()),
        ("--interpolation", flags.interpolation.is_some()),
        ("--mean", flags.mean.is_some()),
        ("--std", flags.std.is_some()),
    ];
    all.into_iter()
        .filter(|(_, given)| *given)
        .map(|(flag, _)| flag)
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
