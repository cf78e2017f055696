//! Layers on the ops, named and keyed as in PyTorch.

mod params;

pub use params::{LoadReport, ParamStore};
