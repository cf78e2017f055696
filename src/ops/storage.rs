//! What CPU kernels read from Candle's storage and hand back to it.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::parallel::for_each_chunk;

/// Values below which one thread does the work: handing over costs a few microseconds.
pub(crate) const PARALLEL_THRESHOLD: usize = 1 << 14;

/// The type that kernels compute in: f32 (also for the halves) or f64.
pub(crate) trait Float: WithDType {
    /// The values that `layout` selects, in row-major order; borrowed where they lie so.
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>>;

    /// `values` as the storage of a tensor of type `dtype`.
    fn into_storage(values: Vec<Self>, dtype: DType) -> Result<CpuStorage>;

    fn exp(self) -> Self;
}

impl Float for f32 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>> {
        match storage {
            CpuStorage::F32(data) => Ok(rows(data, layout)),
            CpuStorage::F16(data) => Ok(converted(data, layout, f16::to_f32)),
            CpuStorage::BF16(data) => Ok(converted(data, layout, bf16::to_f32)),
            _ => bail!("expected f32, f16 or bf16 values"),
        }
    }

    fn into_storage(values: Vec<Self>, dtype: DType) -> Result<CpuStorage> {
        match dtype {
            DType::F32 => Ok(CpuStorage::F32(values)),
            DType::F16 => Ok(CpuStorage::F16(convert(&values, f16::from_f32))),
            DType::BF16 => Ok(CpuStorage::BF16(convert(&values, bf16::from_f32))),
            dtype => bail!("no {dtype:?} tensor is made from f32 values"),
        }
    }

    fn exp(self) -> Self {
        self.exp()
    }
}

impl Float for f64 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>> {
        match storage {
            CpuStorage::F64(data) => Ok(rows(data, layout)),
            _ => bail!("expected f64 values"),
        }
    }

    fn into_storage(values: Vec<Self>, dtype: DType) -> Result<CpuStorage> {
        match dtype {
            DType::F64 => Ok(CpuStorage::F64(values)),
            dtype => bail!("no {dtype:?} tensor is made from f64 values"),
        }
    }

    fn exp(self) -> Self {
        self.exp()
    }
}

/// Runs `$body` with `$T` as the type that kernels compute in for tensors of `$dtype`.
macro_rules! with_float {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            candle_core::DType::F32 | candle_core::DType::F16 | candle_core::DType::BF16 => {
                type $T = f32;
                $body
            }
            dtype => candle_core::bail!("{} takes f32, f64, f16 or bf16, not {dtype:?}", $op),
        }
    };
}
pub(crate) use with_float;

/// The values that `layout` selects from `data`, in row-major order.
pub(crate) fn rows<'a, T: Copy>(data: &'a [T], layout: &Layout) -> Cow<'a, [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Cow::Borrowed(&data[start..end]),
        None => Cow::Owned(gather(data, layout, |value| value)),
    }
}

fn converted<'a, S: Copy + Sync, T: Copy + Send>(
    data: &[S],
    layout: &Layout,
    to: impl Fn(S) -> T + Sync,
) -> Cow<'a, [T]> {
    Cow::Owned(match layout.contiguous_offsets() {
        Some((start, end)) => convert(&data[start..end], to),
        None => gather(data, layout, to),
    })
}

fn convert<S: Copy + Sync, T: Copy + Send>(data: &[S], to: impl Fn(S) -> T + Sync) -> Vec<T> {
    data.par_iter()
        .with_min_len(PARALLEL_THRESHOLD)
        .map(|value| to(*value))
        .collect()
}

fn gather<S: Copy, T>(data: &[S], layout: &Layout, to: impl Fn(S) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(layout.shape().elem_count());
    let mut visit = |start: usize, len: usize, step: usize| match step {
        1 => values.extend(data[start..start + len].iter().map(|v| to(*v))),
        _ => values.extend((0..len).map(|i| to(data[start + i * step]))),
    };
    walk(
        layout.dims(),
        layout.stride(),
        layout.start_offset(),
        &mut visit,
    );
    values
}

/// Calls `visit(start, len, step)` for each line along the last axis.
fn walk(
    dims: &[usize],
    strides: &[usize],
    start: usize,
    visit: &mut impl FnMut(usize, usize, usize),
) {
    match (dims, strides) {
        (&[len], &[step]) => visit(start, len, step),
        (&[len, ref dims @ ..], &[step, ref strides @ ..]) => {
            for i in 0..len {
                walk(dims, strides, start + i * step, visit);
            }
        }
        _ => visit(start, 1, 1),
    }
}

/// `len` values written in chunks of `chunk` by `fill(index of the chunk, chunk)`, in parallel
/// where the work is worth it. The memory is not cleared before.
///
/// # Safety
/// `fill` must initialise every value of the chunk that it is given.
pub(crate) unsafe fn build<T: Copy + Send>(
    len: usize,
    chunk: usize,
    fill: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    if len == 0 {
        return values;
    }
    let min_len = PARALLEL_THRESHOLD.div_ceil(chunk);
    for_each_chunk(
        &mut values.spare_capacity_mut()[..len],
        chunk,
        min_len,
        &fill,
    );
    // SAFETY: the capacity is at least `len`, and `fill` has initialised every chunk of it.
    unsafe { values.set_len(len) };
    values
}

/// Fills `values` with `value`.
pub(crate) fn fill<T: Copy>(values: &mut [MaybeUninit<T>], value: T) -> &mut [T] {
    values.fill(MaybeUninit::new(value));
    // SAFETY: every value has just been initialised.
    unsafe { initialised(values) }
}

/// `values` as what they are once they have been written.
///
/// # Safety
/// Every value must have been initialised.
pub(crate) unsafe fn initialised<T>(values: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: `MaybeUninit<T>` is laid out as `T`, and the caller has initialised all of them.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [T]) }
}

/// Fails unless both tensors that `op` is given have one type.
pub(crate) fn same_dtype(op: &str, a: DType, b: DType) -> Result<()> {
    if a != b {
        bail!("{op} takes tensors of one type, not {a:?} and {b:?}");
    }
    Ok(())
}
/// What `kernel` makes of the values of `x`, which must be on the CPU.
pub(crate) fn on_cpu<R>(
    op: &str,
    x: &Tensor,
    kernel: impl FnOnce(&CpuStorage, &Layout) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => kernel(storage, layout),
        Storage::Cuda(_) => bail!("{op} has no CUDA implementation yet"),
        Storage::Metal(_) => bail!("{op} has no Metal implementation yet"),
    }
}
