//! darknet's `.cfg` files: the layers of a classifier as text.
//!
//! The format and its defaults come from <https://github.com/AlexeyAB/darknet> and
//! <https://github.com/pjreddie/darknet> (`src/parser.c`). A file is a list of sections with
//! `key=value` lines. The first section, `[net]`, has the size of the images, and each other section
//! is a layer on the output of the layer before it. Layers refer to others by number, from 0 after
//! `[net]`, or backwards from their own place by a negative number.

mod error;
mod file;
mod function;
mod layer;
mod section;
mod shape;

pub use error::DarknetCfgError;
pub use file::DarknetCfg;
pub(crate) use file::HEAD;
pub(crate) use function::Function;
pub(crate) use layer::{Convolution, Layer, MaxPool};
pub(crate) use shape::{Shape, stride};
