//! Multiplication by one factor, or by one factor per channel of each image as in
//! squeeze-and-excitation.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail,
};
use rayon::prelude::*;

use super::channels_last;
use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::{apply1, apply2, run1, run2};
use crate::ops::storage::{Float, PARALLEL_THRESHOLD, build, same_dtype, with_float};

const OP: &str = "scale_channels";

/// `x[n, c, ..] * s[n, c]`: `[N, C, H, W]` and `[N, C]` or `[N, C, 1, 1]` to `[N, C, H, W]`.
///
/// # Errors
/// If shapes or types do not fit.
pub fn scale_channels(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    let &[n, c, _, _] = x.dims() else {
        bail!("{OP} takes [N, C, H, W], not {:?}", x.dims());
    };
    if s.dims() != [n, c] && s.dims() != [n, c, 1, 1] {
        bail!("{OP}: factors {:?} do not fit {:?}", s.dims(), x.dims());
    }
    let y = match channels_last::scale_channels(x, s)? {
        Some(y) => y,
        None => apply2(ScaleChannels, x, s)?,
    };
    noted(y, || Operation::ScaleChannels, &[x, s])
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
            let factor = T::from_f64(self.factor);
            let y = T::read(x, layout)?.iter().map(|x| *x * factor).collect();
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
            let plane = x.len() / s.len().max(1);
            let scale = |index: usize, chunk: &mut [std::mem::MaybeUninit<T>]| {
                for (y, x) in chunk.iter_mut().zip(&x[index * plane..]) {
                    y.write(x * s[index]);
                }
            };
            // SAFETY: `x` is as long as the result, so the zip writes all of a chunk.
            T::into_storage(unsafe { build(x.len(), plane.max(1), scale) }, dtype)?
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
            let plane = x.len() / factors.max(1);
            let sum = |index: usize| {
                let lines = x[index * plane..][..plane].iter();
                let products = lines.zip(&grad[index * plane..]).map(|(x, g)| (x * g).to_f64());
                T::from_f64(products.sum())
            };
            let min = PARALLEL_THRESHOLD.div_ceil(plane.max(1));
            let ds = (0..factors).into_par_iter().with_min_len(min).map(sum).collect();
            T::into_storage(ds, dtype)?
        });
        Ok((ds, self.shape.clone()))
    }
}
