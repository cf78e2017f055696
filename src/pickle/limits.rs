//! Bounds of what a hostile pickle can make the reader do.

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
