//! The loops of channel scales over planes, on vectors.
//!
//! A plane is one channel of one image and has one factor s. The backward pass of
//! f(x s + residual) reads and writes memory once:
//!
//! ```text
//! for plane in planes                    one large plane or several small ones for each task
//!     dz = grad f'(x s + residual)       x, residual and grad from memory, dz to memory
//!     ds = sum of x dz                   from the cache; 4 sums in registers, totals in f64
//!     dx = dz s                          dz from the cache, dx to memory
//! ```
//!
//! x s + residual is rounded twice, so that fused and separate ops have the same values.

use std::mem::MaybeUninit;

use crate::activation::Activation;
use crate::ops::activation::dispatch::{KernelVisitor, visit_kernel};
use crate::ops::activation::simd::Pointwise;
use crate::ops::storage::{PARALLEL_THRESHOLD, build, fill, initialised};
use crate::parallel::for_each_chunk;
use crate::simd::{Lanes, Real, Simd, WithSimd, dispatch};

/// Vectors whose products are summed in the element type, in four registers, before the sum moves to
/// f64.
const BLOCK: usize = 256;

/// x s of each plane. `s` has one factor for each plane.
pub(super) fn scaled<F: Real>(x: &[F], s: &[F]) -> Vec<F> {
    let Some((plane, count)) = division(x, s) else {
        return Vec::new();
    };
    let write = |index: usize, y: &mut [MaybeUninit<F>]| {
        let (x, s) = part(x, s, plane, index * count, y.len() / plane);
        dispatch(Scale { x, s, y });
    };
    // SAFETY: `Scale` writes all planes of a chunk.
    unsafe { build(x.len(), plane * count, write) }
}

/// f(x s + residual) of each plane. The activation must have a vector kernel.
pub(super) fn added<F: Real>(activation: &Activation, [x, residual]: [&[F]; 2], s: &[F]) -> Vec<F> {
    let Some((plane, count)) = division(x, s) else {
        return Vec::new();
    };
    assert_eq!(x.len(), residual.len());
    let write = |index: usize, y: &mut [MaybeUninit<F>]| {
        let planes = y.len() / plane;
        let (x, s) = part(x, s, plane, index * count, planes);
        let residual = &residual[index * count * plane..][..y.len()];
        let visitor = AddAct { x, s, residual, y };
        let visited = visit_kernel(activation, visitor);
        assert!(visited.is_some(), "{activation:?} has no kernel");
    };
    // SAFETY: `AddAct` writes all planes of a chunk.
    unsafe { build(x.len(), plane * count, write) }
}

/// The sum of x grad over each of `planes` planes.
pub(super) fn factor_gradients<F: Real>(x: &[F], grad: &[F], planes: usize) -> Vec<F> {
    if x.is_empty() {
        return vec![F::from_f64(0.0); planes];
    }
    assert_eq!(x.len(), grad.len());
    let plane = x.len() / planes;
    let count = planes_per_task(plane);
    let mut ds = vec![F::from_f64(0.0); planes];
    for_each_chunk(&mut ds, count, 1, &|index, ds| {
        let range = index * count * plane..(index * count + ds.len()) * plane;
        dispatch(FactorSums {
            x: &x[range.clone()],
            grad: &grad[range],
            ds,
        });
    });
    ds
}

/// The gradients of x and of s, given the gradient of x s.
pub(super) fn scaled_gradients<F: Real>(x: &[F], s: &[F], grad: &[F]) -> (Vec<F>, Vec<F>) {
    let mut ds = vec![F::from_f64(0.0); s.len()];
    let Some((plane, count)) = division(x, s) else {
        return (Vec::new(), ds);
    };
    assert_eq!(x.len(), grad.len());
    let mut dx = Vec::with_capacity(x.len());
    let outputs = dx.spare_capacity_mut()[..x.len()].chunks_mut(plane * count);
    let mut tasks: Vec<_> = outputs.zip(ds.chunks_mut(count)).collect();
    for_each_chunk(&mut tasks, 1, 1, &|index, tasks| {
        for (dx, ds) in tasks {
            let (x, s) = part(x, s, plane, index * count, ds.len());
            let grad = &grad[index * count * plane..][..x.len()];
            dispatch(ScaleGradients { x, s, grad, dx, ds });
        }
    });
    // SAFETY: the tasks write all planes, which are all of the memory.
    unsafe { dx.set_len(x.len()) };
    (dx, ds)
}

/// The gradients of x, s and the residual, given the gradient of f(x s + residual). The activation
/// must have a vector kernel.
pub(super) fn added_gradients<F: Real>(
    activation: &Activation,
    [x, residual, grad]: [&[F]; 3],
    s: &[F],
) -> [Vec<F>; 3] {
    let mut ds = vec![F::from_f64(0.0); s.len()];
    let Some((plane, count)) = division(x, s) else {
        return [Vec::new(), ds, Vec::new()];
    };
    assert!(x.len() == residual.len() && x.len() == grad.len());
    let len = x.len();
    let (mut dx, mut dz) = (Vec::with_capacity(len), Vec::with_capacity(len));
    let of_x = dx.spare_capacity_mut()[..len].chunks_mut(plane * count);
    let of_z = dz.spare_capacity_mut()[..len].chunks_mut(plane * count);
    let outputs = of_x.zip(of_z).zip(ds.chunks_mut(count));
    let mut tasks: Vec<_> = outputs.collect();
    for_each_chunk(&mut tasks, 1, 1, &|index, tasks| {
        for ((dx, dz), ds) in tasks {
            let (x, s) = part(x, s, plane, index * count, ds.len());
            let start = index * count * plane;
            let visitor = AddActGradients {
                x,
                s,
                residual: &residual[start..][..x.len()],
                grad: &grad[start..][..x.len()],
                dx,
                dz,
                ds,
            };
            let visited = visit_kernel(activation, visitor);
            assert!(visited.is_some(), "{activation:?} has no kernel");
        }
    });
    // SAFETY: the tasks write all planes, which are all of the memory.
    unsafe {
        dx.set_len(len);
        dz.set_len(len);
    }
    [dx, ds, dz]
}

/// The values of a plane and the planes of a task. `None` if there are no values.
fn division<F>(x: &[F], s: &[F]) -> Option<(usize, usize)> {
    if x.is_empty() {
        return None;
    }
    let plane = x.len() / s.len();
    Some((plane, planes_per_task(plane)))
}

fn planes_per_task(plane: usize) -> usize {
    (PARALLEL_THRESHOLD / plane).max(1)
}

/// The values and the factors of `planes` planes from plane `first` on.
fn part<'a, F>(
    x: &'a [F],
    s: &'a [F],
    plane: usize,
    first: usize,
    planes: usize,
) -> (&'a [F], &'a [F]) {
    (&x[first * plane..][..planes * plane], &s[first..][..planes])
}

/// Writes x s.
struct Scale<'a, F> {
    x: &'a [F],
    s: &'a [F],
    y: &'a mut [MaybeUninit<F>],
}

impl<F: Real> WithSimd for Scale<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.x.len() / self.s.len();
        let planes = self.x.chunks_exact(plane).zip(self.s);
        for (y, (x, s)) in self.y.chunks_exact_mut(plane).zip(planes) {
            scale(simd, x, *s, y);
        }
    }
}

/// Adds the sums of x grad.
struct FactorSums<'a, F> {
    x: &'a [F],
    grad: &'a [F],
    ds: &'a mut [F],
}

impl<F: Real> WithSimd for FactorSums<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.x.len() / self.ds.len();
        let planes = self
            .x
            .chunks_exact(plane)
            .zip(self.grad.chunks_exact(plane));
        for (ds, (x, grad)) in self.ds.iter_mut().zip(planes) {
            *ds = sum_of_products(simd, x, grad);
        }
    }
}

/// Writes the gradients of x s.
struct ScaleGradients<'a, F> {
    x: &'a [F],
    s: &'a [F],
    grad: &'a [F],
    dx: &'a mut [MaybeUninit<F>],
    ds: &'a mut [F],
}

impl<F: Real> WithSimd for ScaleGradients<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.x.len() / self.s.len();
        let inputs = self
            .x
            .chunks_exact(plane)
            .zip(self.grad.chunks_exact(plane));
        let outputs = self.dx.chunks_exact_mut(plane).zip(self.ds);
        for (((x, grad), s), (dx, ds)) in inputs.zip(self.s).zip(outputs) {
            *ds = sum_of_products(simd, x, grad);
            scale(simd, grad, *s, dx);
        }
    }
}

/// A loop with the kernel of its activation.
struct WithKernel<L, K> {
    loops: L,
    kernel: K,
}

/// Writes f(x s + residual).
struct AddAct<'a, F> {
    x: &'a [F],
    s: &'a [F],
    residual: &'a [F],
    y: &'a mut [MaybeUninit<F>],
}

impl<F: Real> KernelVisitor<F> for AddAct<'_, F> {
    type Output = ();

    fn visit<K: Pointwise<F>>(self, kernel: K) {
        dispatch(WithKernel {
            loops: self,
            kernel,
        });
    }
}

impl<F: Real, K: Pointwise<F>> WithSimd for WithKernel<AddAct<'_, F>, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddAct { x, s, residual, y } = self.loops;
        let plane = x.len() / s.len();
        let inputs = x.chunks_exact(plane).zip(residual.chunks_exact(plane));
        for ((y, (x, residual)), s) in y.chunks_exact_mut(plane).zip(inputs).zip(s) {
            let inner = Inner {
                x,
                factor: *s,
                residual,
            };
            activate(simd, self.kernel, inner, y);
        }
    }
}

/// Writes the gradients of f(x s + residual).
struct AddActGradients<'a, F> {
    x: &'a [F],
    s: &'a [F],
    residual: &'a [F],
    grad: &'a [F],
    dx: &'a mut [MaybeUninit<F>],
    dz: &'a mut [MaybeUninit<F>],
    ds: &'a mut [F],
}

impl<F: Real> KernelVisitor<F> for AddActGradients<'_, F> {
    type Output = ();

    fn visit<K: Pointwise<F>>(self, kernel: K) {
        dispatch(WithKernel {
            loops: self,
            kernel,
        });
    }
}

impl<F: Real, K: Pointwise<F>> WithSimd for WithKernel<AddActGradients<'_, F>, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let loops = self.loops;
        let plane = loops.x.len() / loops.s.len();
        let inner = loops.x.chunks_exact(plane).zip(loops.s);
        let inner = inner.zip(loops.residual.chunks_exact(plane));
        let inputs = inner.zip(loops.grad.chunks_exact(plane));
        let outputs = loops.dx.chunks_exact_mut(plane);
        let outputs = outputs.zip(loops.dz.chunks_exact_mut(plane)).zip(loops.ds);
        for ((((x, s), residual), grad), ((dx, dz), ds)) in inputs.zip(outputs) {
            let inner = Inner {
                x,
                factor: *s,
                residual,
            };
            pull(simd, self.kernel, inner, grad, dz);
            // SAFETY: `pull` has written all of dz.
            let dz = unsafe { initialised(dz) };
            *ds = sum_of_products(simd, x, dz);
            scale(simd, dz, *s, dx);
        }
    }
}

/// x factor + residual, the argument of the activation in one plane.
#[derive(Clone, Copy)]
struct Inner<'a, F> {
    x: &'a [F],
    factor: F,
    residual: &'a [F],
}

/// Writes x factor.
#[inline(always)]
fn scale<S: Simd, F: Real>(simd: S, x: &[F], factor: F, y: &mut [MaybeUninit<F>]) {
    let factor = Lanes::<S, F>::splat(simd, factor);
    let (xs, x_tail) = F::split::<S>(x);
    let (ys, y_tail) = F::split_uninit::<S>(y);
    for (y, x) in ys.iter_mut().zip(xs) {
        y.write((Lanes::new(simd, *x) * factor).vector());
    }
    if !x_tail.is_empty() {
        let y = Lanes::partial_load(simd, x_tail) * factor;
        y.partial_store(fill(y_tail, F::from_f64(0.0)));
    }
}

/// The sum of a b.
#[inline(always)]
fn sum_of_products<S: Simd, F: Real>(simd: S, a: &[F], b: &[F]) -> F {
    let (a, a_tail) = F::split::<S>(a);
    let (b, b_tail) = F::split::<S>(b);
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut sums = [Lanes::<S, F>::splat(simd, F::from_f64(0.0)); 4];
        let ((a4, a1), (b4, b1)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
        for (a, b) in a4.iter().zip(b4) {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum = Lanes::new(simd, *a).mul_add(Lanes::new(simd, *b), *sum);
            }
        }
        for (sum, (a, b)) in sums.iter_mut().zip(a1.iter().zip(b1)) {
            *sum = Lanes::new(simd, *a).mul_add(Lanes::new(simd, *b), *sum);
        }
        let sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        total += sum.reduce_sum().to_f64();
    }
    if !a_tail.is_empty() {
        // The other elements of the registers are 0.
        let a = Lanes::<S, F>::partial_load(simd, a_tail);
        let b = Lanes::partial_load(simd, b_tail);
        total += (a * b).reduce_sum().to_f64();
    }
    F::from_f64(total)
}

/// Writes f(x factor + residual).
#[inline(always)]
fn activate<S: Simd, F: Real, K: Pointwise<F>>(
    simd: S,
    kernel: K,
    inner: Inner<F>,
    y: &mut [MaybeUninit<F>],
) {
    let factor = Lanes::<S, F>::splat(simd, inner.factor);
    let (xs, x_tail) = F::split::<S>(inner.x);
    let (rs, r_tail) = F::split::<S>(inner.residual);
    let (ys, y_tail) = F::split_uninit::<S>(y);
    for ((y, x), r) in ys.iter_mut().zip(xs).zip(rs) {
        let z = Lanes::new(simd, *x) * factor + Lanes::new(simd, *r);
        y.write(kernel.value(z).vector());
    }
    if !x_tail.is_empty() {
        let x = Lanes::partial_load(simd, x_tail);
        let z = x * factor + Lanes::partial_load(simd, r_tail);
        let y_tail = fill(y_tail, F::from_f64(0.0));
        kernel.value(z).partial_store(y_tail);
    }
}

/// Writes grad f'(x factor + residual).
#[inline(always)]
fn pull<S: Simd, F: Real, K: Pointwise<F>>(
    simd: S,
    kernel: K,
    inner: Inner<F>,
    grad: &[F],
    dz: &mut [MaybeUninit<F>],
) {
    let factor = Lanes::<S, F>::splat(simd, inner.factor);
    let (xs, x_tail) = F::split::<S>(inner.x);
    let (rs, r_tail) = F::split::<S>(inner.residual);
    let (gs, g_tail) = F::split::<S>(grad);
    let (zs, z_tail) = F::split_uninit::<S>(dz);
    for (((dz, x), r), g) in zs.iter_mut().zip(xs).zip(rs).zip(gs) {
        let z = Lanes::new(simd, *x) * factor + Lanes::new(simd, *r);
        dz.write((kernel.derivative(z) * Lanes::new(simd, *g)).vector());
    }
    if !x_tail.is_empty() {
        let x = Lanes::partial_load(simd, x_tail);
        let z = x * factor + Lanes::partial_load(simd, r_tail);
        let dz = kernel.derivative(z) * Lanes::partial_load(simd, g_tail);
        dz.partial_store(fill(z_tail, F::from_f64(0.0)));
    }
}
