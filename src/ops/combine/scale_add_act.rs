//! The end of a residual block with squeeze-and-excitation as one op.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::channels_last::all_pixels;
use super::planes;
use super::scale::{check_factors, scale_channels};
use super::sum::add;
use crate::activation::Activation;
use crate::autograd::trace::is_tracing;
use crate::ops::activation::{activation as activate, has_kernel};
use crate::ops::composed::{apply3, composes};
use crate::ops::storage::{Float, on_cpu, same_dtype, with_float};
use crate::simd::Real;

pub(super) const OP: &str = "scale_channels_add_act";

/// `act(x[n, c, ..] * s[n, c] + residual)`: the values of
/// [`scale_channels`], [`add`](super::add) and [`activation`](crate::ops::activation()) in one pass
/// over memory, forward and backward.
///
/// In f16 and bf16 it rounds only the result.
///
/// # Shapes
/// - `x`, `residual` and the result: `[N, C, H, W]`
/// - `s`: `[N, C]` or `[N, C, 1, 1]`
///
/// # Errors
/// If shapes or types do not fit.
pub fn scale_channels_add_act(
    x: &Tensor,
    s: &Tensor,
    residual: &Tensor,
    activation: &Activation,
) -> Result<Tensor> {
    check_factors(OP, x, s)?;
    if residual.dims() != x.dims() {
        bail!(
            "{OP}: the residual {:?} does not fit {:?}",
            residual.dims(),
            x.dims()
        );
    }
    if is_tracing() || all_pixels(&[x, residual])?.is_some() {
        // A trace has the separate operations, and they keep the order of channels-last images.
        return activate(&add(&scale_channels(x, s)?, residual)?, activation);
    }
    // An activation without a vector kernel is applied to the result.
    let fused = if has_kernel(activation) {
        *activation
    } else {
        Activation::Identity
    };
    let y = apply3(ScaleAddAct { activation: fused }, x, s, residual)?;
    if fused == *activation {
        Ok(y)
    } else {
        activate(&y, activation)
    }
}

/// act(x s + residual), of an activation with a vector kernel.
pub(super) struct ScaleAddAct {
    pub activation: Activation,
}

type Argument<'a> = (&'a CpuStorage, &'a Layout);

impl ScaleAddAct {
    /// The gradients of x, s and the residual.
    fn gradients<T: Float + Real>(
        &self,
        [x, s, residual]: [&Tensor; 3],
        grad: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let run = |x: Argument, s: Argument, residual: Argument, grad: Argument| {
            let (x, s) = (T::read(x.0, x.1)?, T::read(s.0, s.1)?);
            let (residual, grad) = (T::read(residual.0, residual.1)?, T::read(grad.0, grad.1)?);
            let planes = [&*x, &*residual, &*grad];
            Ok(planes::added_gradients(&self.activation, planes, &s))
        };
        let [dx, ds, dz] = on_cpu(OP, x, |x, x_layout| {
            on_cpu(OP, s, |s, s_layout| {
                on_cpu(OP, residual, |r, r_layout| {
                    on_cpu(OP, grad, |g, g_layout| {
                        run((x, x_layout), (s, s_layout), (r, r_layout), (g, g_layout))
                    })
                })
            })
        })?;
        let like = |values: Vec<T>, x: &Tensor| {
            Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())
        };
        Ok([like(dx, x)?, like(ds, s)?, like(dz, residual)?])
    }
}

impl CustomOp3 for ScaleAddAct {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        s: &CpuStorage,
        s_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(OP, dtype, s.dtype())?;
        same_dtype(OP, dtype, residual.dtype())?;
        let y = with_float!(dtype, OP, T => {
            let (x, s) = (T::read(x, x_layout)?, T::read(s, s_layout)?);
            let residual = T::read(residual, residual_layout)?;
            let y = planes::added(&self.activation, [&*x, &*residual], &s);
            T::into_storage(y, dtype)?
        });
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        s: &Tensor,
        residual: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        same_dtype(OP, x.dtype(), grad.dtype())?;
        let inputs = [x, s, residual];
        let [dx, ds, dz] = if x.elem_count() == 0 {
            [x.zeros_like()?, s.zeros_like()?, residual.zeros_like()?]
        } else if composes(x) {
            self.composed_gradients(inputs, grad)?
        } else {
            with_float!(x.dtype(), OP, T => self.gradients::<T>(inputs, grad)?)
        };
        Ok((Some(dx), Some(ds), Some(dz)))
    }
}
