//! Chooses the code that is compiled for the vector kernel of an activation known at run time.

use super::simd::{
    Elu, Gelu, GeluTanh, HardMish, HardSigmoid, HardSwish, Hardtanh, Identity, LeakyRelu, Mish,
    Pointwise, Relu, Relu6, Sigmoid, Silu, Softplus, Tanh,
};
use crate::activation::{Activation, functions as f};
use crate::simd::Real;

/// Generic code to run with the kernel of an activation that is known only at run time.
pub(crate) trait KernelVisitor<F: Real> {
    /// What the code returns.
    type Output;

    /// Runs the code, compiled for `kernel`.
    fn visit<K: Pointwise<F>>(self, kernel: K) -> Self::Output;
}

/// Calls `visitor` with the vector kernel of `activation`; `None` if it has no vector kernel.
pub(crate) fn visit_kernel<F: Real, V: KernelVisitor<F>>(
    activation: &Activation,
    visitor: V,
) -> Option<V::Output> {
    Some(match *activation {
        Activation::Identity => visitor.visit(Identity),
        Activation::Relu => visitor.visit(Relu),
        Activation::Relu6 => visitor.visit(Relu6),
        Activation::LeakyRelu { slope } => visitor.visit(LeakyRelu { slope }),
        Activation::Mish => visitor.visit(Mish),
        Activation::Silu => visitor.visit(Silu),
        Activation::HardSwish => visitor.visit(HardSwish),
        Activation::HardMish => visitor.visit(HardMish),
        Activation::HardSigmoid => visitor.visit(HardSigmoid),
        Activation::Hardtanh { min, max } => visitor.visit(Hardtanh { min, max }),
        Activation::Sigmoid => visitor.visit(Sigmoid),
        Activation::Gelu => visitor.visit(Gelu),
        Activation::GeluTanh => visitor.visit(GeluTanh),
        Activation::Elu { alpha } => visitor.visit(Elu {
            scale: 1.0,
            alpha,
            rate: 1.0,
        }),
        Activation::Celu { alpha } if alpha > 0.0 => visitor.visit(Elu {
            scale: 1.0,
            alpha,
            rate: alpha.recip(),
        }),
        Activation::Selu => visitor.visit(Elu {
            scale: f::SELU_SCALE,
            alpha: f::SELU_ALPHA,
            rate: 1.0,
        }),
        Activation::Softplus { beta } => visitor.visit(Softplus { beta }),
        Activation::LogSigmoid => visitor.visit(Softplus { beta: -1.0 }),
        Activation::Tanh => visitor.visit(Tanh {
            factor: 1.0,
            rate: 1.0,
        }),
        Activation::WeightedTanh { weight } => visitor.visit(Tanh {
            factor: 1.0,
            rate: weight,
        }),
        Activation::LecunTanh => visitor.visit(Tanh {
            factor: 1.7159,
            rate: 2.0 / 3.0,
        }),
        _ => return None,
    })
}

/// Whether `activation` has a vector kernel, so that normalisation can apply it in the same pass.
/// The other activations run element by element in double precision.
pub fn has_kernel(activation: &Activation) -> bool {
    struct Probe;

    impl KernelVisitor<f32> for Probe {
        type Output = ();

        fn visit<K: Pointwise<f32>>(self, _: K) {}
    }

    visit_kernel::<f32, _>(activation, Probe).is_some()
}
