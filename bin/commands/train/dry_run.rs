//! `mish train --dry-run`: the configuration of a run, and what can be checked without its data.

use anyhow::bail;
use candle_mish::data::{DataOptions, DatasetKind};
use candle_mish_models::{ModelSpec, Stem};

use super::image_sizes;
use crate::config::Config;
use crate::context::Context;
use crate::network::{Network, entry};
use crate::output;

/// The height and width of the published and the synthetic colour images.
const COLOUR_SIZE: usize = 32;
/// The height and width of MNIST's images.
const GREY_SIZE: usize = 28;

/// Prints the configuration of a run.
///
/// # Errors
/// If the run could not start.
pub(super) fn print(config: &Config, context: &Context) -> anyhow::Result<()> {
    check_data(&config.data)?;
    let size = image_size(&config.data);
    let spec = config.spec(1, Stem::Cifar);
    let spec = ModelSpec {
        img_size: entry(config.model())?.img_size(size).or(spec.img_size),
        ..spec
    };
    let network = Network::with_context(&spec, &config.recipe, config.build_context())?;
    image_sizes::check(&network, &spec, &config.recipe, 1)?;
    if context.json {
        output::json(config)
    } else {
        output::text(&config.to_toml()?)
    }
}

/// Refuses options that do not fit the data set, and a folder that does not exist.
///
/// # Errors
/// Names the option.
pub(super) fn check_data(data: &DataOptions) -> anyhow::Result<()> {
    data.check()?;
    match &data.data_dir {
        Some(folder) if !folder.exists() => bail!(
            "the folder of the data set does not exist: {}",
            folder.display()
        ),
        _ => Ok(()),
    }
}

/// The size of the images that the run will have.
fn image_size(data: &DataOptions) -> usize {
    match (data.dataset, &data.preprocess) {
        (DatasetKind::Folder, Some(preprocess)) => preprocess.input_size,
        (DatasetKind::Mnist | DatasetKind::FashionMnist, _) => {
            let border = data.pad.or(data.dataset.default_pad()).unwrap_or(0);
            GREY_SIZE + 2 * border
        }
        _ => COLOUR_SIZE,
    }
}
