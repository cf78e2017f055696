//! Loops over all threads.
//!
//! The bodies are trait objects on purpose. Kernels are generic over the activation, the element
//! type and the instruction set; with a generic body each of these hundreds of combinations would
//! get its own copy of the thread pool's machinery, which made up most of the build time. A call
//! through a pointer per chunk costs nothing beside the chunk.

use rayon::prelude::*;

/// Calls `body(index, chunk)` for all chunks of `chunk` values (the last may be shorter). A
/// thread takes at least `min_len` neighbouring ones.
pub(crate) fn for_each_chunk<T: Send>(
    values: &mut [T],
    chunk: usize,
    min_len: usize,
    body: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    values
        .par_chunks_mut(chunk)
        .with_min_len(min_len)
        .enumerate()
        .for_each(|(index, chunk)| body(index, chunk));
}

/// The results of `task(index)` for all indices below `count`, in order. A thread takes at least
/// `min_len` neighbouring ones.
pub(crate) fn map<R: Send>(
    count: usize,
    min_len: usize,
    task: &(dyn Fn(usize) -> R + Sync),
) -> Vec<R> {
    let indices = (0..count).into_par_iter().with_min_len(min_len);
    indices.map(task).collect()
}
