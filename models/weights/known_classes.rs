//! Data sets whose classes have known names.

#[cfg(feature = "data")]
use candle_mish::data::imagenet;
#[cfg(all(feature = "data", feature = "hub"))]
use candle_mish::data::names;

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
    pub fn names(self) -> Vec<String> {
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
