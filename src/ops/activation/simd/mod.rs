//! Activation functions and their derivatives on one vector. Fused ops are generic over them.

#[cfg(test)]
mod tests;

use crate::activation::Activation;
use crate::simd::{Lanes, Real, Simd};

/// A function of one element and its derivative, on vectors of `F`.
///
/// An op that fuses an activation is generic over this trait;
/// [`visit_kernel`](super::dispatch::visit_kernel) instantiates it for an [`Activation`].
pub(crate) trait Pointwise<F: Real>: Copy + Send + Sync {
    /// f(x) of each element.
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F>;

    /// f'(x) of each element; at a kink of f, PyTorch's value.
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F>;
}

/// f(x) = x.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity;

impl<F: Real> Pointwise<F> for Identity {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        x
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        x.constant(1.0)
    }
}

/// f(x) = max(x, 0); f'(0) = 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relu;

impl<F: Real> Pointwise<F> for Relu {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        x.at_least(0.0)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let zero = x.constant(0.0);
        zero.lt(x).select(x.constant(1.0), zero)
    }
}

/// f(x) = min(max(x, 0), 6); f'(0) = f'(6) = 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relu6;

impl<F: Real> Pointwise<F> for Relu6 {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        x.at_least(0.0).at_most(6.0)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (zero, one) = (x.constant(0.0), x.constant(1.0));
        let below = x.lt(x.constant(6.0)).select(one, zero);
        zero.lt(x).select(below, zero)
    }
}

/// f(x) = x where x > 0, slope x elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeakyRelu {
    /// The slope on the negative side.
    pub slope: f64,
}

impl<F: Real> Pointwise<F> for LeakyRelu {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        x.constant(0.0).lt(x).select(x, x * self.slope)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (one, slope) = (x.constant(1.0), x.constant(self.slope));
        x.constant(0.0).lt(x).select(one, slope)
    }
}

/// f(x) = x min(max(x + 3, 0), 6) / 6 (Howard et al., "Searching for MobileNetV3", 2019).
#[derive(Debug, Clone, Copy)]
pub(crate) struct HardSwish;

impl<F: Real> Pointwise<F> for HardSwish {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        // Below -3 the other factor is 0, and 0 times infinity is NaN.
        let bounded = x.at_least(-3.0);
        bounded * (bounded + 3.0).at_most(6.0) / 6.0
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (zero, one) = (x.constant(0.0), x.constant(1.0));
        let inner = x.lt(x.constant(3.0)).select(x / 3.0 + 0.5, one);
        x.constant(-3.0).lt(x).select(inner, zero)
    }
}

/// f(x) = x tanh(ln(1 + e^x)) (Misra, "Mish", 2019).
///
/// With e = e^x and n = e (e + 2), tanh(ln(1 + e)) is n / (n + 2): one exponential, no
/// cancellation. From x = 20 the quotient is 1 in both precisions, so x is bounded before the
/// exponential and e does not overflow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mish;

impl<F: Real> Pointwise<F> for Mish {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x.at_least(F::TAIL);
        // y = x e may be normal where e is subnormal, so e is computed as two factors.
        let (e, scale) = x.min(x.constant(20.0)).exp_scaled();
        let n = e.mul_add(e, e + e);
        (x * scale) * (n / (n + 2.0))
    }

    /// e w / (n + 2)^2 with w = 4 (x + 1) + 4 e^2 + e^3 + e (4 x + 6).
    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x.at_least(F::TAIL);
        let twenty = x.constant(20.0);
        let (e, scale) = x.min(twenty).exp_scaled();
        let d = e.mul_add(e, e + e) + 2.0;
        let four = x.constant(4.0);
        let w = (e + 4.0).mul_add(e, x.mul_add(four, four + 2.0));
        let w = w.mul_add(e, x.mul_add(four, four));
        let derivative = ((e * scale) / d) * (w / d);
        twenty.lt(x).select(x.constant(1.0), derivative)
    }
}

/// f(x) = x / (1 + e^-x), also known as Swish (Elfwing et al., 2017; Ramachandran et al., 2017).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silu;

impl<F: Real> Pointwise<F> for Silu {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x.at_least(F::TAIL);
        // From x = 40 the quotient is 1 in both precisions.
        let (e, scale) = x.min(x.constant(40.0)).exp_scaled();
        (x * scale) * (e / (e + 1.0))
    }

    /// s (1 + x (1 - s)) with s = e / (1 + e).
    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x.at_least(F::TAIL).at_most(40.0);
        let (e, scale) = x.exp_scaled();
        let complement = x.constant(1.0) / (e + 1.0);
        (e * scale) * complement * x.mul_add(complement, x.constant(1.0))
    }
}

/// f(x) = x min(max(x + 2, 0), 2) / 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HardMish;

impl<F: Real> Pointwise<F> for HardMish {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let bounded = x.at_least(-2.0);
        bounded * (bounded + 2.0).at_most(2.0) * 0.5
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (zero, one) = (x.constant(0.0), x.constant(1.0));
        let inner = x.lt(zero).select(x + 1.0, one);
        x.constant(-2.0).lt(x).select(inner, zero)
    }
}

/// f(x) = min(max(x, min), max); the derivative is 0 at the bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hardtanh {
    /// The lower bound.
    pub min: f64,
    /// The upper bound.
    pub max: f64,
}

impl<F: Real> Pointwise<F> for Hardtanh {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        x.at_least(self.min).at_most(self.max)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (zero, one) = (x.constant(0.0), x.constant(1.0));
        let below = x.lt(x.constant(self.max)).select(one, zero);
        x.constant(self.min).lt(x).select(below, zero)
    }
}

/// f(x) = min(max(x + 3, 0), 6) / 6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HardSigmoid;

impl<F: Real> Pointwise<F> for HardSigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        (x + 3.0).at_least(0.0).at_most(6.0) / 6.0
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let inside = Hardtanh {
            min: -3.0,
            max: 3.0,
        };
        inside.derivative(x) / 6.0
    }
}

/// f(x) = 1 / (1 + e^-x).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sigmoid;

impl<F: Real> Pointwise<F> for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (e, scale) = x.at_least(F::TAIL).at_most(40.0).exp_scaled();
        e / (e + 1.0) * scale
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        // By symmetry; on the left both factors keep their accuracy.
        let (e, scale) = (-x.abs()).at_least(F::TAIL).exp_scaled();
        let d = e + 1.0;
        (e / d) * scale / d
    }
}

/// f(x) = x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct GeluTanh;

impl GeluTanh {
    const LINEAR: f64 = 1.595_769_121_605_730_8;
    const CUBIC: f64 = Self::LINEAR * 0.044_715;
    /// Below this the function is 0 in both precisions.
    const LEFT: f64 = -25.0;
    /// Above this the function is the identity in both precisions.
    const RIGHT: f64 = 8.0;
}

impl<F: Real> Pointwise<F> for GeluTanh {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x.at_least(Self::LEFT);
        let bounded = x.at_most(Self::RIGHT);
        let slope = (bounded * bounded).mul_add(x.constant(Self::CUBIC), x.constant(Self::LINEAR));
        // (1 + tanh u) / 2 is the logistic function of 2 u, without cancellation on the left.
        let (e, scale) = (bounded * slope)
            .at_least(F::TAIL)
            .at_most(40.0)
            .exp_scaled();
        (x * scale) * (e / (e + 1.0))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x.at_least(Self::LEFT).at_most(Self::RIGHT);
        let square = x * x;
        let slope = square.mul_add(x.constant(Self::CUBIC), x.constant(Self::LINEAR));
        let steep = square.mul_add(x.constant(3.0 * Self::CUBIC), x.constant(Self::LINEAR));
        let (e, scale) = (x * slope).at_least(F::TAIL).at_most(40.0).exp_scaled();
        let complement = x.constant(1.0) / (e + 1.0);
        (e * scale) * complement * (x * steep).mul_add(complement, x.constant(1.0))
    }
}

/// f(x) = x Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel, 2016).
///
/// Phi(-|x|) is e^(-x^2 / 2) erfcx(|x| / sqrt 2) / 2, whose factors keep their accuracy in the
/// tail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gelu;

impl Gelu {
    const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

    /// |x|, bounded at a point where the exponential is 0, and the exponential as in
    /// [`Lanes::exp_scaled`].
    #[inline(always)]
    fn gauss<S: Simd, F: Real>(x: Lanes<S, F>) -> (Lanes<S, F>, Lanes<S, F>, Lanes<S, F>) {
        let a = x.abs().at_most(std::f64::consts::SQRT_2 * F::ERFCX_END);
        // A rounding error of the square would be an error of the exponent.
        let square = a * a;
        let rest = a.mul_add(a, -square);
        let (e, scale) = (square * -0.5).exp_scaled();
        (a, rest.mul_add(e * -0.5, e), scale)
    }
}

impl<F: Real> Pointwise<F> for Gelu {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (a, e, scale) = Self::gauss(x);
        let tail = (a * scale) * (e * (a * std::f64::consts::FRAC_1_SQRT_2).erfcx() * 0.5);
        x.constant(0.0).lt(x).select(x - tail, -tail)
    }

    /// Phi(x) + x phi(x) with the density phi.
    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (a, e, scale) = Self::gauss(x);
        let half = (a * std::f64::consts::FRAC_1_SQRT_2).erfcx() * 0.5;
        let tail = e * a.mul_add(a.constant(-Self::INV_SQRT_2PI), half) * scale;
        let zero = x.constant(0.0);
        zero.lt(x).select(x.constant(1.0) - tail, tail)
    }
}

/// f(x) = scale x where x > 0, scale alpha (e^(rate x) - 1) elsewhere: ELU (Clevert et al., 2016),
/// CELU (Barron, 2017) and SELU (Klambauer et al., 2017).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elu {
    /// The factor of both sides.
    pub scale: f64,
    /// The factor of the left side.
    pub alpha: f64,
    /// The factor of x in the exponent; not negative.
    pub rate: f64,
}

impl<F: Real> Pointwise<F> for Elu {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let left = (x.at_most(0.0) * self.rate).exp_m1_of_negative();
        let right = x * self.scale;
        let zero = x.constant(0.0);
        zero.lt(x).select(right, left * (self.scale * self.alpha))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let (e, scale) = (x.at_most(0.0) * self.rate).at_least(F::TAIL).exp_scaled();
        let left = e * (self.scale * self.alpha * self.rate) * scale;
        let zero = x.constant(0.0);
        zero.lt(x).select(x.constant(self.scale), left)
    }
}

/// f(x) = factor tanh(rate x).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tanh {
    /// The limit on the right.
    pub factor: f64,
    /// The factor of x.
    pub rate: f64,
}

impl<F: Real> Pointwise<F> for Tanh {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x * self.rate;
        // tanh |x| = -m / (2 + m) with m = e^(-2 |x|) - 1, without cancellation anywhere.
        let m = (x.abs() * -2.0).exp_m1_of_negative();
        (-m / (m + 2.0)).copysign(x) * self.factor
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x * self.rate;
        let (e, scale) = (x.abs() * -2.0).at_least(F::TAIL).exp_scaled();
        let d = e + 1.0;
        (e / d) * scale / d * (4.0 * self.factor * self.rate)
    }
}

/// f(x) = ln(1 + e^(beta x)) / beta; with beta = -1 it is ln(sigmoid(x)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Softplus {
    /// How sharp the bend is; a negative value rotates the graph by 180 degrees.
    pub beta: f64,
}

impl<F: Real> Pointwise<F> for Softplus {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        let x = x * self.beta;
        let (e, scale) = (-x.abs()).at_least(F::TAIL).exp_scaled();
        (x.at_least(0.0) + (e * scale).ln_1p_of_unit()) / self.beta
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        Sigmoid.value(x * self.beta)
    }
}

/// Any activation, element by element, in double precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table(pub(crate) Activation);

/// Applies a function of one number to each element.
#[inline(always)]
fn each<S: Simd, F: Real>(x: Lanes<S, F>, f: impl Fn(f64) -> f64) -> Lanes<S, F> {
    let mut elements = [F::default(); 16];
    let count = F::lanes::<S>();
    let (registers, _) = F::split_mut::<S>(&mut elements[..count]);
    registers[0] = x.vector();
    for element in &mut elements[..count] {
        *element = F::from_f64(f(element.to_f64()));
    }
    let (registers, _) = F::split::<S>(&elements[..count]);
    Lanes::new(x.simd(), registers[0])
}

impl<F: Real> Pointwise<F> for Table {
    #[inline(always)]
    fn value<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        each(x, |x| self.0.value(x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, x: Lanes<S, F>) -> Lanes<S, F> {
        each(x, |x| self.0.derivative(x))
    }
}
