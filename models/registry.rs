//! The table of all networks.

use candle_core::Result;
use candle_mish::pattern::matches;
use candle_mish::suggest::suggest;
use candle_nn::VarBuilder;

use crate::transfer::Renames;
use crate::{
    Model, Options, Stem, capsnet, darknet, densenet, efficientnet, inception, inception_resnet,
    mobilenet, peleenet, plain, resnet, resnet_cifar, resnet9, resnetv2_cifar, shufflenet,
    simplenet, squeezenet, vgg, wide_resnet, xception,
};

/// One row of the zoo.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name to create it by.
    pub name: &'static str,
    /// The family, which is also the name of its training binary without `train-`.
    pub family: &'static str,
    /// The paper that describes it.
    pub paper: &'static str,
    /// For images of 32x32, with 100 classes.
    pub cifar: Form,
    /// For ImageNet's images, with 1000 classes, if the network has such a form.
    pub imagenet: Option<Form>,
    /// What training it changes of the default recipe, in TOML; mostly nothing.
    pub recipe: &'static str,
    /// How other programmes and versions call its tensors.
    pub(crate) renames: Renames,
    build: Builder,
}

/// The size of a network in one of its forms, with an activation that has no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Trained values.
    pub params: usize,
    /// Multiply-adds of the convolutions and linear layers for one image.
    pub multiply_adds: u64,
    /// Channels, height and width of the images that it is meant for.
    pub input: (usize, usize, usize),
}

/// Builds one variant.
pub(crate) type Build = fn(&Options, VarBuilder) -> Result<Box<dyn Model>>;

/// The depth and width of a network that has any.
pub(crate) type Grid = (usize, usize);

/// Builds the variant of a depth and a width.
pub(crate) type BuildGrid = fn(Grid, &Options, VarBuilder) -> Result<Box<dyn Model>>;

#[derive(Debug, Clone, Copy)]
enum Builder {
    Variant(Build),
    Grid(Grid, BuildGrid),
}

impl Entry {
    /// A network for 32x32 colour images with 100 classes.
    pub(crate) const fn new(
        name: &'static str,
        family: &'static str,
        paper: &'static str,
        size: (usize, u64),
        build: Build,
    ) -> Self {
        Self::row(name, family, paper, size, Builder::Variant(build))
    }

    /// As [`Entry::new`], for a network of a chosen depth and width.
    pub(crate) const fn grid(
        name: &'static str,
        family: &'static str,
        paper: &'static str,
        size: (usize, u64),
        grid: Grid,
        build: BuildGrid,
    ) -> Self {
        Self::row(name, family, paper, size, Builder::Grid(grid, build))
    }

    const fn row(
        name: &'static str,
        family: &'static str,
        paper: &'static str,
        (params, multiply_adds): (usize, u64),
        build: Builder,
    ) -> Self {
        let cifar = Form {
            params,
            multiply_adds,
            input: (3, 32, 32),
        };
        Self {
            name,
            family,
            paper,
            cifar,
            imagenet: None,
            recipe: "",
            renames: &[],
            build,
        }
    }

    /// It also has a form for colour images of `size` x `size` with 1000 classes.
    pub(crate) const fn imagenet(self, size: usize, (params, multiply_adds): (usize, u64)) -> Self {
        let form = Form {
            params,
            multiply_adds,
            input: (3, size, size),
        };
        Self {
            imagenet: Some(form),
            ..self
        }
    }

    /// It is trained with other hyperparameters unless the user says otherwise.
    pub(crate) const fn recipe(self, recipe: &'static str) -> Self {
        Self { recipe, ..self }
    }

    /// Other programmes and versions call its tensors otherwise.
    pub(crate) const fn renames(self, renames: Renames) -> Self {
        Self { renames, ..self }
    }

    /// The form with this stem.
    ///
    /// # Errors
    /// If the network has none.
    pub fn form(&self, stem: Stem) -> std::result::Result<&Form, ModelError> {
        match stem {
            Stem::Cifar => Ok(&self.cifar),
            Stem::ImageNet => self.imagenet.as_ref().ok_or_else(|| {
                ModelError::Option(format!("{} is for 32x32 images only", self.name))
            }),
        }
    }
}

/// Why a network could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No network has this name.
    #[error("unknown model '{name}'{}", hint(suggestion))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The most similar name, if one is similar.
        suggestion: Option<&'static str>,
    },
    /// An option has a value that no network can have.
    #[error("{0}")]
    Option(String),
    /// A layer could not be built, for example because the weights have another shape.
    #[error(transparent)]
    Build(#[from] candle_core::Error),
}

fn hint(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean '{name}'?"),
        None => "; `mish models` lists all".to_string(),
    }
}

/// All networks, family by family.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let families: [&[Entry]; 22] = [
        &resnet::ENTRIES,
        &resnet_cifar::ENTRIES,
        &resnetv2_cifar::ENTRIES,
        &resnet::WIDE_ENTRIES,
        &wide_resnet::ENTRIES,
        &resnet::RESNEXT_ENTRIES,
        &resnet::SENET_ENTRIES,
        &densenet::ENTRIES,
        &vgg::ENTRIES,
        &mobilenet::ENTRIES,
        &shufflenet::ENTRIES,
        &squeezenet::ENTRIES,
        &inception::ENTRIES,
        &inception_resnet::ENTRIES,
        &xception::ENTRIES,
        &efficientnet::ENTRIES,
        &darknet::ENTRIES,
        &peleenet::ENTRIES,
        &simplenet::ENTRIES,
        &capsnet::ENTRIES,
        &resnet9::ENTRIES,
        &plain::ENTRIES,
    ];
    families.into_iter().flatten()
}

/// The entries whose name or family `pattern` describes: the whole of it where the pattern has
/// wildcards, `*` for any characters and `?` for one, and any part of it where it has none.
pub fn list(pattern: &str) -> Vec<&'static Entry> {
    let describes = |text: &str| {
        if pattern.contains(['*', '?']) {
            matches(pattern, text)
        } else {
            text.contains(pattern)
        }
    };
    let matching = entries().filter(|entry| describes(entry.name) || describes(entry.family));
    matching.collect()
}

/// The entry called `name`: one of the table, or a perceptron of any depth and width, such as
/// `mlp_25x300`.
///
/// # Errors
/// [`ModelError::Unknown`], with the most similar name, or [`ModelError::Option`] for a perceptron
/// that is too large.
pub fn find(name: &str) -> std::result::Result<&'static Entry, ModelError> {
    if let Some(entry) = entries().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    plain::named(name)?.ok_or_else(|| ModelError::Unknown {
        name: name.to_string(),
        suggestion: suggest(name, entries().map(|entry| entry.name)),
    })
}

/// Builds the network called `name` from the variables of `vb`, whose paths are the checkpoint
/// keys.
///
/// # Errors
/// If the name or an option is wrong, or if `vb` has tensors of other shapes.
pub fn create(
    name: &str,
    options: &Options,
    vb: VarBuilder,
) -> std::result::Result<Box<dyn Model>, ModelError> {
    let entry = find(name)?;
    if options.num_classes == 0 || options.in_channels == 0 {
        let message = "num_classes and in_channels must be at least 1";
        return Err(ModelError::Option(message.to_string()));
    }
    let rates = [
        ("drop_rate", options.drop_rate),
        ("drop_path_rate", options.drop_path_rate),
    ];
    for (name, rate) in rates {
        if !(0.0..1.0).contains(&rate) {
            let message = format!("{name} is {rate}, must be in [0, 1)");
            return Err(ModelError::Option(message));
        }
    }
    entry.form(options.stem)?;
    Ok(match entry.build {
        Builder::Variant(build) => build(options, vb)?,
        Builder::Grid(grid, build) => build(grid, options, vb)?,
    })
}
