//! Elementary functions on vectors: a reduction of the argument, then a polynomial.

use pulp::Simd;

use super::lanes::Lanes;
use super::real::Real;

impl<S: Simd, F: Real> Lanes<S, F> {
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
    /// |t| <= sqrt(2) - 1. The result is undefined for elements beyond the range of the exponent.
    #[inline(always)]
    fn exp_parts(self) -> (Self, Self) {
        let shifter = self.constant(F::SHIFTER);
        let shifted = self.mul_add(self.constant(std::f64::consts::LOG2_E), shifter);
        let k = shifted - shifter;
        let r = k.mul_add(self.constant(-F::LN_2.0), self);
        let r = k.mul_add(self.constant(-F::LN_2.1), r);
        (shifted, (r * r).mul_add(r.polynomial(F::EXP), r))
    }

    /// e^self as a product. The second factor is 1 except for the smallest results: where e^self is
    /// subnormal, the first factor is accurate. Defined for elements from [`Real::TAIL`] to the
    /// overflow of e^self.
    ///
    /// The error of the first factor is about one unit in the last place; the second is exact.
    #[inline(always)]
    pub fn exp_scaled(self) -> (Self, Self) {
        let (shifted, t) = self.exp_parts();
        let shifter = self.constant(F::SHIFTER);
        let bounded = shifted.max(self.constant(F::SHIFTER + 0.8 * F::MIN_EXPONENT));
        let rest = (shifted - bounded) + shifter;
        let scale = bounded.exponent_from_shifted();
        (t.mul_add(scale, scale), rest.exponent_from_shifted())
    }

    /// e^self - 1 for elements that are not positive, within a few units in the last place; NaN for
    /// NaN.
    #[inline(always)]
    pub fn exp_m1_of_negative(self) -> Self {
        // Below -50 the result is -1 in both precisions.
        let (shifted, t) = self.at_least(-50.0).exp_parts();
        let scale = shifted.exponent_from_shifted();
        // All terms but t are exact. Where they cancel, 2^k is 1 and the second one is 0.
        t.mul_add(scale, scale - 1.0)
    }

    /// ln(1 + self) for elements from 0 to 1, within a few units in the last place.
    #[inline(always)]
    pub fn ln_1p_of_unit(self) -> Self {
        // ln(1 + e) = 2 artanh(s), and s is at most a third.
        let s = self / (self + 2.0);
        let artanh = (s * s).polynomial(F::ARTANH);
        (s + s) * artanh
    }

    /// e^(self^2) erfc(self), within a few units in the last place. Defined for elements from 0 to
    /// [`Real::ERFCX_END`].
    ///
    /// The polynomial in t = (self - 3) / (self + 3) approximates the function times (1 + 2 self),
    /// whose range is small on the whole half line (the form of Shepherd and Laframboise,
    /// "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity", 1981).
    #[inline(always)]
    pub fn erfcx(self) -> Self {
        let t = (self - 3.0) / (self + 3.0);
        t.polynomial(F::ERFCX) / (self + self + 1.0)
    }
}
