//! How transformed tiles and kernels are kept and multiplied: as f32, or as pairs of bfloat16.
//!
//! A word of 32 bits holds one f32 or two bfloat16. Two values share a word if they are neighbours in the
//! sum of a product: the same lane of neighbouring vectors of channels, or neighbouring tiles.

use pulp::Simd;

use super::super::pair_products;
use super::super::products::{Product, RegisterTile};
use super::super::rounding::rounded;
use super::transform::V;

/// The factors of the products.
pub trait Operands {
    /// Values in a word.
    const VALUES: usize;

    /// Stores vectors as the values of neighbouring words; the second one is 0 if a word has one value.
    ///
    /// # Safety
    /// The words must be writable, and no other thread may access them.
    unsafe fn put_all<S: Simd>(values: [V<S>; 2], to: *mut f32);

    /// Stores a vector as the values `part` of neighbouring words. Part 0 comes first: it sets the other
    /// values to 0.
    ///
    /// # Safety
    /// The words must be writable, and no other thread may access them.
    unsafe fn put<S: Simd>(value: V<S>, part: usize, to: *mut f32);

    /// Computes a product whose factors are words.
    ///
    /// # Safety
    /// As for [`Product::compute`].
    unsafe fn multiply<S: Simd>(simd: S, product: &Product, tile: RegisterTile);
}

/// f32.
pub struct Singles;

impl Operands for Singles {
    const VALUES: usize = 1;

    #[inline(always)]
    unsafe fn put_all<S: Simd>([value, _]: [V<S>; 2], to: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::put(value, 0, to) };
    }

    #[inline(always)]
    unsafe fn put<S: Simd>(value: V<S>, _part: usize, to: *mut f32) {
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<S::f32s>().write_unaligned(value.vector()) };
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(simd: S, product: &Product, tile: RegisterTile) {
        // SAFETY: guaranteed by the caller.
        unsafe { product.compute(simd, tile) };
    }
}

/// Pairs of bfloat16.
pub struct Pairs;

impl Operands for Pairs {
    const VALUES: usize = 2;

    #[inline(always)]
    unsafe fn put_all<S: Simd>([first, second]: [V<S>; 2], to: *mut f32) {
        let simd = first.simd();
        let words = simd.or_u32s(lower(first), upper(second));
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<S::u32s>().write_unaligned(words) };
    }

    #[inline(always)]
    unsafe fn put<S: Simd>(value: V<S>, part: usize, to: *mut f32) {
        let to = to.cast::<S::u32s>();
        let words = if part == 0 {
            lower(value)
        } else {
            // SAFETY: part 0 has written the words.
            value
                .simd()
                .or_u32s(upper(value), unsafe { to.read_unaligned() })
        };
        // SAFETY: guaranteed by the caller.
        unsafe { to.write_unaligned(words) };
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(simd: S, product: &Product, tile: RegisterTile) {
        // SAFETY: guaranteed by the caller.
        unsafe { pair_products::compute(simd, product, tile) };
    }
}

/// Words with a value in their lower half.
#[inline(always)]
fn lower<S: Simd>(value: V<S>) -> S::u32s {
    let simd = value.simd();
    let bits = rounded(simd, value.vector());
    simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16))
}

/// Words with a value in their upper half.
#[inline(always)]
fn upper<S: Simd>(value: V<S>) -> S::u32s {
    let simd = value.simd();
    let bits = rounded(simd, value.vector());
    simd.and_u32s(bits, simd.splat_u32s(0xffff_0000))
}

/// The channel that is part `part` of a word in a row of words.
#[inline(always)]
pub fn channel_of<Q: Operands>(word: usize, part: usize, lanes: usize) -> usize {
    (word / lanes * Q::VALUES + part) * lanes + word % lanes
}

/// The word of a channel in a row of words, and its part of the word.
#[inline(always)]
pub fn word_of<Q: Operands>(channel: usize, lanes: usize) -> (usize, usize) {
    let vector = channel / lanes;
    let word = vector / Q::VALUES * lanes + channel % lanes;
    (word, vector % Q::VALUES)
}

/// The words of a row of `channels` channels.
#[inline(always)]
pub fn words<Q: Operands>(channels: usize, lanes: usize) -> usize {
    // The last vector of channels may be alone in its words, and the one before it may be longer.
    let last = (channels - 1) / lanes;
    let before = last - last % Q::VALUES;
    before / Q::VALUES * lanes + lanes.min(channels - before * lanes)
}
