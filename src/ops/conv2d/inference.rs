//! What inference adds to a convolution.

use super::pack::packed_weight::PackedWeight;

/// What a convolution for inference has besides its arguments.
#[derive(Clone, Copy, Default)]
pub struct Inference<'a> {
    /// Keeps the packed weight between calls.
    pub packed: Option<&'a PackedWeight>,
    /// Changes the outputs while they are in the cache.
    pub finish: Option<&'a dyn Finish>,
}

/// Changes outputs of a convolution as soon as they are computed.
///
/// A separate pass would read and write all outputs again, from memory.
pub trait Finish: Sync {
    /// Changes neighbouring outputs of one plane. The first of them has the index `at` in the
    /// contiguous result. Each output is given once.
    fn finish(&self, at: usize, outputs: &mut [f32]);
}
