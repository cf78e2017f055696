//! f32 rounded to bfloat16, in the upper half of a word.

use pulp::Simd;

/// `values` rounded to the nearest bfloat16. Values that are not finite, or beyond 5e33, are then not
/// finite. Lower halves may not be 0 where values are subnormal.
///
/// Veltkamp's splitting takes three operations: Dekker, "A floating-point technique for extending the
/// available precision", 1971.
#[inline(always)]
pub fn rounded<S: Simd>(simd: S, values: S::f32s) -> S::u32s {
    let scaled = simd.mul_f32s(values, simd.splat_f32s(65_537.0));
    let rest = simd.sub_f32s(scaled, values);
    simd.transmute_u32s_f32s(simd.sub_f32s(scaled, rest))
}

/// As [`rounded`], for one value.
#[inline(always)]
pub fn rounded_value(value: f32) -> u32 {
    let scaled = value * 65_537.0;
    let rest = scaled - value;
    (scaled - rest).to_bits()
}
