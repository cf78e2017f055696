//! Gradients through the ops of Candle.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Layout, MetalStorage, Result, Shape, Tensor,
};

use super::gradients::Gradients;

/// The gradients of the variables that `loss` depends on, by Candle's backward pass.
pub(super) fn by_candle(loss: Tensor) -> Result<Gradients> {
    let mut store = loss.backward()?;
    let mut gradients = Gradients::default();
    // Candle's store also has gradients of constants, such as the factor of a product.
    for node in loss.sorted_nodes() {
        if node.is_variable()
            && let Some(gradient) = store.remove(node)
        {
            gradients.insert(node, gradient.detach());
        }
    }
    Ok(gradients)
}

/// The scalar 0, whose backward pass gives its argument `gradient`: Candle's backward pass starts at
/// scalars only.
pub(super) struct Seed {
    pub gradient: Tensor,
}

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        zero(x)
    }

    fn cuda_fwd(&self, x: &CudaStorage, _layout: &Layout) -> Result<(CudaStorage, Shape)> {
        zero(x)
    }

    fn metal_fwd(&self, x: &MetalStorage, _layout: &Layout) -> Result<(MetalStorage, Shape)> {
        zero(x)
    }

    fn bwd(&self, _x: &Tensor, _zero: &Tensor, _grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.gradient.clone()))
    }
}

/// The scalar 0 on the device of `x`. All seeds have one type, so that they have a sum.
fn zero<B>(x: &B) -> Result<(B, Shape)>
where
    B: BackendStorage<Device: BackendDevice<Storage = B>>,
{
    let shape = Shape::from(());
    Ok((x.device().zeros_impl(&shape, DType::F32)?, shape))
}
