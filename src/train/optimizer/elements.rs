//! In-place updates of the elements of tensors on the CPU, split over threads.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail};

use super::rules::Update;
use super::scalar::Scalar;

/// A task has at most this number of elements: a second thread does not pay for fewer.
const ELEMENTS_PER_TASK: usize = 64 * 1024;

/// Applies `update` to one parameter and its buffers.
pub(super) fn apply(
    update: &Update<'_>,
    var: &Var,
    gradient: &Tensor,
    buffers: &[Tensor],
) -> Result<()> {
    match var.dtype() {
        DType::F32 => apply_as::<f32>(update, var, gradient, buffers),
        DType::F64 => apply_as::<f64>(update, var, gradient, buffers),
        dtype => bail!("the optimizers update f32 and f64 parameters, not {dtype:?}"),
    }
}

fn apply_as<T: Scalar>(
    update: &Update<'_>,
    var: &Var,
    gradient: &Tensor,
    buffers: &[Tensor],
) -> Result<()> {
    let gradient = gradient.contiguous()?;
    let (storage, layout) = gradient.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        bail!("a gradient is not on the device of its parameter")
    };
    let Some(gradient) = elements::<T>(storage, layout) else {
        bail!("a gradient has another dtype than its parameter")
    };
    let tensors: Vec<&Tensor> = std::iter::once(var.as_tensor()).chain(buffers).collect();
    borrow_all(&tensors, Vec::new(), &mut |mut slices| {
        let buffers = slices.split_off(1);
        if let Some(weights) = slices.pop() {
            in_parallel(update, weights, gradient, buffers);
        }
        Ok(())
    })
}

fn elements<'a, T: Scalar>(storage: &'a CpuStorage, layout: &Layout) -> Option<&'a [T]> {
    let (start, end) = layout.contiguous_offsets()?;
    T::slice(storage)?.get(start..end)
}

/// Calls `then` with the elements of all `tensors` at once.
///
/// Candle gives an in-place op the storage of one tensor. So the op of each tensor runs the op of
/// the next one, and the innermost op has all slices.
fn borrow_all<T: Scalar>(
    tensors: &[&Tensor],
    borrowed: Vec<&mut [T]>,
    then: &mut dyn FnMut(Vec<&mut [T]>) -> Result<()>,
) -> Result<()> {
    let Some((first, rest)) = tensors.split_first() else {
        return then(borrowed);
    };
    let with_slice = |slice: &mut [T]| {
        let mut borrowed: Vec<&mut [T]> = borrowed;
        borrowed.push(slice);
        borrow_all(rest, borrowed, then)
    };
    first.inplace_op1(&Borrow(
        RefCell::new(Some(with_slice)),
        std::marker::PhantomData::<T>,
    ))
}

/// An in-place op that passes the elements to a closure, once.
struct Borrow<T, F>(RefCell<Option<F>>, std::marker::PhantomData<T>);

impl<T: Scalar, F: FnOnce(&mut [T]) -> Result<()>> InplaceOp1 for Borrow<T, F> {
    fn name(&self) -> &'static str {
        "optimizer"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let range = layout.contiguous_offsets();
        let elements = T::slice_mut(storage).zip(range);
        let elements = elements.and_then(|(all, (start, end))| all.get_mut(start..end));
        match (elements, self.0.take()) {
            (Some(elements), Some(then)) => then(elements),
            _ => bail!("the optimizers need contiguous parameters of one dtype"),
        }
    }
}

/// Splits the elements in halves until a part is small enough for one task. The split does not
/// change the result of an element.
fn in_parallel<T: Scalar>(
    update: &Update<'_>,
    weights: &mut [T],
    gradient: &[T],
    buffers: Vec<&mut [T]>,
) {
    if weights.len() <= ELEMENTS_PER_TASK {
        let mut buffers = buffers;
        return pulp::Arch::new().dispatch(
            #[inline(always)]
            || update.run(weights, gradient, &mut buffers),
        );
    }
    let middle = weights.len() / 2;
    let (left, right) = weights.split_at_mut(middle);
    let (left_gradient, right_gradient) = gradient.split_at(middle);
    let (left_buffers, right_buffers) = buffers
        .into_iter()
        .map(|buffer| buffer.split_at_mut(middle))
        .unzip();
    rayon::join(
        || in_parallel(update, left, left_gradient, left_buffers),
        || in_parallel(update, right, right_gradient, right_buffers),
    );
}
