//! Transposes between `[channel][pixel]` and `[pixel][channel]`, in registers.

use std::mem::MaybeUninit;

use pulp::Simd;

/// The most `f32` lanes of an instruction set.
const MAX_LANES: usize = 16;

/// Whether vectors are long enough for [`four_columns`].
pub const fn by_fours<S: Simd>() -> bool {
    S::F32_LANES >= 4
}

/// Four columns of a matrix with as many rows as a vector has lanes, `pitch` values apart.
///
/// # Safety
/// The four values of each row must be readable.
#[inline(always)]
pub unsafe fn four_columns<S: Simd>(simd: S, from: *const f32, pitch: usize) -> [S::f32s; 4] {
    let mut vectors = [simd.splat_f32s(0.0); 4];
    for (r, vector) in vectors.iter_mut().enumerate() {
        let mut parts = [[0.0; 4]; MAX_LANES / 4];
        for (q, part) in parts.iter_mut().enumerate().take(S::F32_LANES / 4) {
            let row = from.wrapping_add((4 * q + r) * pitch);
            // SAFETY: four columns of a row.
            *part = unsafe { row.cast::<[f32; 4]>().read() };
        }
        *vector = first_lanes::<S>(&parts);
    }
    // Each 128 bits hold four columns of every fourth row and are transposed separately.
    simd.interleave_shfl_f32s(vectors)
}

/// A column of a matrix with `rows` rows, `pitch` values apart; zeros in the other lanes.
///
/// # Safety
/// The rows must be readable, and at most as many as a vector has lanes.
#[inline(always)]
pub unsafe fn column<S: Simd>(_: S, from: *const f32, pitch: usize, rows: usize) -> S::f32s {
    let mut parts = [[0.0; 4]; MAX_LANES / 4];
    for (r, value) in parts.as_flattened_mut().iter_mut().enumerate().take(rows) {
        // SAFETY: one of the rows.
        *value = unsafe { *from.wrapping_add(r * pitch) };
    }
    first_lanes::<S>(&parts)
}

#[inline(always)]
fn first_lanes<S: Simd>(values: &[[f32; 4]; MAX_LANES / 4]) -> S::f32s {
    const { assert!(S::F32_LANES <= MAX_LANES) };
    // SAFETY: the values are at least as long as the vector, and all bits are valid in it.
    unsafe { values.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// Sizes of a matrix of pixels by channels.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// Channels, without the padding to a whole vector.
    pub channels: usize,
    /// Pixels.
    pub pixels: usize,
    /// Distance between neighbouring channels in `[channel][pixel]`.
    pub plane: usize,
    /// Distance between neighbouring pixels in `[pixel][channel]`.
    pub width: usize,
}

/// Writes `[pixel][channel]` as `[channel][pixel]`. The width must be a multiple of a vector's
/// lanes.
///
/// # Safety
/// `pixels` values must be writable in each channel.
#[inline(always)]
pub unsafe fn to_channel_major<S: Simd>(simd: S, from: &[f32], sizes: Matrix, to: *mut f32) {
    let Matrix {
        channels,
        pixels,
        plane,
        width,
    } = sizes;
    let lanes = S::F32_LANES;
    assert!(from.len() >= pixels * width && channels <= width);
    if pixels < lanes || !by_fours::<S>() {
        for (p, from) in from.chunks_exact(width).enumerate().take(pixels) {
            for (c, value) in from.iter().enumerate().take(channels) {
                // SAFETY: a value of a channel.
                unsafe { *to.wrapping_add(c * plane + p) = *value };
            }
        }
        return;
    }
    for p in (0..pixels).step_by(lanes) {
        // The last vector overlaps the one before it.
        let p = p.min(pixels - lanes);
        for c in (0..channels).step_by(4) {
            // SAFETY: there are a vector's lanes of pixels from here on, and the width is a
            // multiple of four.
            let vectors = unsafe { four_columns(simd, from.as_ptr().add(p * width + c), width) };
            for (i, vector) in vectors.into_iter().enumerate() {
                if c + i < channels {
                    let to = to.wrapping_add((c + i) * plane + p);
                    // SAFETY: a vector's lanes of values of a channel.
                    unsafe { to.cast::<S::f32s>().write_unaligned(vector) };
                }
            }
        }
    }
}

/// Writes `[channel][pixel]` as `[pixel][channel]`, with at most a vector's lanes of channels. The
/// vector of a pixel is padded with zeros.
#[inline(always)]
pub fn to_pixel_major<S: Simd>(simd: S, from: &[f32], sizes: Matrix, to: &mut [f32]) {
    let Matrix {
        channels,
        pixels,
        plane,
        width,
    } = sizes;
    let lanes = S::F32_LANES;
    if pixels == 0 {
        return;
    }
    assert!(channels <= lanes);
    assert!(channels == 0 || (channels - 1) * plane + pixels <= from.len());
    assert!((pixels - 1) * width + lanes <= to.len());
    let fours = by_fours::<S>() && channels == lanes && pixels >= 4;
    let mut p = 0;
    while p < pixels {
        // The last four pixels may overlap those before.
        p = if fours { p.min(pixels - 4) } else { p };
        let from = from.as_ptr().wrapping_add(p);
        let to = to.as_mut_ptr().wrapping_add(p * width);
        // SAFETY: the pixels from `p` on are readable in all channels and writable in `to`, as
        // asserted.
        unsafe {
            if fours {
                let vectors = four_columns(simd, from, plane);
                for (i, vector) in vectors.into_iter().enumerate() {
                    to.add(i * width).cast::<S::f32s>().write_unaligned(vector);
                }
                p += 4;
            } else {
                let vector = column(simd, from, plane, channels);
                to.cast::<S::f32s>().write_unaligned(vector);
                p += 1;
            }
        }
    }
}

/// Writes the first columns of a matrix as rows: as many as `to` has space for. The matrix has
/// `rows` rows, `pitch` values apart.
#[inline(always)]
pub fn transpose<S: Simd>(
    simd: S,
    from: &[f32],
    (rows, pitch): (usize, usize),
    to: &mut [MaybeUninit<f32>],
) {
    let lanes = S::F32_LANES;
    let columns = to.len() / rows;
    assert!(to.len() == rows * columns && (rows - 1) * pitch + columns <= from.len());
    let to = to.as_mut_ptr().cast::<f32>();
    // Blocks of four columns by a vector of rows; the last rows of a block overlap those before.
    let fours = match by_fours::<S>() && rows >= lanes {
        true => columns / 4 * 4,
        false => 0,
    };
    let mut row = 0;
    while row < rows && fours > 0 {
        row = row.min(rows - lanes);
        for column in (0..fours).step_by(4) {
            let from = from.as_ptr().wrapping_add(row * pitch + column);
            // SAFETY: four columns of `lanes` rows, which were asserted to be readable.
            let vectors = unsafe { four_columns(simd, from, pitch) };
            for (i, vector) in vectors.into_iter().enumerate() {
                let to = to.wrapping_add((column + i) * rows + row);
                // SAFETY: a vector of a row of the result.
                unsafe { to.cast::<S::f32s>().write_unaligned(vector) };
            }
        }
        row += lanes;
    }
    for column in fours..columns {
        for row in 0..rows {
            // SAFETY: a value of the matrix and its place in the result, as asserted.
            unsafe { *to.wrapping_add(column * rows + row) = from[row * pitch + column] };
        }
    }
}
