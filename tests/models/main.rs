//! Every network of the registry, and each against an independent implementation.

mod composed;
#[cfg(all(feature = "checkpoint", feature = "data"))]
mod darknet_cfg;
#[cfg(feature = "embedded")]
mod embedded;
mod export;
mod feature_maps;
#[cfg(feature = "checkpoint")]
mod foreign;
mod img_size;
mod initial_weights;
mod initialisation;
mod pretrained;
mod published;
mod recomputed;
mod reference;
mod registry;
mod rule;
mod shortcut;
#[cfg(feature = "swap")]
mod swap;
#[cfg(feature = "swap")]
mod swap_methods;
mod training;
mod transfer;
#[cfg(feature = "checkpoint")]
mod weights;
