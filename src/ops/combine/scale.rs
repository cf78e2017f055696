//! Multiplication by one factor, or by one factor per channel of each image as in
//! squeeze-and-excitation.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::{channels_last, planes};
use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::{apply1, apply2, composes, run1, run2};
use crate::ops::storage::{Float, PARALLEL_THRESHOLD, build, on_cpu, same_dtype, with_float};
use crate::simd;

const OP: &str = "scale_channels";

/// `x[n, c, ..] * s[n, c]`: `[N, C, H, W]` and `[N, C]` or `[N, C, 1, 1]` to `[N, C, H, W]`.
///
/// # Errors
/// If shapes or types do not fit.
pub fn scale_channels(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    check_factors(OP, x, s)?;
    let y = match channels_last::scale_channels(x, s)? {
        Some(y) => y,
        None => apply2(ScaleChannels, x, s)?,
    };
    noted(y, || Operation::ScaleChannels, &[x, s])
}

/// Fails unless `s` has a factor for each channel of each image of `x`.
pub(super) fn check_factors(op: &str, x: &Tensor, s: &Tensor) -> Result<()> {
    let &[n, c, _, _] = x.dims() else {
        bail!("{op} takes [N, C, H, W], not {:?}", x.dims());
    };
    if s.dims() != [n, c] && s.dims() != [n, c, 1, 1] {
        bail!("{op}: factors {:?} do not fit {:?}", s.dims(), x.dims());
    }
    Ok(())
}

/// `factor x`, of any shape.
///
/// # Errors
/// If `x` is not floating-point.
pub fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    let y = apply1(Scale { factor }, x)?;
    noted(y, || Operation::Scale { factor }, &[x])
}

pub(super) struct Scale {
    pub factor: f64,
}

impl CustomOp1 for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let y = with_float!(dtype, self.name(), T => {
            let x = T::read(x, layout)?;
            let factor = T::from_f64(self.factor);
            let product = |index: usize, chunk: &mut [std::mem::MaybeUninit<T>]| {
                let x = &x[index * PARALLEL_THRESHOLD..];
                for (y, x) in chunk.iter_mut().zip(x) {
                    y.write(*x * factor);
                }
            };
            // SAFETY: `x` is as long as the result, so the zip writes all of a chunk.
            let y = unsafe { build(x.len(), PARALLEL_THRESHOLD, product) };
            T::into_storage(y, dtype)?
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let factor = self.factor;
        run1(&Self { factor }, grad).map(Some)
    }
}

pub(super) struct ScaleChannels;

/// The gradient of the factors: the sum of `x * grad` over each plane, in the factors' shape.
pub(super) struct FactorGrad {
    pub shape: Shape,
}

impl CustomOp2 for ScaleChannels {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        s: &CpuStorage,
        s_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(OP, dtype, s.dtype())?;
        let y = with_float!(dtype, OP, T => {
            let (x, s) = (T::read(x, x_layout)?, T::read(s, s_layout)?);
            T::into_storage(planes::scaled(&x, &s), dtype)?
        });
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        s: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        same_dtype(OP, x.dtype(), grad.dtype())?;
        if x.track_op() && s.track_op() && !composes(x) {
            let (dx, ds) = with_float!(x.dtype(), OP, T => gradients::<T>(x, s, grad)?);
            return Ok((Some(dx), Some(ds)));
        }
        let dx = if x.track_op() {
            Some(run2(&ScaleChannels, grad, s)?)
        } else {
            None
        };
        let ds = if s.track_op() {
            let shape = s.shape().clone();
            Some(run2(&FactorGrad { shape }, x, grad)?)
        } else {
            None
        };
        Ok((dx, ds))
    }
}

/// The gradients of x and s in one pass over memory.
fn gradients<T: Float + simd::Real>(
    x: &Tensor,
    s: &Tensor,
    grad: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (dx, ds) = on_cpu(OP, x, |x, x_layout| {
        on_cpu(OP, s, |s, s_layout| {
            on_cpu(OP, grad, |grad, grad_layout| {
                let (x, s) = (T::read(x, x_layout)?, T::read(s, s_layout)?);
                let grad = T::read(grad, grad_layout)?;
                Ok(planes::scaled_gradients(&x, &s, &grad))
            })
        })
    })?;
    let like = |values: Vec<T>, x: &Tensor| {
        Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())
    };
    Ok((like(dx, x)?, like(ds, s)?))
}

impl CustomOp2 for FactorGrad {
    fn name(&self) -> &'static str {
        "scale_channels_factor_grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(OP, dtype, grad.dtype())?;
        let factors = self.shape.elem_count();
        let ds = with_float!(dtype, OP, T => {
            let (x, grad) = (T::read(x, x_layout)?, T::read(grad, grad_layout)?);
            T::into_storage(planes::factor_gradients(&x, &grad, factors), dtype)?
        });
        Ok((ds, self.shape.clone()))
    }
}
