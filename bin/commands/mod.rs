//! The commands. Each has its flags and its work in one file or folder.

pub mod activations;
pub mod average;
pub mod bench;
pub mod compare;
pub mod completions;
pub mod data;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod lr_find;
pub mod models;
mod origin;
pub mod plot;
pub mod predict;
pub mod recipes;
pub mod report;
pub mod study;
pub mod swap;
pub mod train;
