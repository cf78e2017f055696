//! Element-wise activation functions: value and derivative in one pass over memory each.

mod kernels;

pub use kernels::{
    HardSwish, Identity, KernelVisitor, LeakyRelu, Mish, Pointwise, Relu, Relu6, Silu,
};
