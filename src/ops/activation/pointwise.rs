//! Activations of one argument as ops: forward, backward and in place.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, InplaceOp1, Layout, Module, Result, Shape, Tensor,
};

use super::cpu;
#[cfg(feature = "cuda")]
use super::gpu::cuda;
#[cfg(feature = "metal")]
use super::gpu::metal;
use crate::activation::Activation;
use crate::autograd;
use crate::autograd::trace::{Operation, noted, refuse};
use crate::ops::channels_last::{images, pixels};

impl Module for Activation {
    /// As [`activation`].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        activation(x, self)
    }
}

/// Applies an activation to every element.
///
/// Learnable parameters have their initial value and random slopes their mean. The layer `nn::Act`
/// learns the parameters and draws the slopes.
///
/// # Shapes
/// Any shape and layout; the result has the shape of `x` and is contiguous, or channels-last as `x`
/// without a graph.
///
/// # Errors
/// If the element type is not `f32`, `f64`, `f16` or `bf16`, or is one that the device lacks.
pub fn activation(x: &Tensor, activation: &Activation) -> Result<Tensor> {
    if matches!(activation, Activation::Identity) {
        return Ok(x.clone());
    }
    let y = match pixels(x)? {
        Some(x) => images(&autograd::apply1(Forward(*activation), &x)?)?,
        None => autograd::apply1(Forward(*activation), x)?,
    };
    noted(y, || Operation::Activation(*activation), &[x])
}

/// Replaces every element of `x` by its activation, for inference. It records nothing for a
/// backward pass. Tensors that share the storage of `x` change too.
///
/// # Errors
/// As [`activation`]; also if a backward pass needs `x`, and while a trace records.
pub fn activation_inplace(x: &Tensor, activation: &Activation) -> Result<()> {
    refuse("an activation in place")?;
    if x.track_op() {
        candle_core::bail!(
            "an activation in place would overwrite a tensor that the backward pass needs"
        );
    }
    if x.elem_count() == 0 && x.dtype().is_float() {
        // Candle would refuse the strides of some empty tensors.
        return Ok(());
    }
    x.inplace_op1(&InPlace(*activation))
}

/// The gradient of `x`, given the gradient `grad` of f(x): the backward pass of [`activation`]. The
/// result is not part of a graph.
///
/// It is `grad` times the derivative, also where PyTorch selects: if the derivative is 0, an infinite
/// gradient becomes NaN.
///
/// # Shapes
/// x and grad: any shape, the same for both, in any layout; the result is contiguous.
///
/// # Errors
/// As [`activation`]; also if `grad` differs from `x` in shape or element type.
pub fn activation_gradient(x: &Tensor, grad: &Tensor, activation: &Activation) -> Result<Tensor> {
    if matches!(activation, Activation::Identity) {
        return Ok(grad.clone());
    }
    x.apply_op2_no_bwd(grad, &Backward(*activation))
}

struct Forward(Activation);

impl CustomOp1 for Forward {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = cpu::forward(&self.0, x, layout)?;
        Ok((y, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let y = cuda::forward(&self.0, x, layout)?;
        Ok((y, layout.shape().clone()))
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        let y = metal::forward(&self.0, x, layout)?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        activation_gradient(x, grad, &self.0).map(Some)
    }
}

/// (x, gradient of f(x)) to the gradient of x.
struct Backward(Activation);

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "activation-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let gradient = cpu::backward(&self.0, x, x_layout, grad, grad_layout)?;
        Ok((gradient, x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        grad: &candle_core::CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let gradient = cuda::backward(&self.0, x, x_layout, grad, grad_layout)?;
        Ok((gradient, x_layout.shape().clone()))
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        x_layout: &Layout,
        grad: &candle_core::MetalStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        let gradient = metal::backward(&self.0, x, x_layout, grad, grad_layout)?;
        Ok((gradient, x_layout.shape().clone()))
    }
}

struct InPlace(Activation);

impl InplaceOp1 for InPlace {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        cpu::in_place(&self.0, x, layout)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &mut candle_core::CudaStorage, layout: &Layout) -> Result<()> {
        cuda::in_place(&self.0, x, layout)
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(&self, x: &mut candle_core::MetalStorage, layout: &Layout) -> Result<()> {
        metal::in_place(&self.0, x, layout)
    }
}
