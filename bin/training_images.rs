//! The training images of a recipe, for commands that train no network.

use anyhow::bail;
use candle_mish::data::{CheckedSplits, DataOptions, Dataset, Loader, Preprocess};
use candle_mish::train::Recipe;

use crate::args::range::check_batch;
use crate::args::{DataArgs, PreprocessArgs, RecipeArgs, in_flags};
use crate::config::starting_recipe;
use crate::context::Context;
use crate::network::entry;
use crate::{dataset, preprocessing};

/// Flags that choose training images, their augmentation and their batches.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainingImagesArgs {
    /// Network whose recipe and image size to start from [default: the default recipe]
    pub model: Option<String>,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub preprocess: PreprocessArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// Training images and their batches.
pub struct TrainingImages {
    pub dataset: Dataset,
    pub recipe: Recipe,
    pub loader: Loader,
}

impl TrainingImagesArgs {
    /// Opens the training images, as `mish train` with the same flags does.
    ///
    /// # Errors
    /// If a flag is wrong, or the data set cannot be read or has no training images.
    pub fn open(&self, context: &Context) -> anyhow::Result<TrainingImages> {
        let own = match &self.model {
            Some(model) => entry(model)?.recipe,
            None => "",
        };
        let kind = self.data.dataset.as_ref().map(|dataset| dataset.kind);
        let mut recipe = starting_recipe(own, kind, self.recipe.recipe.as_deref())?;
        self.recipe.apply(&mut recipe);
        recipe.validate().map_err(in_flags)?;
        let mut options = DataOptions::default();
        self.data.apply(&mut options);
        self.set_preprocessing(&mut options)?;
        let dataset = dataset::open(&options, CheckedSplits::All, context)?;
        let dataset = preprocessing::with_channels(dataset, options.dataset.channels())?;
        if dataset.train.is_empty() {
            bail!("{} has no training images", dataset.source.location);
        }
        check_batch(recipe.batch_size.min(dataset.train.len()), &dataset.train)?;
        let config = recipe.loader_config(dataset.mean, dataset.std, dataset.classes.len());
        let loader = Loader::new(dataset.train.clone(), config);
        Ok(TrainingImages {
            dataset,
            recipe,
            loader,
        })
    }

    fn set_preprocessing(&self, options: &mut DataOptions) -> anyhow::Result<()> {
        if !preprocessing::has_image_files(options) {
            return preprocessing::refuse(&self.preprocess);
        }
        let mut preprocess = match &self.model {
            Some(model) => {
                let stem = preprocessing::default_stem(model, self.preprocess.img_size)?;
                preprocessing::for_training(model, stem, &self.preprocess)?
            }
            None => Preprocess::default(),
        };
        self.preprocess.apply(&mut preprocess)?;
        options.preprocess = Some(preprocess);
        Ok(())
    }
}
