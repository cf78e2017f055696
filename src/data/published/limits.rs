//! Limits of what is read into memory.

/// The most bytes of a file. A larger file is not a file of these data sets.
pub(super) const LARGEST: u64 = 1 << 30;
