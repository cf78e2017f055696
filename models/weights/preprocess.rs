//! How to preprocess images for trained weights.

use candle_mish::data::{CIFAR10_MEAN, CIFAR10_STD, CIFAR100_MEAN, CIFAR100_STD, Preprocess};

use crate::registry::find;
use crate::spec::{ModelSpec, Stem};
use crate::weights::error::LoadError;
use crate::weights::file::Weights;

impl Weights {
    /// Whether the image size and the normalisation are recorded. If not, [`Weights::preprocess`]
    /// assumes what is missing, which a caller should report with
    /// [`Note::assumed_preprocess`](crate::weights::Note::assumed_preprocess).
    ///
    /// # Errors
    /// If a recorded value is not valid.
    pub fn records_preprocess(&self) -> Result<bool, LoadError> {
        Ok(self.image_size()?.is_some() && self.normalisation()?.is_some())
    }

    /// How to preprocess images for the network `spec` with these weights. What is not recorded has
    /// these values:
    ///
    /// - With [`Stem::ImageNet`], as the network's default weights on the Hub need it, or else timm's
    ///   defaults at the network's own image size.
    /// - With [`Stem::Cifar`], the whole of a 32x32 image, with the normalisation of CIFAR-10 for a
    ///   network with 10 classes, and of CIFAR-100 for all others.
    ///
    /// # Errors
    /// If a recorded value is not valid, or the network has no form with this stem.
    pub fn preprocess(&self, spec: &ModelSpec) -> Result<Preprocess, LoadError> {
        let entry = find(&spec.model)?;
        let input_size = entry.image_size(spec)?;
        let published = entry.pretrained().next();
        let default = match (spec.stem, published) {
            (Stem::ImageNet, Some(row)) if row.stem == spec.stem => row.preprocess(),
            (Stem::ImageNet, _) => Preprocess {
                input_size,
                ..Preprocess::default()
            },
            (Stem::Cifar, _) => {
                let (mean, std) = match spec.num_classes {
                    10 => (CIFAR10_MEAN, CIFAR10_STD),
                    _ => (CIFAR100_MEAN, CIFAR100_STD),
                };
                Preprocess {
                    input_size,
                    crop_pct: 1.0,
                    mean,
                    std,
                    ..Preprocess::default()
                }
            }
        };
        let (mean, std) = self.normalisation()?.unwrap_or((default.mean, default.std));
        Ok(Preprocess {
            input_size: self.image_size()?.unwrap_or(default.input_size),
            crop_pct: self.parsed("crop_pct")?.unwrap_or(default.crop_pct),
            interpolation: self
                .parsed("interpolation")?
                .unwrap_or(default.interpolation),
            mean,
            std,
        })
    }
}
