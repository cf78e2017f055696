//! The functions whose parameters are tensors, with their derivatives.

use crate::simd::Real;

/// A function of an element and of up to four parameters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    PRelu,
    SRelu,
}

#[cfg(any(feature = "cuda", feature = "metal"))]
impl Function {
    /// The name of the function in the names of its kernels.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PRelu => "prelu",
            Self::SRelu => "srelu",
        }
    }

    /// Whether each of `elements` elements has its own slope. Then `channels` equals `elements`,
    /// and the gradient of the slopes sums nothing.
    pub(super) fn one_for_each(self, channels: u64, elements: usize) -> bool {
        matches!(self, Self::PRelu) && channels as usize == elements
    }
}

impl Function {
    /// The number of parameters of a channel.
    pub(super) fn parameters(self) -> usize {
        match self {
            Self::PRelu => 1,
            Self::SRelu => 4,
        }
    }

    /// f(x).
    #[inline(always)]
    pub(super) fn value<F: Real>(self, x: F, [a, al, tr, ar]: [F; 4]) -> F {
        match self {
            Self::PRelu if x > F::default() => x,
            Self::PRelu => x * a,
            Self::SRelu if x <= a => a + (x - a) * al,
            Self::SRelu if x >= tr => tr + (x - tr) * ar,
            Self::SRelu => x,
        }
    }

    /// The derivative with respect to x.
    #[inline(always)]
    pub(super) fn derivative<F: Real>(self, x: F, [a, al, tr, ar]: [F; 4]) -> F {
        let one = F::from_f64(1.0);
        match self {
            Self::PRelu if x > F::default() => one,
            Self::PRelu => a,
            Self::SRelu if x <= a => al,
            Self::SRelu if x >= tr => ar,
            Self::SRelu => one,
        }
    }

    /// The derivatives with respect to the parameters.
    #[inline(always)]
    pub(super) fn parameter_derivatives<F: Real>(self, x: F, [a, al, tr, ar]: [F; 4]) -> [F; 4] {
        let (zero, one) = (F::default(), F::from_f64(1.0));
        match self {
            Self::PRelu if x > zero => [zero; 4],
            Self::PRelu => [x, zero, zero, zero],
            Self::SRelu if x <= a => [one - al, x - a, zero, zero],
            Self::SRelu if x >= tr => [zero, zero, one - ar, x - tr],
            Self::SRelu => [zero; 4],
        }
    }
}
