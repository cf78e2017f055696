//! Opens trained weights, and rebuilds their networks from what the file and its description
//! record.
//!
//! [`from_file`] and [`create_pretrained`] do this in
//! one call. [`Weights`] offers the steps one by one.

mod classes;
mod darknet;
mod described;
mod description;
#[cfg(feature = "data")]
mod devkit;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
#[cfg(feature = "hub")]
mod fetch;
mod file;
mod fixed;
mod inspect;
mod known_classes;
mod load;
mod note;
#[cfg(feature = "data")]
mod preprocess;
mod spec;
mod transformers;

#[cfg(feature = "embedded")]
pub use embedded::from_embedded;
pub use error::LoadError;
#[cfg(feature = "hub")]
pub use fetch::{FetchOptions, Tag, create_pretrained, create_pretrained_with, fetch};
pub use file::{MeanStd, Weights};
pub use load::{Loaded, from_file, from_file_with};
pub use note::Note;
