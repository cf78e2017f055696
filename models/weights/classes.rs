//! The names of the classes of weights.

#[cfg(feature = "data")]
use candle_mish::data::imagenet;
#[cfg(all(feature = "data", feature = "hub"))]
use candle_mish::data::names;

use crate::spec::ModelArgs;
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
use crate::weights::inspect::Inspection;
use crate::weights::note::Note;

/// A data set whose classes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    ImageNet,
    #[cfg(feature = "hub")]
    Cifar10,
    #[cfg(feature = "hub")]
    Cifar100,
}

impl Known {
    /// The number of classes of ImageNet-1k.
    pub const IMAGENET: usize = 1000;

    /// The names of the classes.
    #[cfg(feature = "data")]
    fn names(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::ImageNet => &imagenet::NAMES,
            #[cfg(feature = "hub")]
            Self::Cifar10 => &names::CIFAR10,
            #[cfg(feature = "hub")]
            Self::Cifar100 => &names::CIFAR100_FINE,
        };
        names.iter().map(ToString::to_string).collect()
    }
}

impl Weights {
    /// The names of the classes: the recorded ones, or, with the feature `data`, those of the data set
    /// if the weights are known to be trained on ImageNet-1k or CIFAR, or assumed to be trained on
    /// ImageNet-1k. [`Weights::assumed_classes`] reports an assumption.
    ///
    /// # Errors
    /// If the recorded value is not valid.
    pub fn classes(&self) -> Result<Option<Vec<String>>, LoadError> {
        let own: Option<Vec<String>> = self.json("classes")?;
        if own.is_some() {
            return Ok(own);
        }
        #[cfg(feature = "data")]
        match self.known_classes {
            Some(known) => return Ok(Some(known.names())),
            None if self.may_be_imagenet()? => return Ok(Some(Known::ImageNet.names())),
            None => {}
        }
        Ok(None)
    }

    /// A note if [`Weights::classes`] assumes the classes of ImageNet-1k: the weights have 1000
    /// classes, and record neither their names nor a data set.
    ///
    /// # Errors
    /// As [`Weights::classes`].
    pub fn assumed_classes(&self) -> Result<Option<Note>, LoadError> {
        let known = self.known_classes.is_some() || self.text("classes").is_some();
        let assumed = cfg!(feature = "data") && !known && self.may_be_imagenet()?;
        Ok(assumed.then(|| Note::assumed_classes(&self.origin)))
    }

    /// Whether the weights have as many classes as ImageNet-1k, and record no other data set.
    fn may_be_imagenet(&self) -> Result<bool, LoadError> {
        if self.dataset().is_some() {
            return Ok(false);
        }
        let num_classes = match (self.num_classes()?, self.like) {
            (Some(num_classes), _) => Some(num_classes),
            (None, Some(entry)) => {
                let known = ModelArgs::default();
                Inspection::of(entry, &self.checkpoint.tensors, &known)?.num_classes
            }
            (None, None) => None,
        };
        Ok(num_classes == Some(Known::IMAGENET))
    }
}
