//! `mish bench`: what the crate's parts cost on this machine, beside what they replace.

pub mod mish;
pub mod network;
pub mod ops;
mod profile;
mod timing;
