//! Slices, reshapes and permutations, as nodes of the tape.
//!
//! Candle's own ops give the same values, but they are not on the tape: Candle's slower backward
//! would then differentiate the whole network before them.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};

use super::concat::cat;
use crate::autograd::trace::{Operation, noted};
use crate::ops::channels_last::{images, pixels};
use crate::ops::composed::apply1;
use crate::ops::storage::{Float, elements, with_float};

/// The `len` positions of `x` along axis `dim`, from `start` on: for example half of the channels.
///
/// # Errors
/// If `dim` is not an axis, or the axis is shorter than `start + len`.
pub fn narrow(x: &Tensor, dim: usize, start: usize, len: usize) -> Result<Tensor> {
    match x.dims().get(dim) {
        Some(size) if start.checked_add(len).is_some_and(|end| end <= *size) => {
            let y = match pixels(x)? {
                Some(x) if dim == 1 => images(&apply1(Narrow { dim: 3, start, len }, &x)?)?,
                _ => apply1(Narrow { dim, start, len }, x)?,
            };
            noted(y, || Operation::Narrow { dim, start, len }, &[x])
        }
        _ => bail!(
            "narrow: {:?} has no positions {start} to {start} + {len} on axis {dim}",
            x.dims()
        ),
    }
}

/// `x` with `before` zeros at the start of axis `dim` and `after` zeros at its end: for example the
/// channels of a parameter-free shortcut.
///
/// # Errors
/// If `dim` is not an axis, or the result has too many elements.
pub fn pad(x: &Tensor, dim: usize, before: usize, after: usize) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let Some(size) = dims.get_mut(dim) else {
        bail!("pad: {:?} has no axis {dim}", x.dims());
    };
    *size = size.saturating_add(before).saturating_add(after);
    elements("pad", &dims)?;
    let y = apply1(Pad { dim, before, after }, x)?;
    noted(y, || Operation::Pad { dim, before, after }, &[x])
}

/// The same values in row-major order in another shape.
///
/// # Errors
/// If the shape has another number of elements.
pub fn reshape(x: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape = shape.into();
    if shape.elem_count() != x.elem_count() {
        bail!("reshape: {:?} does not fit {:?}", x.dims(), shape.dims());
    }
    noted(apply1(Reshape { shape }, x)?, || Operation::Reshape, &[x])
}

/// Merges all axes from `dim` on into one: `[N, C, H, W]` to `[N, C H W]` with `dim` 1.
///
/// # Errors
/// If `dim` is larger than the number of axes.
pub fn flatten_from(x: &Tensor, dim: usize) -> Result<Tensor> {
    let Some((outer, inner)) = x.dims().split_at_checked(dim) else {
        bail!("flatten_from: {:?} has no axis {dim}", x.dims());
    };
    let mut dims = outer.to_vec();
    dims.push(elements("flatten_from", inner)?);
    reshape(x, dims)
}

/// The axes in the order of `axes`: `[N, C, H, W]` to `[N, H, W, C]` with `[0, 2, 3, 1]`.
///
/// # Errors
/// If `axes` does not contain each axis once.
pub fn permute(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut inverse = vec![usize::MAX; x.rank()];
    for (to, from) in axes.iter().enumerate() {
        if let Some(place) = inverse.get_mut(*from) {
            *place = to;
        }
    }
    if axes.len() != x.rank() || inverse.contains(&usize::MAX) {
        bail!(
            "permute: {axes:?} is not a permutation of the axes of {:?}",
            x.dims()
        );
    }
    let order = axes.to_vec();
    let op = Permute {
        axes: order.clone(),
        inverse,
    };
    noted(apply1(op, x)?, || Operation::Permute { axes: order }, &[x])
}

fn copy(op: &str, x: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
    let dtype = x.dtype();
    with_float!(dtype, op, T => T::into_storage(T::read(x, layout)?.into_owned(), dtype))
}

pub(super) struct Narrow {
    pub dim: usize,
    pub start: usize,
    pub len: usize,
}

impl CustomOp1 for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let layout = layout.narrow(self.dim, self.start, self.len)?;
        Ok((copy(self.name(), x, &layout)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let zeros = |len: usize| {
            let mut dims = x.dims().to_vec();
            dims[self.dim] = len;
            Tensor::zeros(dims, grad.dtype(), grad.device())
        };
        let after = x.dim(self.dim)? - self.start - self.len;
        let (before, after) = (zeros(self.start)?, zeros(after)?);
        cat(&[&before, grad, &after], self.dim).map(Some)
    }
}

pub(super) struct Pad {
    pub dim: usize,
    pub before: usize,
    pub after: usize,
}

impl CustomOp1 for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (before, dims) = layout.dims().split_at(self.dim);
        let outer: usize = before.iter().product();
        let inner: usize = dims.iter().skip(1).product();
        let mut padded = layout.dims().to_vec();
        // An empty tensor may have an axis of any size.
        padded[self.dim] = dims[0]
            .saturating_add(self.before)
            .saturating_add(self.after);
        let [given, wanted, start] =
            [dims[0], padded[self.dim], self.before].map(|size| size.saturating_mul(inner));
        let shape = Shape::from(padded);
        let dtype = x.dtype();
        let y = with_float!(dtype, self.name(), T => {
            let x = T::read(x, layout)?;
            let mut y = vec![T::from_f64(0.0); shape.elem_count()];
            for i in 0..outer {
                y[i * wanted + start..][..given].copy_from_slice(&x[i * given..][..given]);
            }
            T::into_storage(y, dtype)?
        });
        Ok((y, shape))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        narrow(grad, self.dim, self.before, x.dim(self.dim)?).map(Some)
    }
}

pub(super) struct Reshape {
    pub shape: Shape,
}

impl CustomOp1 for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((copy(self.name(), x, layout)?, self.shape.clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.reshape(x.shape()).map(Some)
    }
}

pub(super) struct Permute {
    pub axes: Vec<usize>,
    inverse: Vec<usize>,
}

impl CustomOp1 for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let layout = layout.permute(&self.axes)?;
        Ok((copy(self.name(), x, &layout)?, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.permute(self.inverse.as_slice())?;
        grad.contiguous().map(Some)
    }
}
