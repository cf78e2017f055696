//! The commands, one file each: its flags and what it does.

pub mod activations;
pub mod bench;
pub mod completions;
pub mod eval;
pub mod export;
pub mod models;
pub mod predict;
pub mod swap;
pub mod train;
