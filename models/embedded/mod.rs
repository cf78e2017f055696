//! Trained weights inside of the program: f16 safetensors files of this folder, included by the
//! feature `embedded`. docs/embedded-weights.md says how they were trained.

mod row;
mod rows;
mod select;

pub use row::Embedded;
#[cfg(feature = "hub")]
pub(crate) use select::NAME;
pub use select::embedded;
pub(crate) use select::find;
