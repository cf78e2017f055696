//! Activations on the CPU: threads over chunks, vectors within each chunk.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, Layout, Result, bail};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::dispatch::{KernelVisitor, visit_kernel};
use super::simd::{Pointwise, Table};
use crate::activation::Activation;
use crate::ops::storage::{PARALLEL_THRESHOLD, contiguous, for_each_line, initialised, written};
use crate::parallel::for_each_chunk;
use crate::simd::{self, Lanes, Real, Simd, WithSimd};

/// Elements that one thread takes at a time.
const CHUNK: usize = PARALLEL_THRESHOLD;
/// Elements of a half type that are converted at a time, on the stack.
const BLOCK: usize = 512;

pub(super) fn forward(
    activation: &Activation,
    x: &CpuStorage,
    layout: &Layout,
) -> Result<CpuStorage> {
    Ok(match x {
        CpuStorage::F32(x) => CpuStorage::F32(map(activation, &contiguous(x, layout))),
        CpuStorage::F64(x) => CpuStorage::F64(map(activation, &contiguous(x, layout))),
        CpuStorage::F16(x) => CpuStorage::F16(map(activation, &contiguous(x, layout))),
        CpuStorage::BF16(x) => CpuStorage::BF16(map(activation, &contiguous(x, layout))),
        _ => bail!("{activation} is not defined for {:?}", dtype(x)),
    })
}

pub(super) fn backward(
    activation: &Activation,
    x: &CpuStorage,
    x_layout: &Layout,
    grad: &CpuStorage,
    grad_layout: &Layout,
) -> Result<CpuStorage> {
    if x_layout.shape() != grad_layout.shape() {
        bail!(
            "a gradient of shape {:?} does not fit an activation of shape {:?}",
            grad_layout.shape(),
            x_layout.shape()
        )
    }
    macro_rules! zip {
        ($variant:ident, $x:expr, $grad:expr) => {
            CpuStorage::$variant(zip(
                activation,
                &contiguous($x, x_layout),
                &contiguous($grad, grad_layout),
            ))
        };
    }
    Ok(match (x, grad) {
        (CpuStorage::F32(x), CpuStorage::F32(g)) => zip!(F32, x, g),
        (CpuStorage::F64(x), CpuStorage::F64(g)) => zip!(F64, x, g),
        (CpuStorage::F16(x), CpuStorage::F16(g)) => zip!(F16, x, g),
        (CpuStorage::BF16(x), CpuStorage::BF16(g)) => zip!(BF16, x, g),
        _ => bail!(
            "the derivative of {activation} is not defined for {:?} with a gradient of {:?}",
            dtype(x),
            dtype(grad)
        ),
    })
}

pub(super) fn in_place(activation: &Activation, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
    match x {
        CpuStorage::F32(x) => update(activation, x, layout),
        CpuStorage::F64(x) => update(activation, x, layout),
        CpuStorage::F16(x) => update(activation, x, layout),
        CpuStorage::BF16(x) => update(activation, x, layout),
        _ => bail!("{activation} is not defined for {:?}", dtype(x)),
    }
    Ok(())
}

fn dtype(storage: &CpuStorage) -> candle_core::DType {
    candle_core::backend::BackendStorage::dtype(storage)
}

/// Applies a kernel to a slice of a tensor: directly, or through f32 for the halves.
trait ThroughKernel: Copy + Default + Send + Sync + 'static {
    /// The type of the computation.
    type Compute: Real;

    fn map<K: Pointwise<Self::Compute>>(kernel: K, x: &[Self], y: &mut [MaybeUninit<Self>]);

    fn zip<K: Pointwise<Self::Compute>>(
        kernel: K,
        x: &[Self],
        grad: &[Self],
        out: &mut [MaybeUninit<Self>],
    );

    fn update<K: Pointwise<Self::Compute>>(kernel: K, x: &mut [Self]);
}

macro_rules! impl_through_kernel_real {
    ($($real:ty)*) => {$(
        impl ThroughKernel for $real {
            type Compute = Self;

            fn map<K: Pointwise<Self>>(kernel: K, x: &[Self], y: &mut [MaybeUninit<Self>]) {
                simd::dispatch(Map { kernel, x, y });
            }

            fn zip<K: Pointwise<Self>>(
                kernel: K,
                x: &[Self],
                grad: &[Self],
                out: &mut [MaybeUninit<Self>],
            ) {
                simd::dispatch(Zip { kernel, x, grad, out });
            }

            fn update<K: Pointwise<Self>>(kernel: K, x: &mut [Self]) {
                simd::dispatch(Update { kernel, x });
            }
        }
    )*};
}

impl_through_kernel_real!(f32 f64);

macro_rules! impl_through_kernel_half {
    ($($half:ty)*) => {$(
        impl ThroughKernel for $half {
            type Compute = f32;

            fn map<K: Pointwise<f32>>(kernel: K, x: &[Self], y: &mut [MaybeUninit<Self>]) {
                let mut wide = [0f32; BLOCK];
                let mut narrow = [Self::default(); BLOCK];
                for (x, y) in x.chunks(BLOCK).zip(y.chunks_mut(BLOCK)) {
                    let wide = &mut wide[..x.len()];
                    let narrow = &mut narrow[..x.len()];
                    x.convert_to_f32_slice(wide);
                    f32::update(kernel, wide);
                    narrow.convert_from_f32_slice(wide);
                    copy(y, narrow);
                }
            }

            fn zip<K: Pointwise<f32>>(
                kernel: K,
                x: &[Self],
                grad: &[Self],
                out: &mut [MaybeUninit<Self>],
            ) {
                let mut wide = [0f32; BLOCK];
                let mut wide_grad = [0f32; BLOCK];
                let mut wide_out = [MaybeUninit::new(0f32); BLOCK];
                let mut narrow = [Self::default(); BLOCK];
                let chunks = x.chunks(BLOCK).zip(grad.chunks(BLOCK));
                for ((x, grad), out) in chunks.zip(out.chunks_mut(BLOCK)) {
                    let wide = &mut wide[..x.len()];
                    let wide_grad = &mut wide_grad[..x.len()];
                    let wide_out = &mut wide_out[..x.len()];
                    let narrow = &mut narrow[..x.len()];
                    x.convert_to_f32_slice(wide);
                    grad.convert_to_f32_slice(wide_grad);
                    f32::zip(kernel, wide, wide_grad, wide_out);
                    // SAFETY: every element was initialised when the array was made.
                    let wide_out = unsafe { initialised(wide_out) };
                    narrow.convert_from_f32_slice(wide_out);
                    copy(out, narrow);
                }
            }

            fn update<K: Pointwise<f32>>(kernel: K, x: &mut [Self]) {
                let mut wide = [0f32; BLOCK];
                for x in x.chunks_mut(BLOCK) {
                    let wide = &mut wide[..x.len()];
                    x.convert_to_f32_slice(wide);
                    f32::update(kernel, wide);
                    x.convert_from_f32_slice(wide);
                }
            }
        }
    )*};
}

impl_through_kernel_half!(f16 bf16);

fn copy<T: Copy>(target: &mut [MaybeUninit<T>], source: &[T]) {
    for (target, source) in target.iter_mut().zip(source) {
        target.write(*source);
    }
}

/// f(x) of every element.
fn map<T: ThroughKernel>(activation: &Activation, x: &[T]) -> Vec<T> {
    // SAFETY: `MapVisitor` writes all elements of y.
    unsafe { written(x.len(), |y| run(activation, MapVisitor { x, y })) }
}

/// grad f'(x) of every pair of elements.
fn zip<T: ThroughKernel>(activation: &Activation, x: &[T], grad: &[T]) -> Vec<T> {
    // SAFETY: `ZipVisitor` writes all elements of out; `backward` has checked that the shapes,
    // and with them the lengths, agree.
    unsafe { written(x.len(), |out| run(activation, ZipVisitor { x, grad, out })) }
}

fn update<T: ThroughKernel>(activation: &Activation, x: &mut [T], layout: &Layout) {
    match layout.contiguous_offsets() {
        Some((start, end)) if start == end => {}
        Some((start, end)) => run(
            activation,
            UpdateVisitor {
                x: &mut x[start..end],
            },
        ),
        None => {
            let y = map(activation, &contiguous(x, layout));
            let mut y = y.into_iter();
            for_each_line(layout, |start, len, step| {
                for (i, y) in (0..len).zip(&mut y) {
                    x[start + i * step] = y;
                }
            });
        }
    }
}

fn run<F: Real, V>(activation: &Activation, mut visitor: V)
where
    for<'a> &'a mut V: KernelVisitor<F, Output = ()>,
{
    if visit_kernel(activation, &mut visitor).is_none() {
        (&mut visitor).visit(Table(*activation));
    }
}

struct MapVisitor<'a, T> {
    x: &'a [T],
    y: &'a mut [MaybeUninit<T>],
}

impl<T: ThroughKernel> KernelVisitor<T::Compute> for &mut MapVisitor<'_, T> {
    type Output = ();

    fn visit<K: Pointwise<T::Compute>>(self, kernel: K) {
        if self.x.len() <= CHUNK {
            return T::map(kernel, self.x, self.y);
        }
        for_each_chunk(self.y, CHUNK, 1, &|i, y| {
            let start = i * CHUNK;
            T::map(kernel, &self.x[start..start + y.len()], y);
        });
    }
}

struct ZipVisitor<'a, T> {
    x: &'a [T],
    grad: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: ThroughKernel> KernelVisitor<T::Compute> for &mut ZipVisitor<'_, T> {
    type Output = ();

    fn visit<K: Pointwise<T::Compute>>(self, kernel: K) {
        if self.x.len() <= CHUNK {
            return T::zip(kernel, self.x, self.grad, self.out);
        }
        for_each_chunk(self.out, CHUNK, 1, &|i, out| {
            let range = i * CHUNK..i * CHUNK + out.len();
            T::zip(kernel, &self.x[range.clone()], &self.grad[range], out);
        });
    }
}

struct UpdateVisitor<'a, T> {
    x: &'a mut [T],
}

impl<T: ThroughKernel> KernelVisitor<T::Compute> for &mut UpdateVisitor<'_, T> {
    type Output = ();

    fn visit<K: Pointwise<T::Compute>>(self, kernel: K) {
        if self.x.len() <= CHUNK {
            return T::update(kernel, self.x);
        }
        for_each_chunk(self.x, CHUNK, 1, &|_, x| T::update(kernel, x));
    }
}

struct Map<'a, F, K> {
    kernel: K,
    x: &'a [F],
    y: &'a mut [MaybeUninit<F>],
}

impl<F: Real, K: Pointwise<F>> WithSimd for Map<'_, F, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, x_rest) = F::split::<S>(self.x);
        let (y, y_rest) = F::split_uninit::<S>(self.y);
        for (y, x) in y.iter_mut().zip(x) {
            y.write(self.kernel.value(Lanes::new(simd, *x)).vector());
        }
        let rest = self.kernel.value(Lanes::partial_load(simd, x_rest));
        store_rest(rest, y_rest);
    }
}

struct Zip<'a, F, K> {
    kernel: K,
    x: &'a [F],
    grad: &'a [F],
    out: &'a mut [MaybeUninit<F>],
}

impl<F: Real, K: Pointwise<F>> WithSimd for Zip<'_, F, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, x_rest) = F::split::<S>(self.x);
        let (grad, grad_rest) = F::split::<S>(self.grad);
        let (out, out_rest) = F::split_uninit::<S>(self.out);
        for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
            let derivative = self.kernel.derivative(Lanes::new(simd, *x));
            out.write((derivative * Lanes::new(simd, *grad)).vector());
        }
        let derivative = self.kernel.derivative(Lanes::partial_load(simd, x_rest));
        store_rest(derivative * Lanes::partial_load(simd, grad_rest), out_rest);
    }
}

struct Update<'a, F, K> {
    kernel: K,
    x: &'a mut [F],
}

impl<F: Real, K: Pointwise<F>> WithSimd for Update<'_, F, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, rest) = F::split_mut::<S>(self.x);
        for x in x {
            *x = self.kernel.value(Lanes::new(simd, *x)).vector();
        }
        let y = self.kernel.value(Lanes::partial_load(simd, rest));
        y.partial_store(rest);
    }
}

#[inline(always)]
fn store_rest<S: Simd, F: Real>(y: Lanes<S, F>, out: &mut [MaybeUninit<F>]) {
    let mut elements = [F::default(); 16];
    y.partial_store(&mut elements[..out.len()]);
    for (out, element) in out.iter_mut().zip(elements) {
        out.write(element);
    }
}
