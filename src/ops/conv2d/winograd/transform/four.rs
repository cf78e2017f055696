//! F(4 x 4, 3 x 3).

use pulp::Simd;

use super::{Axis, Filter, V};

/// F(4 x 4, 3 x 3), with the points 0, ±2/3, ±3/2 and infinity.
pub struct F4;

impl Filter<4, 6> for F4 {
    type Source = Source;
    type Kernel = Kernel;
    type Outputs = Outputs;
    type OutputGrads = OutputGrads;
    type KernelGrads = KernelGrads;
}

/// The points of [`F4`] apart from 0 and infinity are ±P and ±Q. Their product is 1, which makes
/// many coefficients 1 or equal.
const P: f64 = 2.0 / 3.0;
const Q: f64 = 3.0 / 2.0;

/// The product over the other points of their distances, for ±P: 2 P² (P² - Q²).
const SCALE_P: f64 = 1.0 / (2.0 * P * P * (P * P - Q * Q));
/// As [`SCALE_P`], for ±Q.
const SCALE_Q: f64 = 1.0 / (2.0 * Q * Q * (Q * Q - P * P));

pub struct Source;

impl Axis<6, 6> for Source {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d, e, f]: [V<S>; 6]) -> [V<S>; 6] {
        // x (x² - P²) (x² - Q²) = x⁵ - (P² + Q²) x³ + x, without one of its factors per point.
        let sum = a.constant(-(P * P + Q * Q));
        let (even_p, odd_p) = (
            c.mul_add(a.constant(-Q * Q), e),
            b.mul_add(a.constant(-Q), d * P),
        );
        let (even_q, odd_q) = (
            c.mul_add(a.constant(-P * P), e),
            b.mul_add(a.constant(-P), d * Q),
        );
        [
            c.mul_add(sum, a + e),
            even_p + odd_p,
            even_p - odd_p,
            even_q + odd_q,
            even_q - odd_q,
            d.mul_add(sum, b + f),
        ]
    }
}

pub struct Kernel;

impl Axis<3, 6> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c]: [V<S>; 3]) -> [V<S>; 6] {
        let (even_p, odd_p) = (
            c.mul_add(a.constant(P * P * SCALE_P), a * SCALE_P),
            b * (P * SCALE_P),
        );
        let (even_q, odd_q) = (
            c.mul_add(a.constant(Q * Q * SCALE_Q), a * SCALE_Q),
            b * (Q * SCALE_Q),
        );
        [
            a,
            even_p + odd_p,
            even_p - odd_p,
            even_q + odd_q,
            even_q - odd_q,
            c,
        ]
    }
}

pub struct Outputs;

impl Axis<6, 4> for Outputs {
    #[inline(always)]
    fn apply<S: Simd>([a, p, minus_p, q, minus_q, f]: [V<S>; 6]) -> [V<S>; 4] {
        let (even_p, odd_p) = (p + minus_p, p - minus_p);
        let (even_q, odd_q) = (q + minus_q, q - minus_q);
        [
            a + even_p + even_q,
            odd_p.mul_add(a.constant(P), odd_q * Q),
            even_p.mul_add(a.constant(P * P), even_q * (Q * Q)),
            odd_p.mul_add(
                a.constant(P * P * P),
                odd_q.mul_add(a.constant(Q * Q * Q), f),
            ),
        ]
    }
}

pub struct OutputGrads;

impl Axis<4, 6> for OutputGrads {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d]: [V<S>; 4]) -> [V<S>; 6] {
        let (even_p, odd_p) = (
            c.mul_add(a.constant(P * P), a),
            d.mul_add(a.constant(P * P * P), b * P),
        );
        let (even_q, odd_q) = (
            c.mul_add(a.constant(Q * Q), a),
            d.mul_add(a.constant(Q * Q * Q), b * Q),
        );
        [
            a,
            even_p + odd_p,
            even_p - odd_p,
            even_q + odd_q,
            even_q - odd_q,
            d,
        ]
    }
}

pub struct KernelGrads;

impl Axis<6, 3> for KernelGrads {
    #[inline(always)]
    fn apply<S: Simd>([a, p, minus_p, q, minus_q, f]: [V<S>; 6]) -> [V<S>; 3] {
        let (even_p, odd_p) = (p + minus_p, p - minus_p);
        let (even_q, odd_q) = (q + minus_q, q - minus_q);
        let (scale_p, scale_q) = (a.constant(SCALE_P), a.constant(SCALE_Q));
        let (even_p, odd_p) = (even_p * scale_p, odd_p * scale_p);
        let (even_q, odd_q) = (even_q * scale_q, odd_q * scale_q);
        [
            a + even_p + even_q,
            odd_p.mul_add(a.constant(P), odd_q * Q),
            even_p.mul_add(a.constant(P * P), even_q.mul_add(a.constant(Q * Q), f)),
        ]
    }
}
