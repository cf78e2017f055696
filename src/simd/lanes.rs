//! Vectors that carry their instruction set and act as numbers.

use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::Simd;

use super::real::Real;

/// A vector of `F` for the instruction set `S`. Operators act on each element; a number on the
/// right-hand side means a vector of that number.
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
    /// `a` for elements where the mask is true, `b` for the others.
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

    /// Loads a slice that is shorter than a register, followed by zeros.
    #[inline(always)]
    pub fn partial_load(simd: S, slice: &[F]) -> Self {
        Self::new(simd, F::partial_load(simd, slice))
    }

    /// Stores the first elements into a slice that is shorter than a register.
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

    /// A vector of the number nearest to `value`.
    #[inline(always)]
    pub fn constant(self, value: f64) -> Self {
        Self::splat(self.simd, F::from_f64(value))
    }

    /// self b + c, rounded once if the instruction set has fused operations, else twice.
    #[inline(always)]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        let vector = F::mul_add(self.simd, self.vector, b.vector, c.vector);
        Self::new(self.simd, vector)
    }

    /// The smaller element; either of them if one is NaN.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self::new(self.simd, F::min(self.simd, self.vector, other.vector))
    }

    /// The larger element; either of them if one is NaN.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self::new(self.simd, F::max(self.simd, self.vector, other.vector))
    }

    /// The smaller one of `self` and `bound`; NaN for NaN.
    #[inline(always)]
    pub fn at_most(self, bound: f64) -> Self {
        let bound = self.constant(bound);
        match S::IS_SCALAR {
            true => bound.lt(self).select(bound, self),
            // Of NaN and a number, x86 takes the second operand, and others NaN.
            false => bound.min(self),
        }
    }

    /// The larger one of `self` and `bound`; NaN for NaN.
    #[inline(always)]
    pub fn at_least(self, bound: f64) -> Self {
        let bound = self.constant(bound);
        match S::IS_SCALAR {
            true => self.lt(bound).select(bound, self),
            false => bound.max(self),
        }
    }

    /// The absolute value.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self::new(self.simd, F::abs(self.simd, self.vector))
    }

    /// The absolute value with the sign of `sign`.
    #[inline(always)]
    pub fn copysign(self, sign: Self) -> Self {
        Self::new(self.simd, F::copysign(self.simd, self.vector, sign.vector))
    }

    /// self < other; false if one is NaN.
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

    /// 2^k of elements that hold k + [`Real::SHIFTER`].
    #[inline(always)]
    pub(super) fn exponent_from_shifted(self) -> Self {
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
