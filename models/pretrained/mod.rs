//! Trained weights on the Hugging Face Hub: the table of known ones, and how to name them.

mod address;
mod named;
mod row;
mod rows;

pub use address::{HubFile, Location};
pub use named::{Named, named, pretrained};
pub use row::Pretrained;
