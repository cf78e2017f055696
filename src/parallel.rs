//! Loops over all threads, and the buffers that they fill.
//!
//! The bodies are trait objects on purpose. Kernels are generic over the activation, the element
//! type and the instruction set; with a generic body each of these hundreds of combinations would
//! get its own copy of the thread pool's machinery, which made up most of the build time. One call
//! through a pointer per chunk costs nothing compared with the chunk.

use std::collections::TryReserveError;
use std::mem::MaybeUninit;

use rayon::prelude::*;

/// The number of values below which one thread does the work: waking another thread costs a few
/// microseconds.
pub(crate) const PARALLEL_THRESHOLD: usize = 1 << 14;

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

/// `len` values that `write` initialises. The memory is not cleared first.
///
/// # Safety
/// `write` must initialise every value of the slice that it receives.
pub(crate) unsafe fn written<T>(len: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: guaranteed by the caller.
    unsafe { append(&mut values, len, write) };
    values
}

/// [`written`] for results that may not fit in memory.
///
/// # Errors
/// If the memory cannot be allocated.
///
/// # Safety
/// As for [`written`].
pub(crate) unsafe fn try_written<T>(
    len: usize,
    write: impl FnOnce(&mut [MaybeUninit<T>]),
) -> Result<Vec<T>, TryReserveError> {
    let mut values = Vec::new();
    values.try_reserve_exact(len)?;
    // SAFETY: guaranteed by the caller.
    unsafe { append(&mut values, len, write) };
    Ok(values)
}

/// Appends `len` values that `write` initialises to an empty vector.
///
/// # Safety
/// As for [`written`].
unsafe fn append<T>(values: &mut Vec<T>, len: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) {
    assert!(values.is_empty());
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the slice above is within the capacity, and `write` has initialised all of it.
    unsafe { values.set_len(len) };
}

/// `len` values that `fill(index of the chunk, chunk)` writes in chunks of `chunk`, on several
/// threads where that pays. The memory is not cleared first.
///
/// # Safety
/// `fill` must initialise every value of the chunk that it receives.
pub(crate) unsafe fn build<T: Copy + Send>(
    len: usize,
    chunk: usize,
    fill: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Vec<T> {
    if len == 0 {
        return Vec::new();
    }
    let min_len = PARALLEL_THRESHOLD.div_ceil(chunk);
    // SAFETY: `fill` initialises every chunk, and the chunks are all of the slice.
    unsafe { written(len, |values| for_each_chunk(values, chunk, min_len, &fill)) }
}
