//! In-place updates of the elements of tensors on the CPU, split over threads.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail};

use super::number::{Element, Scalar};
use super::traits::ElementStep;
use super::update::{Prepare, Update};

/// The most elements of a task: for fewer, a second thread costs more than it saves.
const ELEMENTS_PER_TASK: usize = 64 * 1024;

/// Applies one step of a rule to a parameter and its buffers.
pub(super) fn apply(
    update: &Update,
    step: &impl ElementStep,
    var: &Var,
    gradient: &Tensor,
    buffers: &[Tensor],
) -> Result<()> {
    match update.plain() {
        Some(plain) => apply_prepared(&plain, step, var, gradient, buffers),
        None => apply_prepared(update, step, var, gradient, buffers),
    }
}

/// As [`apply`], with any preparation of weight and gradient.
pub(super) fn apply_prepared(
    update: &impl Prepare,
    step: &impl ElementStep,
    var: &Var,
    gradient: &Tensor,
    buffers: &[Tensor],
) -> Result<()> {
    match var.dtype() {
        DType::F32 => apply_as::<f32, _, _>(update, step, var, gradient, buffers),
        DType::F64 => apply_as::<f64, _, _>(update, step, var, gradient, buffers),
        dtype => bail!("the optimizers update f32 and f64 parameters, not {dtype:?}"),
    }
}

fn apply_as<T: Scalar, P: Prepare, S: ElementStep>(
    update: &P,
    step: &S,
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
            in_parallel(update, step, weights, gradient, buffers);
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
/// the next tensor, and the innermost op has all slices.
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
fn in_parallel<T: Scalar, P: Prepare, S: ElementStep>(
    update: &P,
    step: &S,
    weights: &mut [T],
    gradient: &[T],
    buffers: Vec<&mut [T]>,
) {
    if weights.len() <= ELEMENTS_PER_TASK {
        let mut buffers = buffers;
        return pulp::Arch::new().dispatch(
            #[inline(always)]
            || run(update, step, weights, gradient, &mut buffers),
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
        || in_parallel(update, step, left, left_gradient, left_buffers),
        || in_parallel(update, step, right, right_gradient, right_buffers),
    );
}

/// Updates `weights` and `buffers` from `gradient`. All have the same length.
#[inline(always)]
fn run<T: Scalar, P: Prepare, S: ElementStep>(
    update: &P,
    step: &S,
    weights: &mut [T],
    gradient: &[T],
    buffers: &mut [&mut [T]],
) {
    let pairs = weights.iter_mut().zip(gradient);
    match buffers {
        [a, b, c, ..] => {
            let buffers = a.iter_mut().zip(b.iter_mut()).zip(c.iter_mut());
            for ((w, g), ((a, b), c)) in pairs.zip(buffers) {
                let mut state = [Element(*a), Element(*b), Element(*c)];
                one(update, step, w, g, &mut state);
                [*a, *b, *c] = state.map(|element| element.0);
            }
        }
        [a, b] => {
            for ((w, g), (a, b)) in pairs.zip(a.iter_mut().zip(b.iter_mut())) {
                let mut state = [Element(*a), Element(*b)];
                one(update, step, w, g, &mut state);
                [*a, *b] = state.map(|element| element.0);
            }
        }
        [a] => {
            for ((w, g), a) in pairs.zip(a.iter_mut()) {
                let mut state = [Element(*a)];
                one(update, step, w, g, &mut state);
                [*a] = state.map(|element| element.0);
            }
        }
        [] => {
            for (w, g) in pairs {
                one(update, step, w, g, &mut []);
            }
        }
    }
}

/// Updates one weight and its buffers `state`.
#[inline(always)]
fn one<T: Scalar, P: Prepare, S: ElementStep>(
    update: &P,
    step: &S,
    weight: &mut T,
    gradient: &T,
    state: &mut [Element<T>],
) {
    let (w, g) = update.prepare(Element(*weight), Element(*gradient));
    *weight = step.update(w, g, state).0;
}
