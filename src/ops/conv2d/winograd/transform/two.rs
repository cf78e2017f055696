//! F(2 x 2, 3 x 3).

use pulp::Simd;

use super::{Axis, Filter, V};

/// F(2 x 2, 3 x 3), with the points 0, ±1 and infinity.
pub struct F2;

impl Filter<2, 4> for F2 {
    type Source = Source;
    type Kernel = Kernel;
    type Outputs = Outputs;
    type OutputGrads = OutputGrads;
    type KernelGrads = KernelGrads;
}

pub struct Source;

impl Axis<4, 4> for Source {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d]: [V<S>; 4]) -> [V<S>; 4] {
        [a - c, b + c, c - b, d - b]
    }
}

pub struct Kernel;

impl Axis<3, 4> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c]: [V<S>; 3]) -> [V<S>; 4] {
        let even = (a + c) * 0.5;
        let odd = b * 0.5;
        [a, even + odd, even - odd, c]
    }
}

pub struct Outputs;

impl Axis<4, 2> for Outputs {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d]: [V<S>; 4]) -> [V<S>; 2] {
        [a + b + c, b - c + d]
    }
}

pub struct OutputGrads;

impl Axis<2, 4> for OutputGrads {
    #[inline(always)]
    fn apply<S: Simd>([a, b]: [V<S>; 2]) -> [V<S>; 4] {
        [a, a + b, a - b, b]
    }
}

pub struct KernelGrads;

impl Axis<4, 3> for KernelGrads {
    #[inline(always)]
    fn apply<S: Simd>([a, b, c, d]: [V<S>; 4]) -> [V<S>; 3] {
        let (even, odd) = ((b + c) * 0.5, (b - c) * 0.5);
        [a + even, odd, d + even]
    }
}
