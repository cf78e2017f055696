//! What happens to the outputs of a convolution while they are in the cache.

/// Changes outputs of a convolution as soon as they are computed.
///
/// A pass of its own would read and write all outputs again, from memory.
pub trait Finish: Sync {
    /// Changes neighbouring outputs of one plane. The first of them has the index `at` in the
    /// contiguous result. Each output is given once.
    fn finish(&self, at: usize, outputs: &mut [f32]);
}
