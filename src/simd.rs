//! Vectors of `f32` or `f64` under one name, with the transcendental functions that activations
//! and losses need.
//!
//! [`pulp`] chooses the instruction set at run time (AVX-512, AVX2 with FMA, NEON, or plain
//! scalar code) and names every operation after its element type. [`Real`] removes the element
//! type from the names and [`Lanes`] carries the instruction set along with the vector, so that
//! a kernel is written once, as arithmetic, for both element types and every instruction set:
//!
//! ```
//! use candle_mish::simd::{Lanes, Real, Simd};
//!
//! #[inline(always)]
//! fn logistic<S: Simd, F: Real>(x: Lanes<S, F>) -> Lanes<S, F> {
//!     x.constant(1.0) / ((-x).exp() + 1.0)
//! }
//! ```
//!
//! Everything that runs on vectors must be `#[inline(always)]` and be reached from inside
//! [`dispatch`]: a function that is not inlined there is compiled without the instruction set.

use std::mem::MaybeUninit;
use std::ops::{Add, Div, Mul, Neg, Sub};

pub use pulp::{Simd, WithSimd};

/// Runs `op` with the widest vectors that the machine has.
#[inline]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}

/// An element type that has vectors: `f32` or `f64`.
///
/// The functions are what [`Lanes`] is made of; kernels use [`Lanes`].
pub trait Real:
    Copy
    + Send
    + Sync
    + Default
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// A register full of elements.
    type Vector<S: Simd>: Copy + Send + Sync + 'static;
    /// A truth value for each element of a register.
    type Mask<S: Simd>: Copy;

    /// The element nearest to `value`.
    fn from_f64(value: f64) -> Self;
    /// The element in double precision, exactly.
    fn to_f64(self) -> f64;
    /// Elements in a register.
    fn lanes<S: Simd>() -> usize;
    /// The whole registers of a slice, and the elements that are left.
    fn split<S: Simd>(slice: &[Self]) -> (&[Self::Vector<S>], &[Self]);
    /// The whole registers of a slice, and the elements that are left.
    fn split_mut<S: Simd>(slice: &mut [Self]) -> (&mut [Self::Vector<S>], &mut [Self]);
    /// The whole registers of a slice that is to be written, and the elements that are left.
    #[allow(clippy::type_complexity)]
    fn split_uninit<S: Simd>(
        slice: &mut [MaybeUninit<Self>],
    ) -> (
        &mut [MaybeUninit<Self::Vector<S>>],
        &mut [MaybeUninit<Self>],
    );
    /// Loads a slice shorter than a register; zeros in the other elements.
    fn partial_load<S: Simd>(simd: S, slice: &[Self]) -> Self::Vector<S>;
    /// Stores as many elements as the slice, shorter than a register, has.
    fn partial_store<S: Simd>(simd: S, slice: &mut [Self], v: Self::Vector<S>);
    /// `value` in every element.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// a + b
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a - b
    fn sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a / b
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b + c, rounded once where the instruction set can and twice elsewhere.
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The smaller one; either of them where one is not a number.
    fn min<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The larger one; either of them where one is not a number.
    fn max<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// |a|
    fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// -a
    fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// The square root.
    fn sqrt<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// |a| with the sign of b.
    fn copysign<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a < b; false where one is not a number.
    fn less_than<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// a where the mask is true, b elsewhere.
    fn select<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The sum of all elements.
    fn reduce_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// The largest of all elements.
    fn reduce_max<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// 2^k of an element that holds k + [`Real::SHIFTER`]: moves the lowest bits of its
    /// significand, which hold k + bias, into the place of the exponent. k must be that of a
    /// normal number.
    fn exponent_from_shifted<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;

    /// 1.5 times the power of two above which there are only integers, plus the exponent's
    /// bias: adding it rounds to an integer, and leaves that plus the bias in the lowest bits.
    const SHIFTER: f64;
    /// ln 2 in two parts: the first so short that a product with an exponent is exact.
    const LN_2: (f64, f64);
    /// The smallest exponent of a normal number.
    const MIN_EXPONENT: f64;
    /// Above this the exponential overflows.
    const EXP_OVERFLOW: f64;
    /// So far to the left that x e^x is nothing even as a subnormal number, and still within
    /// the range of [`Lanes::exp_scaled`].
    const TAIL: f64;
    /// The coefficients of (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, highest power first: a
    /// minimax polynomial (Remez exchange) with a relative error of e^r of 2^-28 for `f32` and
    /// 2^-57 for `f64`.
    const EXP: &'static [f64];
}

macro_rules! impl_real {
    (
        $f:ident, $vector:ident, $mask:ident,
        $lanes:ident, $as_simd:ident, $as_mut_simd:ident, $as_uninit_mut_simd:ident,
        $partial_load:ident, $partial_store:ident, $splat:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $mul_add:ident, $min:ident, $max:ident,
        $abs:ident, $neg:ident, $sqrt:ident, $and:ident, $or:ident, $less_than:ident,
        $select:ident, $reduce_sum:ident, $reduce_max:ident, $to_bits:ident, $from_bits:ident,
        shift: |$simd:ident, $a:ident| $shift:expr,
        $($constants:tt)*
    ) => {
        impl Real for $f {
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }

            #[inline(always)]
            fn split<S: Simd>(slice: &[Self]) -> (&[Self::Vector<S>], &[Self]) {
                S::$as_simd(slice)
            }

            #[inline(always)]
            fn split_mut<S: Simd>(
                slice: &mut [Self],
            ) -> (&mut [Self::Vector<S>], &mut [Self]) {
                S::$as_mut_simd(slice)
            }

            #[inline(always)]
            fn split_uninit<S: Simd>(
                slice: &mut [MaybeUninit<Self>],
            ) -> (
                &mut [MaybeUninit<Self::Vector<S>>],
                &mut [MaybeUninit<Self>],
            ) {
                S::$as_uninit_mut_simd(slice)
            }

            #[inline(always)]
            fn partial_load<S: Simd>(simd: S, slice: &[Self]) -> Self::Vector<S> {
                simd.$partial_load(slice)
            }

            #[inline(always)]
            fn partial_store<S: Simd>(simd: S, slice: &mut [Self], v: Self::Vector<S>) {
                simd.$partial_store(slice, v)
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S> {
                simd.$splat(value)
            }

            #[inline(always)]
            fn add<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn sub<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$sub(a, b)
            }

            #[inline(always)]
            fn mul<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn div<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$div(a, b)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
                c: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn min<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$min(a, b)
            }

            #[inline(always)]
            fn max<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$max(a, b)
            }

            #[inline(always)]
            fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                simd.$abs(a)
            }

            #[inline(always)]
            fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                simd.$neg(a)
            }

            #[inline(always)]
            fn sqrt<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                simd.$sqrt(a)
            }

            #[inline(always)]
            fn copysign<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$or(simd.$abs(a), simd.$and(b, simd.$splat(-0.0)))
            }

            #[inline(always)]
            fn less_than<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Mask<S> {
                simd.$less_than(a, b)
            }

            #[inline(always)]
            fn select<S: Simd>(
                simd: S,
                mask: Self::Mask<S>,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$select(mask, a, b)
            }

            #[inline(always)]
            fn reduce_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self {
                simd.$reduce_sum(a)
            }

            #[inline(always)]
            fn reduce_max<S: Simd>(simd: S, a: Self::Vector<S>) -> Self {
                simd.$reduce_max(a)
            }

            #[inline(always)]
            fn exponent_from_shifted<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S> {
                let $simd = simd;
                let $a = simd.$to_bits(a);
                simd.$from_bits($shift)
            }

            $($constants)*
        }
    };
}

impl_real! {
    f32, f32s, m32s,
    F32_LANES, as_simd_f32s, as_mut_simd_f32s, as_uninit_mut_simd_f32s,
    partial_load_f32s, partial_store_f32s, splat_f32s,
    add_f32s, sub_f32s, mul_f32s, div_f32s, mul_add_e_f32s, min_f32s, max_f32s,
    abs_f32s, neg_f32s, sqrt_f32s, and_f32s, or_f32s, less_than_f32s,
    select_f32s, reduce_sum_f32s, reduce_max_f32s, transmute_u32s_f32s, transmute_f32s_u32s,
    shift: |simd, a| simd.wrapping_dyn_shl_u32s(a, simd.splat_u32s(23)),
    const SHIFTER: f64 = 12_582_912.0 + 127.0;
    const LN_2: (f64, f64) = (0.693_359_375, -2.121_944_400_546_905_8e-4);
    const MIN_EXPONENT: f64 = -126.0;
    const EXP_OVERFLOW: f64 = 88.722_839;
    const TAIL: f64 = -150.0;
    const EXP: &'static [f64] = &[
        0.001_381_446_731_8,
        0.008_368_780_416_33,
        0.041_668_394_206,
        0.166_665_201_078,
        0.499_999_934_125,
    ];
}

impl_real! {
    f64, f64s, m64s,
    F64_LANES, as_simd_f64s, as_mut_simd_f64s, as_uninit_mut_simd_f64s,
    partial_load_f64s, partial_store_f64s, splat_f64s,
    add_f64s, sub_f64s, mul_f64s, div_f64s, mul_add_e_f64s, min_f64s, max_f64s,
    abs_f64s, neg_f64s, sqrt_f64s, and_f64s, or_f64s, less_than_f64s,
    select_f64s, reduce_sum_f64s, reduce_max_f64s, transmute_u64s_f64s, transmute_f64s_u64s,
    shift: |simd, a| simd.mul_u64s(a, simd.splat_u64s(1 << 52)),
    const SHIFTER: f64 = 6_755_399_441_055_744.0 + 1023.0;
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    const MIN_EXPONENT: f64 = -1022.0;
    const EXP_OVERFLOW: f64 = 709.782_712_893_384;
    const TAIL: f64 = -1200.0;
    const EXP: &'static [f64] = &[
        2.499_996_475_101_925e-8,
        2.763_037_862_793_297e-7,
        2.755_758_734_408_232_7e-6,
        2.480_149_276_278_351e-5,
        1.984_126_950_376_324_2e-4,
        1.388_888_894_392_263_9e-3,
        8.333_333_333_495_625e-3,
        4.166_666_666_652_919e-2,
        0.166_666_666_666_664_1,
        0.500_000_000_000_001_1,
    ];
}

/// A vector of `F` with the instruction set `S` it belongs to; operators act on each element,
/// and a number on the right-hand side stands for a vector full of it.
#[derive(Clone, Copy)]
pub struct Lanes<S: Simd, F: Real> {
    simd: S,
    vector: F::Vector<S>,
}

/// A truth value for each element of a [`Lanes`].
#[derive(Clone, Copy)]
pub struct Mask<S: Simd, F: Real> {
    simd: S,
    mask: F::Mask<S>,
}

impl<S: Simd, F: Real> Mask<S, F> {
    /// `a` where the mask is true, `b` elsewhere.
    #[inline(always)]
    pub fn select(self, a: Lanes<S, F>, b: Lanes<S, F>) -> Lanes<S, F> {
        Lanes::new(
            self.simd,
            F::select(self.simd, self.mask, a.vector, b.vector),
        )
    }
}

impl<S: Simd, F: Real> Lanes<S, F> {
    /// Wraps a register.
    #[inline(always)]
    pub fn new(simd: S, vector: F::Vector<S>) -> Self {
        Self { simd, vector }
    }

    /// `value` in every element.
    #[inline(always)]
    pub fn splat(simd: S, value: F) -> Self {
        Self::new(simd, F::splat(simd, value))
    }

    /// Loads a slice shorter than a register; zeros in the other elements.
    #[inline(always)]
    pub fn partial_load(simd: S, slice: &[F]) -> Self {
        Self::new(simd, F::partial_load(simd, slice))
    }

    /// Stores as many elements as the slice, shorter than a register, has.
    #[inline(always)]
    pub fn partial_store(self, slice: &mut [F]) {
        F::partial_store(self.simd, slice, self.vector);
    }

    /// The register.
    #[inline(always)]
    pub fn vector(self) -> F::Vector<S> {
        self.vector
    }

    /// The instruction set.
    #[inline(always)]
    pub fn simd(self) -> S {
        self.simd
    }

    /// The number nearest to `value` in every element of a vector like this one.
    #[inline(always)]
    pub fn constant(self, value: f64) -> Self {
        Self::splat(self.simd, F::from_f64(value))
    }

    /// self b + c, rounded once where the instruction set can and twice elsewhere.
    #[inline(always)]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        let vector = F::mul_add(self.simd, self.vector, b.vector, c.vector);
        Self::new(self.simd, vector)
    }

    /// The smaller one; either of them where one is not a number.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self::new(self.simd, F::min(self.simd, self.vector, other.vector))
    }

    /// The larger one; either of them where one is not a number.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self::new(self.simd, F::max(self.simd, self.vector, other.vector))
    }

    /// The smaller one; not a number where `self` is not.
    #[inline(always)]
    pub fn at_most(self, bound: f64) -> Self {
        let bound = self.constant(bound);
        bound.lt(self).select(bound, self)
    }

    /// The larger one; not a number where `self` is not.
    #[inline(always)]
    pub fn at_least(self, bound: f64) -> Self {
        let bound = self.constant(bound);
        self.lt(bound).select(bound, self)
    }

    /// The absolute value.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self::new(self.simd, F::abs(self.simd, self.vector))
    }

    /// The square root.
    #[inline(always)]
    pub fn sqrt(self) -> Self {
        Self::new(self.simd, F::sqrt(self.simd, self.vector))
    }

    /// The absolute value with the sign of `sign`.
    #[inline(always)]
    pub fn copysign(self, sign: Self) -> Self {
        Self::new(self.simd, F::copysign(self.simd, self.vector, sign.vector))
    }

    /// self < other; false where one is not a number.
    #[inline(always)]
    pub fn lt(self, other: Self) -> Mask<S, F> {
        let mask = F::less_than(self.simd, self.vector, other.vector);
        Mask {
            simd: self.simd,
            mask,
        }
    }

    /// The sum of all elements.
    #[inline(always)]
    pub fn reduce_sum(self) -> F {
        F::reduce_sum(self.simd, self.vector)
    }

    /// The largest of all elements.
    #[inline(always)]
    pub fn reduce_max(self) -> F {
        F::reduce_max(self.simd, self.vector)
    }

    /// The polynomial with these coefficients, highest power first.
    #[inline(always)]
    pub fn polynomial(self, coefficients: &[f64]) -> Self {
        let mut sum = self.constant(coefficients[0]);
        for &coefficient in &coefficients[1..] {
            sum = sum.mul_add(self, self.constant(coefficient));
        }
        sum
    }

    /// e^self = 2^k (1 + t): the shifted k (see [`Real::SHIFTER`]) and t, with
    /// |t| <= sqrt(2) - 1. Elements beyond the range of the exponent give garbage.
    #[inline(always)]
    fn exp_parts(self) -> (Self, Self) {
        let shifter = self.constant(F::SHIFTER);
        let shifted = self.mul_add(self.constant(std::f64::consts::LOG2_E), shifter);
        let k = shifted - shifter;
        let r = k.mul_add(self.constant(-F::LN_2.0), self);
        let r = k.mul_add(self.constant(-F::LN_2.1), r);
        (shifted, (r * r).mul_add(r.polynomial(F::EXP), r))
    }

    /// e^self as a product whose second factor is 1 for all but the smallest results: of
    /// these, that have no accurate value of their own, the first factor has all bits. For
    /// elements from [`Real::TAIL`] to where e^self overflows; garbage elsewhere.
    ///
    /// An error of about one unit in the last place of the first factor; the second is exact.
    #[inline(always)]
    pub fn exp_scaled(self) -> (Self, Self) {
        let (shifted, t) = self.exp_parts();
        let shifter = self.constant(F::SHIFTER);
        let bounded = shifted.max(self.constant(F::SHIFTER + 0.8 * F::MIN_EXPONENT));
        let rest = (shifted - bounded) + shifter;
        let scale = bounded.exponent_from_shifted();
        (t.mul_add(scale, scale), rest.exponent_from_shifted())
    }

    /// e^self within about one unit in the last place, over the whole range: infinite where it
    /// overflows, with gradual underflow, not a number where `self` is not.
    #[inline(always)]
    pub fn exp(self) -> Self {
        // Two factors' logarithms: neither leaves the normal numbers where the result does not.
        let bounded = self
            .at_least(1.25 * std::f64::consts::LN_2 * F::MIN_EXPONENT)
            .at_most(F::EXP_OVERFLOW * 1.001);
        let (shifted, t) = bounded.exp_parts();
        let shifter = self.constant(F::SHIFTER);
        let half = (shifted - shifter) * 0.5 + shifter;
        let rest = (shifted - half) + shifter;
        let first = half.exponent_from_shifted();
        t.mul_add(first, first) * rest.exponent_from_shifted()
    }

    #[inline(always)]
    fn exponent_from_shifted(self) -> Self {
        Self::new(self.simd, F::exponent_from_shifted(self.simd, self.vector))
    }
}

macro_rules! impl_operator {
    ($operator:ident, $function:ident) => {
        impl<S: Simd, F: Real> $operator for Lanes<S, F> {
            type Output = Self;

            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                let vector = <F as Real>::$function(self.simd, self.vector, other.vector);
                Self::new(self.simd, vector)
            }
        }

        impl<S: Simd, F: Real> $operator<f64> for Lanes<S, F> {
            type Output = Self;

            #[inline(always)]
            fn $function(self, other: f64) -> Self {
                let other = self.constant(other);
                $operator::$function(self, other)
            }
        }
    };
}

impl_operator!(Add, add);
impl_operator!(Sub, sub);
impl_operator!(Mul, mul);
impl_operator!(Div, div);

impl<S: Simd, F: Real> Neg for Lanes<S, F> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        Self::new(self.simd, <F as Real>::neg(self.simd, self.vector))
    }
}
