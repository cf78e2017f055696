//! A reader of Python pickles that never executes them.
//!
//! A pickle is a program for a small stack machine, and Python's machine calls any function that a
//! pickle names. [`read`] interprets the instructions of protocols 0 to 5 and keeps every call as a
//! value: the function's name, its arguments, the state. What a call means is decided by the callers
//! of this module, who know a few names and ignore all others.
//!
//! Values refer to each other by number within one list. A value that a pickle uses many times is
//! stored once, and values may contain themselves. So the memory is proportional to the pickle, and
//! neither reading nor dropping recurses. Code that walks over values has to expect both.

mod error;
mod machine;
pub(crate) mod numpy;
mod text;
mod value;

pub(crate) use error::PickleError;
pub(crate) use value::{Id, Value};

use value::Node;

/// Bounds of what a pickle may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The largest number of instructions. Each adds at most one value and one memo entry: about 100
    /// bytes.
    pub instructions: usize,
}

impl Default for Limits {
    /// Ten million instructions. A training state of a large network has about 100,000, the labels
    /// and file names of a data set a few for each image.
    fn default() -> Self {
        Self {
            instructions: 10_000_000,
        }
    }
}

/// The values of a pickle. They borrow long strings from its bytes.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    length: usize,
}

impl Pickle<'_> {
    /// The value that the pickle builds.
    pub(crate) fn root(&self) -> Value<'_> {
        Value::new(self, self.root)
    }

    /// All values, in the order in which the pickle makes them.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value<'_>> {
        (0..self.nodes.len()).map(|index| Value::new(self, Id::new(index)))
    }

    /// The length of the pickle in bytes: another one may follow.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

/// Reads the pickle at the start of `bytes`, up to its STOP instruction.
///
/// # Errors
/// The pickle breaks off, is damaged, exceeds the limits, or needs what a file cannot hold
/// (extension codes and out-of-band buffers).
pub(crate) fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Pickle<'a>, PickleError> {
    machine::run(bytes, limits)
}

#[cfg(test)]
mod tests;
