//! Neighbours of a sum as pairs of bfloat16, for the direct algorithms with channel lanes.
//!
//! The sum of an output is over channels, and the sum of a weight's gradient over images. So pairs of
//! channels and pairs of images have the layout of half as many channels and images, and the same
//! loops read them, word by word.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::rounding::rounded_value;

/// The fewest words that a thread packs: handing over fewer costs more than it gains.
const WORDS_PER_THREAD: usize = 1 << 15;

/// The most words between a row and the next one.
pub const GAP: usize = 16;

/// The distance between rows of `len` words: rows at a distance of a power of two would map to few sets
/// of the cache.
pub fn row_pitch(len: usize) -> usize {
    if len.is_multiple_of(256) {
        len + GAP
    } else {
        len
    }
}

/// Words of the values of two rows. The values of a missing second row are 0.
#[inline(always)]
pub fn pair_row<S: Simd>(_: S, first: &[f32], second: Option<&[f32]>, words: &mut [f32]) {
    let lower = |value: f32| rounded_value(value) >> 16;
    match second {
        None => {
            for (word, first) in words.iter_mut().zip(first) {
                *word = f32::from_bits(lower(*first));
            }
        }
        Some(second) => {
            for ((word, first), second) in words.iter_mut().zip(first).zip(second) {
                let upper = rounded_value(*second) & 0xffff_0000;
                *word = f32::from_bits(upper | lower(*first));
            }
        }
    }
}

/// The rows of each part of `values`, `[part][row][len]`, in pairs: words `[part][pair][len]`.
pub fn pair_rows(arch: Arch, values: &[f32], rows: usize, len: usize) -> Vec<f32> {
    let part = rows * len;
    if part == 0 {
        return Vec::new();
    }
    let pairs = rows.div_ceil(2) * len;
    let mut words = vec![0.0; values.len() / part * pairs];
    words
        .par_chunks_exact_mut(pairs)
        .zip(values.par_chunks_exact(part))
        .with_min_len(WORDS_PER_THREAD / pairs + 1)
        .for_each(|(words, values)| arch.dispatch(PairPart { values, len, words }));
    words
}

/// The words of a part.
struct PairPart<'a> {
    values: &'a [f32],
    len: usize,
    words: &'a mut [f32],
}

impl WithSimd for PairPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.values.chunks(2 * self.len);
        for (words, rows) in self.words.chunks_exact_mut(self.len).zip(rows) {
            let (first, second) = rows.split_at(self.len);
            pair_row(simd, first, (!second.is_empty()).then_some(second), words);
        }
    }
}
