//! Products of matrices of pairs of bfloat16, with sums in f32.
//!
//! A word of 32 bits holds two values of the depth, the first in its lower half:
//!
//! ```text
//! result[row][column] = sum over words w of  A[row][w].0 B[w][column].0 + A[row][w].1 B[w][column].1
//! ```
//!
//! AVX-512 BF16 has an instruction for the sum of a word. It treats subnormal numbers as zero. Other
//! processors split the words into two vectors of f32, in which the products are exact.

use pulp::Simd;

use super::products::{Product, RegisterTile};

/// Where a part of the depth of a product begins, from the first values of A and B on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Segment {
    pub a: isize,
    pub b: isize,
}

/// Computes a product whose pointers are to words. The result is f32.
///
/// # Safety
/// As for [`Product::compute`].
#[inline(always)]
pub unsafe fn compute<S: Simd>(simd: S, product: &Product, tile: RegisterTile) {
    // SAFETY: guaranteed by the caller.
    unsafe { compute_segments(simd, product, tile, std::iter::once(Segment::default())) };
}

/// Computes a product whose depth is in segments of `product.depth` words each.
///
/// # Safety
/// As for [`Product::compute`], in each segment.
#[inline(always)]
pub unsafe fn compute_segments<S: Simd>(
    simd: S,
    product: &Product,
    tile: RegisterTile,
    segments: impl Iterator<Item = Segment> + Clone,
) {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == 16 && std::arch::is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the processor has the instruction; the rest is guaranteed by the caller.
        unsafe { avx512::compute(product, tile, segments) };
        return;
    }
    for (i, segment) in segments.enumerate() {
        let product = Product {
            a: product.a.wrapping_offset(segment.a),
            b: product.b.wrapping_offset(segment.b),
            accumulate: product.accumulate || i > 0,
            ..*product
        };
        // SAFETY: guaranteed by the caller.
        unsafe { product.compute_words(simd, tile) };
    }
}

/// With the instruction of AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };

    use super::super::products::{Product, RegisterTile, register_tiles};
    use super::Segment;

    const LANES: usize = 16;

    /// # Safety
    /// The processor must have AVX-512 BF16. As for [`super::compute_segments`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub unsafe fn compute(
        product: &Product,
        tile: RegisterTile,
        segments: impl Iterator<Item = Segment> + Clone,
    ) {
        let parts = product.rows.div_ceil(tile.rows);
        for part in 0..parts {
            let (_, part) = product.part(part, parts);
            macro_rules! sizes {
                ($(($v:literal: $($p:literal)*))*) => {
                    match (tile.vectors, part.rows) {
                        // SAFETY: guaranteed by the caller.
                        $($(($v, $p) => unsafe { rows::<$p, $v>(&part, segments.clone()) },)*)*
                        (v, p) => unreachable!("no tile of {p} rows by {v} vectors"),
                    }
                };
            }
            register_tiles!(sizes);
        }
    }

    /// `P` rows and `V` vectors of the result.
    ///
    /// # Safety
    /// As for [`compute`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    unsafe fn rows<const P: usize, const V: usize>(
        product: &Product,
        segments: impl Iterator<Item = Segment>,
    ) {
        let at = |p: usize, v: usize| product.to.wrapping_add(p * product.to_row + v * LANES);
        let mut acc = [[_mm512_setzero_ps(); V]; P];
        if product.accumulate {
            for (p, acc) in acc.iter_mut().enumerate() {
                for (v, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: a vector of the result.
                    *acc = unsafe { _mm512_loadu_ps(at(p, v)) };
                }
            }
        }
        for segment in segments {
            let mut a = product.a.wrapping_offset(segment.a).cast::<i32>();
            let mut b = product.b.wrapping_offset(segment.b);
            for _ in 0..product.depth {
                let mut row = [_mm512_setzero_si512(); V];
                for (v, vector) in row.iter_mut().enumerate() {
                    // SAFETY: a vector of a row of B.
                    *vector = unsafe { _mm512_loadu_si512(b.add(v * LANES).cast()) };
                }
                for (p, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: a word of A.
                    let word = _mm512_set1_epi32(unsafe { *a.wrapping_add(p * product.a_row) });
                    for (acc, vector) in acc.iter_mut().zip(row) {
                        *acc = dot(*acc, word, vector);
                    }
                }
                a = a.wrapping_add(product.a_step);
                b = b.wrapping_add(product.b_row);
            }
        }
        for (p, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                // SAFETY: a vector of the result.
                unsafe { _mm512_storeu_ps(at(p, v), *acc) };
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: vectors of the same size, for which all bits are valid.
        let [a, b]: [__m512bh; 2] = unsafe { std::mem::transmute([a, b]) };
        _mm512_dpbf16_ps(sum, a, b)
    }
}
