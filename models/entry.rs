//! What the registry knows about a network.

use std::collections::HashMap;

use candle_core::Result;
use candle_mish::nn::ParamStore;

use crate::darknet_cfg::DarknetCfg;
use crate::error::ModelError;
use crate::groups::{self, GroupMatcher};
use crate::layers::Layers;
use crate::model::Model;
use crate::spec::{CIFAR_SIZE, COLOUR_CHANNELS, ModelSpec, Stem};

/// A row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name to create the network by.
    pub name: &'static str,
    /// The family, such as `resnet`.
    pub family: &'static str,
    /// The paper, as an arXiv number if it has one.
    pub paper: &'static str,
    /// Its form for 32x32 images, with 100 classes.
    pub cifar: Form,
    /// Its form for ImageNet, with 1000 classes, if it has one.
    pub imagenet: Option<Form>,
    /// The hyperparameters, in TOML, that replace the default recipe's. Usually empty.
    pub recipe: &'static str,
    /// The weights of two or four dimensions that belong to neither a convolution nor a linear layer.
    /// An initialiser for the whole network leaves them alone.
    pub own_initialisation: &'static [&'static str],
    /// The layers whose activation timm's `act_layer` leaves, and that activation, as in
    /// [`ModelSpec::layer_activations`](crate::ModelSpec::layer_activations). Usually empty.
    pub(crate) without_act_layer: &'static str,
    /// Whether [`ModelSpec::shortcut`](crate::ModelSpec::shortcut) is a choice.
    pub(crate) has_shortcuts: bool,
    /// Whether [`ModelSpec::img_size`](crate::ModelSpec::img_size) is a choice.
    pub(crate) has_img_size: bool,
    /// Whether the network is the one of [`ModelSpec::cfg`](crate::ModelSpec::cfg).
    pub(crate) has_cfg: bool,
    pub(crate) groups: GroupMatcher,
    build: Builder,
}

/// The size of a network with one stem and an activation that has no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The number of trainable parameters.
    pub params: usize,
    /// The multiply-adds of the convolutions and linear layers for one image.
    pub multiply_adds: u64,
    /// Channels, height and width of the images.
    pub input: (usize, usize, usize),
}

/// Parameters and multiply-adds.
pub(crate) type Size = (usize, u64);

/// Builds one variant from its root.
pub(crate) type Build = fn(Layers) -> Result<Box<dyn Model>>;

/// Depth and width.
pub(crate) type Grid = (usize, usize);

/// Builds the variant of a depth and a width from its root.
pub(crate) type BuildGrid = fn(Grid, Layers) -> Result<Box<dyn Model>>;

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
        size: Size,
        build: Build,
    ) -> Self {
        Self::row(name, family, paper, size, Builder::Variant(build))
    }

    /// As [`Entry::new`], for a network of any depth and width.
    pub(crate) const fn grid(
        name: &'static str,
        family: &'static str,
        paper: &'static str,
        size: Size,
        (grid, build): (Grid, BuildGrid),
    ) -> Self {
        Self::row(name, family, paper, size, Builder::Grid(grid, build))
    }

    const fn row(
        name: &'static str,
        family: &'static str,
        paper: &'static str,
        (params, multiply_adds): Size,
        build: Builder,
    ) -> Self {
        let cifar = Form {
            params,
            multiply_adds,
            input: (COLOUR_CHANNELS, CIFAR_SIZE, CIFAR_SIZE),
        };
        Self {
            name,
            family,
            paper,
            cifar,
            imagenet: None,
            recipe: "",
            own_initialisation: &[],
            without_act_layer: "",
            has_shortcuts: false,
            has_img_size: false,
            has_cfg: false,
            groups: &[],
            build,
        }
    }

    /// Adds a form for colour images of `size` x `size` with 1000 classes.
    pub(crate) const fn imagenet(self, size: usize, (params, multiply_adds): Size) -> Self {
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

    /// Sets the layers whose activation timm's `act_layer` leaves.
    pub(crate) const fn without_act_layer(self, layers: &'static str) -> Self {
        Self {
            without_act_layer: layers,
            ..self
        }
    }

    /// Sets the hyperparameters that differ from the default recipe.
    pub(crate) const fn recipe(self, recipe: &'static str) -> Self {
        Self { recipe, ..self }
    }

    /// Sets the weights that an initialiser for the whole network leaves alone.
    pub(crate) const fn with_own_initialisation(self, names: &'static [&'static str]) -> Self {
        Self {
            own_initialisation: names,
            ..self
        }
    }

    /// Offers the choice of [`ModelSpec::shortcut`](crate::ModelSpec::shortcut).
    pub(crate) const fn with_shortcuts(self) -> Self {
        Self {
            has_shortcuts: true,
            ..self
        }
    }

    /// Offers the choice of [`ModelSpec::img_size`](crate::ModelSpec::img_size).
    pub(crate) const fn with_img_size(self) -> Self {
        Self {
            has_img_size: true,
            ..self
        }
    }

    /// Builds the network of [`ModelSpec::cfg`](crate::ModelSpec::cfg).
    pub(crate) const fn with_cfg(self) -> Self {
        Self {
            has_cfg: true,
            ..self
        }
    }

    /// Sets the layers for layer-wise learning rates, timm's `group_matcher`.
    pub(crate) const fn groups(self, groups: GroupMatcher) -> Self {
        Self { groups, ..self }
    }

    /// The form with this stem.
    ///
    /// # Errors
    /// If the network has no form with this stem.
    pub fn form(&self, stem: Stem) -> std::result::Result<&Form, ModelError> {
        match stem {
            Stem::Cifar => Ok(&self.cifar),
            Stem::ImageNet => self.imagenet.as_ref().ok_or_else(|| {
                ModelError::Option(format!("{} is for 32x32 images only", self.name))
            }),
        }
    }

    /// The stem for images of `image_size` pixels, or, if the size is unknown, the ImageNet stem
    /// of a network that has one.
    pub fn default_stem(&self, image_size: Option<usize>) -> Stem {
        match image_size {
            Some(size) => Stem::for_image_size(size),
            None if self.imagenet.is_some() => Stem::ImageNet,
            None => Stem::Cifar,
        }
    }

    /// The [`ModelSpec::img_size`](crate::ModelSpec::img_size) for images of `size` pixels. `None` for
    /// the size of [`Entry::cifar`], and for a network that takes any size.
    pub fn img_size(&self, size: usize) -> Option<usize> {
        (self.has_img_size && size != self.cifar.input.1).then_some(size)
    }

    /// The height and width of the images that the network of `spec` is made for.
    ///
    /// # Errors
    /// If the network has no form with this stem.
    pub fn image_size(&self, spec: &ModelSpec) -> std::result::Result<usize, ModelError> {
        let own = self.form(spec.stem)?.input.1;
        let cfg = spec.cfg.as_ref().map(DarknetCfg::image_size);
        Ok(spec.img_size.or(cfg).unwrap_or(own))
    }

    /// The layer of each parameter of `store`, which holds this network, for layer-wise learning
    /// rates: 0 is nearest to the images, and the classifier has the highest number. For networks
    /// that timm has, the layers equal its `group_matcher`'s.
    pub fn layer_groups(&self, store: &ParamStore) -> HashMap<String, usize> {
        let names = store.params().into_iter().map(|(name, _)| name);
        groups::layers(self.groups, names)
    }

    pub(crate) fn build(&self, root: Layers) -> Result<Box<dyn Model>> {
        match self.build {
            Builder::Variant(build) => build(root),
            Builder::Grid(grid, build) => build(grid, root),
        }
    }
}
