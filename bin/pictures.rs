//! How a command brings pictures of any size to a network's, and which normalisation it takes.

use candle_mish::data::{DataOptions, Dataset, DatasetKind, Preprocess};
use candle_mish_models::{self as models, Stem};

use crate::args::PreprocessArgs;
use crate::failure::usage;
use crate::network::{COLOURS, Weights, stem_for};

/// Whether the images of `options` are pictures of any size.
pub fn are_pictures(options: &DataOptions) -> bool {
    options.dataset == DatasetKind::Folder
}

/// Refuses channels that pictures do not have.
pub fn check_channels(in_chans: usize) -> anyhow::Result<()> {
    match in_chans {
        1 | COLOURS => Ok(()),
        _ => Err(usage(format!(
            "{in_chans} image channels: pictures have {COLOURS}, or 1 in grey (--in-chans); `mish \
             predict` takes other images from a safetensors file"
        ))),
    }
}

/// The images as a network of so many channels takes them.
pub fn with_channels(dataset: Dataset, in_chans: usize) -> anyhow::Result<Dataset> {
    check_channels(in_chans)?;
    Ok(match in_chans {
        1 => dataset.grey(),
        _ => dataset,
    })
}

/// The stem of a network for pictures where only its name and perhaps the images' size are known.
pub fn default_stem(model: &str, size: Option<usize>) -> anyhow::Result<Stem> {
    let entry = models::find(model).map_err(usage)?;
    Ok(match size {
        Some(size) => stem_for(size),
        None if entry.imagenet.is_some() => Stem::ImageNet,
        None => Stem::Cifar,
    })
}

/// How pictures are prepared for a new network.
pub fn for_training(model: &str, stem: Stem, flags: &PreprocessArgs) -> anyhow::Result<Preprocess> {
    let entry = models::find(model).map_err(usage)?;
    let mut preprocess = Preprocess {
        input_size: entry.form(stem).map_err(usage)?.input.1,
        ..Preprocess::default()
    };
    flags.apply(&mut preprocess)?;
    Ok(preprocess)
}

/// How pictures are prepared for trained weights: as the flags say, or else `own`, that of the run
/// that they are of, or else the weights.
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
            let path = weights.path.display();
            return Err(usage(format!(
                "{path} does not say its image size and normalisation, as weights of `mish train` \
                 do: give --img-size, --mean and --std"
            )));
        }
    };
    flags.apply(&mut preprocess)?;
    if silent && !complete {
        let Preprocess {
            input_size,
            crop_pct,
            interpolation,
            mean,
            std,
        } = &preprocess;
        tracing::warn!(
            "{} does not say how its pictures are prepared: taken for {input_size} pixels, crop \
             {crop_pct}, {interpolation}, mean {mean:?}, std {std:?}; --img-size, --crop-pct, \
             --interpolation, --mean and --std say otherwise",
            weights.path.display()
        );
    }
    Ok(preprocess)
}

/// Puts the preprocessing of trained weights into `options` where they name pictures, and refuses
/// its flags where they do not.
pub fn resolve(
    options: &mut DataOptions,
    weights: &Weights,
    model: &str,
    stem: Option<Stem>,
    flags: &PreprocessArgs,
) -> anyhow::Result<()> {
    if !are_pictures(options) {
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

/// Refuses flags that images of one size have no use for.
pub fn refuse(flags: &PreprocessArgs) -> anyhow::Result<()> {
    let given = [
        ("--img-size", flags.img_size.is_some()),
        ("--crop-pct", flags.crop_pct.is_some()),
        ("--interpolation", flags.interpolation.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(usage(format!(
            "{flag} is for --dataset folder:PATH; the images of other data sets have one size"
        ))),
        None => Ok(()),
    }
}

/// The mean and standard deviation that the images of `dataset` are normalised with for trained
/// weights.
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
                    suppose_normalisation(&weights.path.display(), dataset);
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

/// Warns that weights which do not say their normalisation are taken to have the data's.
pub fn suppose_normalisation(origin: &dyn std::fmt::Display, dataset: &Dataset) {
    let Dataset {
        name, mean, std, ..
    } = dataset;
    tracing::warn!(
        "{origin} does not say its normalisation: taken for that of {name}, mean {mean:?}, std \
         {std:?} (--mean and --std of `mish eval`)"
    );
}

/// Warns where the classes of a folder cannot be those of the network, which only their order says.
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
            for (own, other) in pairs.filter(|(own, other)| own != other).take(1) {
                tracing::warn!("the folder {other} is taken for the network's class {own}");
            }
        }
        (_, Some(count)) if count != dataset.classes.len() => tracing::warn!(
            "the network has {count} classes: the {} folders are taken for the first of them",
            dataset.classes.len()
        ),
        _ => {}
    }
    Ok(())
}
