//! Matrices turned round in registers: columns as vectors.

use pulp::Simd;

/// Lanes that no instruction set exceeds.
const MOST: usize = 16;

/// Whether vectors are long enough for [`four_columns`].
pub(super) const fn by_fours<S: Simd>() -> bool {
    S::F32_LANES >= 4
}

/// Four columns of a matrix with as many rows as a vector has lanes, `pitch` values apart.
///
/// # Safety
/// The four values of each row must be readable.
#[inline(always)]
pub(super) unsafe fn four_columns<S: Simd>(
    simd: S,
    from: *const f32,
    pitch: usize,
) -> [S::f32s; 4] {
    let mut vectors = [simd.splat_f32s(0.0); 4];
    for (r, vector) in vectors.iter_mut().enumerate() {
        let mut parts = [[0.0; 4]; MOST / 4];
        for (q, part) in parts.iter_mut().enumerate().take(S::F32_LANES / 4) {
            let row = from.wrapping_add((4 * q + r) * pitch);
            // SAFETY: four columns of a row.
            *part = unsafe { row.cast::<[f32; 4]>().read() };
        }
        *vector = first_lanes::<S>(&parts);
    }
    // Each 128 bits hold four columns of one row in four, and are turned by themselves.
    simd.interleave_shfl_f32s(vectors)
}

/// A column of a matrix with `rows` rows, `pitch` values apart; zeros in the lanes beyond.
///
/// # Safety
/// The rows must be readable, and not be more than a vector's lanes.
#[inline(always)]
pub(super) unsafe fn column<S: Simd>(_: S, from: *const f32, pitch: usize, rows: usize) -> S::f32s {
    let mut parts = [[0.0; 4]; MOST / 4];
    for (r, value) in parts.as_flattened_mut().iter_mut().enumerate().take(rows) {
        // SAFETY: one of the rows.
        *value = unsafe { *from.wrapping_add(r * pitch) };
    }
    first_lanes::<S>(&parts)
}

#[inline(always)]
fn first_lanes<S: Simd>(values: &[[f32; 4]; MOST / 4]) -> S::f32s {
    const { assert!(S::F32_LANES <= MOST) };
    // SAFETY: the values are at least as long as the vector, for which any bits are valid.
    unsafe { values.as_ptr().cast::<S::f32s>().read_unaligned() }
}
