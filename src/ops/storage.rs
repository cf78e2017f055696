//! The slices of Candle's storage that CPU kernels read and write. All ops share these: the element
//! trait, the gather of a layout, and (from [`crate::parallel`]) uninitialised buffers and the size
//! from which threads pay.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use half::{bf16, f16};
use rayon::prelude::*;

use super::memory_format::{MemoryFormat, reordered};
pub(crate) use crate::parallel::{PARALLEL_THRESHOLD, build, try_written, written};

/// The type that kernels compute in: f32 (also for the halves) or f64.
pub(crate) trait Float: WithDType {
    /// The values that `layout` selects, in row-major order; borrowed if they are contiguous.
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>>;

    /// `values` as the storage of a tensor of type `dtype`.
    fn into_storage(values: Vec<Self>, dtype: DType) -> Result<CpuStorage>;

    fn exp(self) -> Self;
}

impl Float for f32 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>> {
        match storage {
            CpuStorage::F32(_) => {
                let (values, format) = read_images(storage, layout)?;
                let &[_, channels, height, width] = layout.dims() else {
                    return Ok(values);
                };
                let formats = (format, MemoryFormat::Contiguous);
                Ok(reordered(values, formats, channels, height * width))
            }
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
            dtype => bail!("f32 values cannot become a {dtype:?} tensor"),
        }
    }

    fn exp(self) -> Self {
        self.exp()
    }
}

impl Float for f64 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>> {
        match storage {
            CpuStorage::F64(data) => Ok(contiguous(data, layout)),
            _ => bail!("expected f64 values"),
        }
    }

    fn into_storage(values: Vec<Self>, dtype: DType) -> Result<CpuStorage> {
        match dtype {
            DType::F64 => Ok(CpuStorage::F64(values)),
            dtype => bail!("f64 values cannot become a {dtype:?} tensor"),
        }
    }

    fn exp(self) -> Self {
        self.exp()
    }
}

/// Runs `$body` with `$T` as the compute type of tensors of `$dtype`.
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

/// The values that `layout` selects, in f32, and their order: as they are in memory if the layout
/// has a format, else copied to row-major order.
pub(crate) fn read_images<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<(Cow<'a, [f32]>, MemoryFormat)> {
    match (storage, MemoryFormat::of(layout)) {
        (CpuStorage::F32(data), Some(MemoryFormat::ChannelsLast)) => {
            let start = layout.start_offset();
            let values = &data[start..start + layout.shape().elem_count()];
            Ok((Cow::Borrowed(values), MemoryFormat::ChannelsLast))
        }
        (CpuStorage::F32(data), _) => Ok((contiguous(data, layout), MemoryFormat::Contiguous)),
        _ => Ok((f32::read(storage, layout)?, MemoryFormat::Contiguous)),
    }
}

/// The values that `layout` selects from `data`, in row-major order.
pub(crate) fn contiguous<'a, T: Copy>(data: &'a [T], layout: &Layout) -> Cow<'a, [T]> {
    match layout.contiguous_offsets() {
        // The start of an empty view may be after the end of the storage.
        Some((start, end)) if start == end => Cow::Borrowed(&[]),
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
        Some((start, end)) if start == end => Vec::new(),
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
    for_each_line(layout, |start, len, step| match step {
        1 => values.extend(data[start..start + len].iter().map(|v| to(*v))),
        _ => values.extend((0..len).map(|i| to(data[start + i * step]))),
    });
    values
}

/// Calls `visit(start, len, step)` for each line along the last axis, in row-major order: its
/// values are at `start`, `start + step`, and so on.
pub(crate) fn for_each_line(layout: &Layout, mut visit: impl FnMut(usize, usize, usize)) {
    fn descend(
        dims: &[usize],
        strides: &[usize],
        start: usize,
        visit: &mut impl FnMut(usize, usize, usize),
    ) {
        match (dims, strides) {
            (&[len], &[step]) => visit(start, len, step),
            (&[len, ref dims @ ..], &[step, ref strides @ ..]) => {
                for i in 0..len {
                    descend(dims, strides, start + i * step, visit);
                }
            }
            _ => visit(start, 1, 1),
        }
    }
    // The lines of an empty tensor are empty, and their starts may be outside of the storage.
    if layout.shape().elem_count() > 0 {
        let (dims, strides) = (layout.dims(), layout.stride());
        descend(dims, strides, layout.start_offset(), &mut visit);
    }
}

/// Fills `values` with `value`.
pub(crate) fn fill<T: Copy>(values: &mut [MaybeUninit<T>], value: T) -> &mut [T] {
    values.fill(MaybeUninit::new(value));
    // SAFETY: every value has just been initialised.
    unsafe { initialised(values) }
}

/// `values` as initialised values.
///
/// # Safety
/// Every value must have been initialised.
pub(crate) unsafe fn initialised<T>(values: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: `MaybeUninit<T>` is laid out as `T`, and the caller has initialised all of them.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [T]) }
}

/// The memory of a new tensor, to whose runs several threads write at the same time.
pub(crate) struct Output<'a, F> {
    values: *mut F,
    len: usize,
    buffer: PhantomData<&'a mut [MaybeUninit<F>]>,
}

impl<F> Clone for Output<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Output<'_, F> {}

// SAFETY: only `run` gives access to the memory, and its callers use each run in one place at a
// time.
unsafe impl<F: Send> Send for Output<'_, F> {}
// SAFETY: as above.
unsafe impl<F: Send> Sync for Output<'_, F> {}

impl<'a, F> Output<'a, F> {
    /// The first `len` unused places of `values`.
    ///
    /// # Safety
    /// No two kernels that run at the same time may use the same run of copies of this.
    pub(crate) unsafe fn new(values: &'a mut Vec<F>, len: usize) -> Self {
        let spare = &mut values.spare_capacity_mut()[..len];
        Self {
            values: spare.as_mut_ptr().cast(),
            len,
            buffer: PhantomData,
        }
    }

    /// The values `start..start + len`.
    ///
    /// # Safety
    /// No two slices in use at the same time may overlap.
    #[inline(always)]
    pub(crate) unsafe fn run(self, start: usize, len: usize) -> &'a mut [MaybeUninit<F>] {
        assert!(start + len <= self.len);
        // SAFETY: within the buffer, which is borrowed for 'a; the caller keeps slices apart.
        unsafe { std::slice::from_raw_parts_mut(self.values.add(start).cast(), len) }
    }
}

/// The number of values of a shape, or of some of its axes.
///
/// # Errors
/// If the number exceeds the largest size of a slice.
pub(crate) fn elements(op: &str, dims: &[usize]) -> Result<usize> {
    if dims.contains(&0) {
        return Ok(0);
    }
    let product = dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
    // In bytes of f64, the widest type.
    match product.filter(|n| *n <= isize::MAX as usize / 8) {
        Some(product) => Ok(product),
        None => bail!("{op}: a tensor with axes {dims:?} is too large"),
    }
}

/// Fails unless both arguments of `op` have the same type.
pub(crate) fn same_dtype(op: &str, a: DType, b: DType) -> Result<()> {
    if a != b {
        bail!("{op} takes tensors of one type, not {a:?} and {b:?}");
    }
    Ok(())
}

/// The result of `kernel` on the values of `x`, which must be on the CPU.
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
