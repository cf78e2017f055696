//! The sum of two tensors.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};

use super::channels_last::all_pixels;
use super::scale::Scale;
use crate::autograd::trace::{Operation, noted};
use crate::ops::channels_last::images;
use crate::ops::composed::{apply2, run1};
use crate::ops::storage::{Float, PARALLEL_THRESHOLD, build, same_dtype, with_float};

/// `a + b` of two tensors of the same shape, as at the end of a residual block.
///
/// # Errors
/// If shapes or types differ. It does not broadcast.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    add_scaled(a, b, 1.0)
}

/// `a + scale b` of two tensors of the same shape, as at the end of a scaled residual block.
///
/// # Errors
/// As [`add`].
pub fn add_scaled(a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("add: the shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    let y = match all_pixels(&[a, b])?.as_deref() {
        Some([a, b]) => images(&apply2(Add { scale }, a, b)?)?,
        _ => apply2(Add { scale }, a, b)?,
    };
    noted(y, || Operation::AddScaled { scale }, &[a, b])
}

/// `a + scale b`.
pub(super) struct Add {
    pub scale: f64,
}

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = a.dtype();
        same_dtype(self.name(), dtype, b.dtype())?;
        let y = with_float!(dtype, self.name(), T => {
            let (a, b) = (T::read(a, a_layout)?, T::read(b, b_layout)?);
            let scale = T::from_f64(self.scale);
            let sum = |index: usize, chunk: &mut [std::mem::MaybeUninit<T>]| {
                let start = index * PARALLEL_THRESHOLD;
                let values = a[start..].iter().zip(&b[start..]);
                for (y, (a, b)) in chunk.iter_mut().zip(values) {
                    y.write(*a + scale * *b);
                }
            };
            // SAFETY: `a` and `b` are as long as the result, so the zip writes all of a chunk.
            let y = unsafe { build(a.len(), PARALLEL_THRESHOLD, sum) };
            T::into_storage(y, dtype)?
        });
        Ok((y, a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _a: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_b = if self.scale == 1.0 {
            grad.clone()
        } else {
            let factor = self.scale;
            run1(&Scale { factor }, grad)?
        };
        Ok((Some(grad.clone()), Some(of_b)))
    }
}
