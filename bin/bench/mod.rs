//! The benchmarks of `mish bench`: our ops and networks on this machine, and the ops they replace.

pub mod activation_calls;
pub mod activations;
pub mod data;
pub mod mish;
pub mod network;
pub mod ops;
mod profile;
pub mod ranks;
mod roofline;
mod scaling;
mod subject;
pub mod timing;
