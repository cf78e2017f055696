//! The names of the classes of weights.

use crate::spec::ModelArgs;
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
use crate::weights::inspect::Inspection;
use crate::weights::known_classes::Known;
use crate::weights::note::Note;

impl Weights {
    /// The names of the classes: the recorded ones, or, with the feature `data`, the data set's if the
    /// weights are known to be trained on ImageNet-1k or CIFAR, or assumed to be trained on
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
        {
            if let Some(known) = self.known_classes {
                return Ok(Some(known.names()));
            }
            if let Some(num_classes) = self.count_classes()?
                && self.may_be_imagenet(num_classes)
            {
                return Ok(Some(Known::ImageNet.names()));
            }
        }
        Ok(None)
    }

    /// A note if [`Weights::classes`] assumes the classes of ImageNet-1k: the weights have 1000
    /// classes, and record neither their names nor a data set.
    ///
    /// # Errors
    /// As [`Weights::classes`].
    pub fn assumed_classes(&self) -> Result<Option<Note>, LoadError> {
        let num_classes = self.count_classes()?;
        Ok(num_classes.and_then(|num_classes| self.assumed_classes_of(num_classes)))
    }

    /// As [`Weights::assumed_classes`], for weights with this number of classes.
    pub(super) fn assumed_classes_of(&self, num_classes: usize) -> Option<Note> {
        let known = self.known_classes.is_some() || self.text("classes").is_some();
        let assumed = cfg!(feature = "data") && !known && self.may_be_imagenet(num_classes);
        assumed.then(|| Note::assumed_classes(&self.origin))
    }

    /// Whether weights with this number of classes may have ImageNet-1k's classes: they record no
    /// data set.
    fn may_be_imagenet(&self, num_classes: usize) -> bool {
        num_classes == Known::IMAGENET && self.dataset().is_none()
    }

    /// The number of classes: the recorded one, or the tensors' if the network is known.
    fn count_classes(&self) -> Result<Option<usize>, LoadError> {
        match (self.num_classes()?, self.like) {
            (Some(num_classes), _) => Ok(Some(num_classes)),
            (None, Some(entry)) => {
                let known = ModelArgs::default();
                Ok(Inspection::of(entry, &self.checkpoint.tensors, &known)?.num_classes)
            }
            (None, None) => Ok(None),
        }
    }
}
