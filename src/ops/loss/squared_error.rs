//! The squared error of a reconstruction.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

use crate::ops::composed::{apply2, run3};
use crate::ops::storage::{Float, same_dtype, with_float};

const OP: &str = "squared_error";

/// `scale` times the sum of (x - target)², averaged over the rows. The target receives no gradient.
///
/// # Shapes
/// - `x` and `target`: `[N, ..]`
/// - result: `[]`
///
/// # Errors
/// If shapes or types differ.
pub fn squared_error(x: &Tensor, target: &Tensor, scale: f64) -> Result<Tensor> {
    if x.dims() != target.dims() || x.rank() == 0 {
        bail!(
            "{OP} takes two tensors [N, ..] of one shape, not {:?} and {:?}",
            x.dims(),
            target.dims()
        );
    }
    let scale = scale / x.dims()[0] as f64;
    apply2(SquaredError { scale }, x, &target.detach())
}

pub(super) struct SquaredError {
    pub scale: f64,
}

/// The gradient of [`SquaredError`] with respect to x, given the gradient of the result.
pub(super) struct SquaredErrorGrad {
    pub scale: f64,
}

impl CustomOp2 for SquaredError {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        target: &CpuStorage,
        target_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(OP, dtype, target.dtype())?;
        let error = with_float!(dtype, OP, T => {
            let (x, target) = (T::read(x, x_layout)?, T::read(target, target_layout)?);
            let pairs = x.iter().zip(target.iter());
            let sum: f64 = pairs.map(|(x, t)| (x.to_f64() - t.to_f64()).powi(2)).sum();
            T::into_storage(vec![T::from_f64(self.scale * sum)], dtype)?
        });
        Ok((error, Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        target: &Tensor,
        _error: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let op = SquaredErrorGrad { scale: self.scale };
        Ok((Some(run3(&op, x, target, grad)?), None))
    }
}

impl CustomOp3 for SquaredErrorGrad {
    fn name(&self) -> &'static str {
        "squared_error_grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        target: &CpuStorage,
        target_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let gradient = with_float!(dtype, OP, T => {
            let (x, target) = (T::read(x, x_layout)?, T::read(target, target_layout)?);
            let Some(grad) = T::read(grad, grad_layout)?.first().map(|g| g.to_f64()) else {
                bail!("{}: the gradient of the result is empty", self.name());
            };
            let scale = 2.0 * grad * self.scale;
            let pairs = x.iter().zip(target.iter());
            let slopes = pairs.map(|(x, t)| T::from_f64(scale * (x.to_f64() - t.to_f64())));
            T::into_storage(slopes.collect(), dtype)?
        });
        Ok((gradient, x_layout.shape().clone()))
    }
}
