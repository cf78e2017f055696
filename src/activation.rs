//! The activation functions: one table of names, parameters, functions and derivatives.

use crate::ops::activation::{
    HardSwish, Identity, KernelVisitor, LeakyRelu, Mish, Relu, Relu6, Silu,
};
use crate::simd::Real;

/// An activation function with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x where positive, a multiple of it elsewhere.
    LeakyRelu {
        /// The slope on the negative side.
        slope: f64,
    },
    /// x tanh(softplus(x))
    Mish,
    /// x sigmoid(x)
    Silu,
    /// x relu6(x + 3) / 6
    HardSwish,
}

impl Activation {
    /// Runs generic code compiled for this activation's vector kernel; `None` for those without
    /// one, which run as an op of their own.
    pub fn visit_kernel<F: Real, V: KernelVisitor<F>>(&self, visitor: V) -> Option<V::Output> {
        Some(match *self {
            Self::Identity => visitor.visit(Identity),
            Self::Relu => visitor.visit(Relu),
            Self::Relu6 => visitor.visit(Relu6),
            Self::LeakyRelu { slope } => visitor.visit(LeakyRelu { slope }),
            Self::Mish => visitor.visit(Mish),
            Self::Silu => visitor.visit(Silu),
            Self::HardSwish => visitor.visit(HardSwish),
        })
    }
}
