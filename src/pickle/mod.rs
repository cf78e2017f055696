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
mod limits;
mod machine;
pub(crate) mod numpy;
mod text;
mod value;

pub(crate) use error::PickleError;
pub(crate) use limits::Limits;
pub(crate) use machine::read;
pub(crate) use value::{Id, Pickle, Value};

#[cfg(test)]
mod tests;
