//! Concatenation along an axis.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};

use super::channels_last::cat_channels;
use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::{apply1, apply2, apply3, run1};
use crate::ops::storage::{Float, build, same_dtype, with_float};

/// Concatenates `tensors` along axis `dim`: `[N, C1, H, W]`, `[N, C2, H, W]`, … to
/// `[N, C1 + C2 + …, H, W]` with `dim` 1.
///
/// Up to three tensors are one node of the graph, more are a tree of such nodes.
///
/// # Errors
/// If there is no tensor, `dim` is not one of their axes, or they differ in type or in another
/// axis.
pub fn cat(tensors: &[&Tensor], dim: usize) -> Result<Tensor> {
    let y = joined(tensors, dim)?;
    match tensors {
        [_] => Ok(y),
        _ => noted(y, || Operation::Cat { dim }, tensors),
    }
}

/// [`cat`] without a note in the trace, where a tree of nodes is one operation.
fn joined(tensors: &[&Tensor], dim: usize) -> Result<Tensor> {
    let Some((first, others)) = tensors.split_first() else {
        bail!("cat needs at least one tensor");
    };
    if dim >= first.rank() {
        bail!("cat: {:?} has no axis {dim}", first.dims());
    }
    for other in others {
        let fits = |(axis, (a, b)): (usize, (&usize, &usize))| axis == dim || a == b;
        let pairs = first.dims().iter().zip(other.dims());
        if other.rank() != first.rank() || !pairs.enumerate().all(fits) {
            bail!(
                "cat along axis {dim}: {:?} does not fit {:?}",
                other.dims(),
                first.dims()
            );
        }
        same_dtype("cat", first.dtype(), other.dtype())?;
    }
    let total = tensors.iter().map(|tensor| tensor.dims()[dim]);
    if total
        .into_iter()
        .try_fold(0usize, usize::checked_add)
        .is_none()
    {
        bail!("cat: the tensors are too long along axis {dim}");
    }
    if dim == 1
        && tensors.len() > 1
        && let Some(y) = cat_channels(tensors)?
    {
        return Ok(y);
    }
    match *tensors {
        [a] => Ok(a.clone()),
        [a, b] => apply2(Cat { dim }, a, b),
        [a, b, c] => apply3(Cat { dim }, a, b, c),
        _ => {
            let parts = tensors.chunks(tensors.len().div_ceil(3));
            let parts = parts
                .map(|part| joined(part, dim))
                .collect::<Result<Vec<_>>>()?;
            joined(&parts.iter().collect::<Vec<_>>(), dim)
        }
    }
}

/// Stacks `tensors` of one shape along a new first axis: `[C]`, `[C]` to `[2, C]`.
///
/// # Errors
/// As [`cat`].
pub fn stack(tensors: &[&Tensor]) -> Result<Tensor> {
    let parts = tensors.iter().map(|t| apply1(Unsqueeze, t));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let y = joined(&parts.iter().collect::<Vec<_>>(), 0)?;
    noted(y, || Operation::Stack, tensors)
}

pub(super) struct Cat {
    pub dim: usize,
}

impl Cat {
    fn forward(&self, parts: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let (first, layout) = parts[0];
        let mut dims = layout.dims().to_vec();
        dims[self.dim] = parts.iter().map(|(_, l)| l.dims()[self.dim]).sum();
        let outer: usize = dims[..self.dim].iter().product();
        let dtype = first.dtype();
        let y = with_float!(dtype, "cat", T => {
            let values = parts.iter().map(|part| T::read(part.0, part.1));
            let parts = values.collect::<Result<Vec<_>>>()?;
            let lens: Vec<usize> = parts.iter().map(|p| p.len() / outer.max(1)).collect();
            let len: usize = lens.iter().sum();
            let copy = |index: usize, chunk: &mut [std::mem::MaybeUninit<T>]| {
                let mut rest = chunk;
                for (part, len) in parts.iter().zip(&lens) {
                    let (head, tail) = rest.split_at_mut(*len);
                    for (y, x) in head.iter_mut().zip(&part[index * len..][..*len]) {
                        y.write(*x);
                    }
                    rest = tail;
                }
            };
            // SAFETY: a chunk is as long as the rows of all parts together.
            let y = unsafe { build(outer * len, len.max(1), copy) };
            T::into_storage(y, dtype)?
        });
        Ok((y, dims.into()))
    }

    /// The gradients of the tracked parts.
    fn backward<const N: usize>(
        &self,
        parts: [&Tensor; N],
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let mut start = 0;
        let mut gradients = [const { None }; N];
        for (gradient, part) in gradients.iter_mut().zip(parts) {
            let len = part.dim(self.dim)?;
            if part.track_op() {
                let slice = grad.narrow(self.dim, start, len)?;
                *gradient = Some(run1(&Copy, &slice)?);
            }
            start += len;
        }
        Ok(gradients)
    }
}

impl CustomOp2 for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(a, a_layout), (b, b_layout)])
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [da, db] = self.backward([a, b], grad)?;
        Ok((da, db))
    }
}

impl CustomOp3 for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
        c: &CpuStorage,
        c_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(a, a_layout), (b, b_layout), (c, c_layout)])
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [da, db, dc] = self.backward([a, b, c], grad)?;
        Ok((da, db, dc))
    }
}

/// A copy of a slice. A view would keep the whole gradient alive.
pub(super) struct Copy;

impl CustomOp1 for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let y = with_float!(dtype, self.name(), T => {
            T::into_storage(T::read(x, layout)?.into_owned(), dtype)?
        });
        Ok((y, layout.shape().clone()))
    }
}

/// Adds a first axis of size 1.
pub(super) struct Unsqueeze;

impl CustomOp1 for Unsqueeze {
    fn name(&self) -> &'static str {
        "unsqueeze"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, _) = CustomOp1::cpu_fwd(&Copy, x, layout)?;
        let dims: Vec<usize> = [1]
            .into_iter()
            .chain(layout.dims().iter().copied())
            .collect();
        Ok((y, dims.into()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.squeeze(0).map(Some)
    }
}
