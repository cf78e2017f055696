//! Mish

pub mod bench;
