//! The loops of normalisation over the values of one channel, on vectors.
//!
//! The values of a channel are runs of equal length, one in each image:
//!
//! ```text
//! for start in runs                      one run per image
//!     for block of BLOCK vectors         partial sums stay in registers, totals in f64
//!         for vector in block            2 or 4 independent sums
//!     tail shorter than a vector         padded with zeros that do not count
//! ```

use crate::ops::activation::simd::Pointwise;
use crate::ops::storage::{Output, fill, initialised};
use crate::simd::{Lanes, Real, Simd, WithSimd};

/// Vectors that are summed in the element type before the sum moves to f64.
const BLOCK: usize = 256;

/// Sums of a and of a b over many vectors, in `N` independent registers, with f64 totals.
struct Totals<S: Simd, F: Real, const N: usize> {
    first: [Lanes<S, F>; N],
    second: [Lanes<S, F>; N],
    pending: usize,
    totals: (f64, f64),
}

impl<S: Simd, F: Real, const N: usize> Totals<S, F, N> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let zero = Lanes::splat(simd, F::from_f64(0.0));
        Self {
            first: [zero; N],
            second: [zero; N],
            pending: 0,
            totals: (0.0, 0.0),
        }
    }

    /// Adds a and a b to lane `lane`.
    #[inline(always)]
    fn add(&mut self, lane: usize, a: Lanes<S, F>, b: Lanes<S, F>) {
        self.first[lane] = self.first[lane] + a;
        self.second[lane] = a.mul_add(b, self.second[lane]);
    }

    /// Counts `added` more vectors, and moves the lanes to the totals after [`BLOCK`] vectors.
    #[inline(always)]
    fn settle(&mut self, added: usize) {
        self.pending += added;
        if self.pending >= BLOCK {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        let zero = self.first[0].constant(0.0);
        for lane in 0..N {
            self.totals.0 += self.first[lane].reduce_sum().to_f64();
            self.totals.1 += self.second[lane].reduce_sum().to_f64();
        }
        self.first = [zero; N];
        self.second = [zero; N];
        self.pending = 0;
    }

    #[inline(always)]
    fn finish(mut self) -> (f64, f64) {
        self.flush();
        self.totals
    }
}

/// The sums of d and d^2 with d = x - pivot.
pub(super) struct Moments<'a, F, I> {
    pub x: &'a [F],
    pub runs: I,
    pub len: usize,
    pub pivot: F,
}

impl<F: Real, I: Iterator<Item = usize>> WithSimd for Moments<'_, F, I> {
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f64, f64) {
        let pivot = Lanes::<S, F>::splat(simd, self.pivot);
        let mut totals = Totals::<S, F, 4>::new(simd);
        for start in self.runs {
            let (vectors, tail) = F::split::<S>(&self.x[start..start + self.len]);
            for block in vectors.chunks(BLOCK) {
                let (quads, rest) = block.as_chunks::<4>();
                for quad in quads {
                    for (lane, x) in quad.iter().enumerate() {
                        let d = Lanes::new(simd, *x) - pivot;
                        totals.add(lane, d, d);
                    }
                }
                for (lane, x) in rest.iter().enumerate() {
                    let d = Lanes::new(simd, *x) - pivot;
                    totals.add(lane, d, d);
                }
                totals.settle(block.len());
            }
            if !tail.is_empty() {
                // The other elements of the register are 0, not the pivot.
                let x = Lanes::partial_load(simd, tail);
                let ones = [F::from_f64(1.0); 16];
                let present = Lanes::partial_load(simd, &ones[..tail.len()]);
                let d = (x - pivot) * present;
                totals.add(3, d, d);
                totals.settle(1);
            }
        }
        totals.finish()
    }
}

/// z = (x - center) scale + shift, the normalised value with gain and bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine<F> {
    pub center: F,
    pub scale: F,
    pub shift: F,
}

impl<F: Real> Affine<F> {
    /// (x - mean) scale + shift. The shift corrects the rounding of `mean` to `F`.
    pub(super) fn new(mean: f64, scale: f64, shift: f64) -> Self {
        let center = F::from_f64(mean);
        Self {
            center,
            scale: F::from_f64(scale),
            shift: F::from_f64(shift + (center.to_f64() - mean) * scale),
        }
    }
}

/// [`Affine`] in registers.
#[derive(Clone, Copy)]
struct AffineLanes<S: Simd, F: Real> {
    center: Lanes<S, F>,
    scale: Lanes<S, F>,
    shift: Lanes<S, F>,
}

impl<S: Simd, F: Real> AffineLanes<S, F> {
    #[inline(always)]
    fn new(simd: S, affine: Affine<F>) -> Self {
        Self {
            center: Lanes::splat(simd, affine.center),
            scale: Lanes::splat(simd, affine.scale),
            shift: Lanes::splat(simd, affine.shift),
        }
    }

    /// x - center and z.
    #[inline(always)]
    fn apply(self, x: Lanes<S, F>) -> (Lanes<S, F>, Lanes<S, F>) {
        let d = x - self.center;
        (d, d.mul_add(self.scale, self.shift))
    }
}

/// Writes f(z + residual).
pub(super) struct Apply<'a, F, K, I> {
    pub x: &'a [F],
    pub residual: Option<&'a [F]>,
    pub y: Output<'a, F>,
    pub runs: I,
    pub len: usize,
    pub affine: Affine<F>,
    pub kernel: K,
}

impl<F: Real, K: Pointwise<F>, I: Iterator<Item = usize>> WithSimd for Apply<'_, F, K, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let affine = AffineLanes::<S, F>::new(simd, self.affine);
        for start in self.runs {
            let (xs, x_tail) = F::split::<S>(&self.x[start..start + self.len]);
            // SAFETY: no other kernel uses this run now, as `Output::new` requires.
            let y = unsafe { self.y.run(start, self.len) };
            let (ys, y_tail) = F::split_uninit::<S>(y);
            let r_tail = match self.residual {
                None => {
                    for (y, x) in ys.iter_mut().zip(xs) {
                        let (_, z) = affine.apply(Lanes::new(simd, *x));
                        y.write(self.kernel.value(z).vector());
                    }
                    None
                }
                Some(residual) => {
                    let (rs, r_tail) = F::split::<S>(&residual[start..start + self.len]);
                    for ((y, x), r) in ys.iter_mut().zip(xs).zip(rs) {
                        let (_, z) = affine.apply(Lanes::new(simd, *x));
                        y.write(self.kernel.value(z + Lanes::new(simd, *r)).vector());
                    }
                    Some(r_tail)
                }
            };
            if !x_tail.is_empty() {
                let (_, mut z) = affine.apply(Lanes::partial_load(simd, x_tail));
                if let Some(r_tail) = r_tail {
                    z = z + Lanes::partial_load(simd, r_tail);
                }
                let y_tail = fill(y_tail, F::from_f64(0.0));
                self.kernel.value(z).partial_store(y_tail);
            }
        }
    }
}

/// Replaces x by f(z + residual), as [`Apply`] computes it.
pub(super) struct Replace<'a, F, K> {
    pub x: &'a mut [F],
    pub residual: Option<&'a [F]>,
    pub affine: Affine<F>,
    pub kernel: K,
}

impl<F: Real, K: Pointwise<F>> WithSimd for Replace<'_, F, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let affine = AffineLanes::<S, F>::new(simd, self.affine);
        let (xs, x_tail) = F::split_mut::<S>(self.x);
        let r_tail = match self.residual {
            None => {
                for x in xs {
                    let (_, z) = affine.apply(Lanes::new(simd, *x));
                    *x = self.kernel.value(z).vector();
                }
                None
            }
            Some(residual) => {
                let (rs, r_tail) = F::split::<S>(residual);
                for (x, r) in xs.iter_mut().zip(rs) {
                    let (_, z) = affine.apply(Lanes::new(simd, *x));
                    *x = self.kernel.value(z + Lanes::new(simd, *r)).vector();
                }
                Some(r_tail)
            }
        };
        if !x_tail.is_empty() {
            let (_, mut z) = affine.apply(Lanes::partial_load(simd, x_tail));
            if let Some(r_tail) = r_tail {
                z = z + Lanes::partial_load(simd, r_tail);
            }
            self.kernel.value(z).partial_store(x_tail);
        }
    }
}

/// The sums of dz and dz (x - center) with dz = grad f'(z + residual); writes dz `factor`.
pub(super) struct Pull<'a, F, K, I> {
    pub x: &'a [F],
    pub residual: Option<&'a [F]>,
    pub grad: &'a [F],
    pub dz: Output<'a, F>,
    pub factor: F,
    pub runs: I,
    pub len: usize,
    pub affine: Affine<F>,
    pub kernel: K,
}

/// One step of [`Pull`]: adds to the sums and returns the vector to write.
struct PullStep<S: Simd, F: Real, K> {
    affine: AffineLanes<S, F>,
    factor: Lanes<S, F>,
    kernel: K,
    totals: Totals<S, F, 2>,
}

impl<S: Simd, F: Real, K: Pointwise<F>> PullStep<S, F, K> {
    #[inline(always)]
    fn step(
        &mut self,
        lane: usize,
        x: Lanes<S, F>,
        grad: Lanes<S, F>,
        residual: Option<Lanes<S, F>>,
    ) -> Lanes<S, F> {
        let (d, z) = self.affine.apply(x);
        let z = residual.map_or(z, |r| z + r);
        let dz = grad * self.kernel.derivative(z);
        self.totals.add(lane, dz, d);
        dz * self.factor
    }
}

impl<F: Real, K: Pointwise<F>, I: Iterator<Item = usize>> WithSimd for Pull<'_, F, K, I> {
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f64, f64) {
        let mut pull = PullStep::<S, F, K> {
            affine: AffineLanes::new(simd, self.affine),
            factor: Lanes::splat(simd, self.factor),
            kernel: self.kernel,
            totals: Totals::new(simd),
        };
        let lanes = |vector: &F::Vector<S>| Lanes::<S, F>::new(simd, *vector);
        for start in self.runs {
            let range = start..start + self.len;
            let (xs, x_tail) = F::split::<S>(&self.x[range.clone()]);
            let (gs, g_tail) = F::split::<S>(&self.grad[range.clone()]);
            // SAFETY: no other kernel uses this run now, as `Output::new` requires.
            let dz = unsafe { self.dz.run(start, self.len) };
            let (zs, z_tail) = F::split_uninit::<S>(dz);
            let residual = self.residual.map(|r| F::split::<S>(&r[range]));
            match residual {
                None => {
                    let blocks = xs.chunks(BLOCK).zip(gs.chunks(BLOCK));
                    for (zs, (xs, gs)) in zs.chunks_mut(BLOCK).zip(blocks) {
                        let (x2, x1) = xs.as_chunks::<2>();
                        let (g2, g1) = gs.as_chunks::<2>();
                        let (z2, z1) = zs.as_chunks_mut::<2>();
                        for ((z, x), g) in z2.iter_mut().zip(x2).zip(g2) {
                            let a = pull.step(0, lanes(&x[0]), lanes(&g[0]), None);
                            let b = pull.step(1, lanes(&x[1]), lanes(&g[1]), None);
                            z[0].write(a.vector());
                            z[1].write(b.vector());
                        }
                        for ((z, x), g) in z1.iter_mut().zip(x1).zip(g1) {
                            z.write(pull.step(0, lanes(x), lanes(g), None).vector());
                        }
                        pull.totals.settle(xs.len());
                    }
                }
                Some((rs, _)) => {
                    let blocks = xs.chunks(BLOCK).zip(gs.chunks(BLOCK)).zip(rs.chunks(BLOCK));
                    for (zs, ((xs, gs), rs)) in zs.chunks_mut(BLOCK).zip(blocks) {
                        for (((z, x), g), r) in zs.iter_mut().zip(xs).zip(gs).zip(rs) {
                            let dz = pull.step(0, lanes(x), lanes(g), Some(lanes(r)));
                            z.write(dz.vector());
                        }
                        pull.totals.settle(xs.len());
                    }
                }
            }
            if !x_tail.is_empty() {
                // The other elements of the register add nothing: their gradient is 0.
                let x = Lanes::partial_load(simd, x_tail);
                let g = Lanes::partial_load(simd, g_tail);
                let r = residual.map(|(_, tail)| Lanes::partial_load(simd, tail));
                let dz = pull.step(0, x, g, r);
                dz.partial_store(fill(z_tail, F::from_f64(0.0)));
                pull.totals.settle(1);
            }
        }
        pull.totals.finish()
    }
}

/// dx = a dz + b (x - center) + c: the gradient if mean and variance depend on x.
#[derive(Debug, Clone, Copy)]
pub(super) struct Centering<F> {
    pub center: F,
    pub a: F,
    pub b: F,
    pub c: F,
}

/// Writes [`Centering`] of `x` and dz. Without `dz`, `dx` holds dz.
pub(super) struct Center<'a, F, I> {
    x: &'a [F],
    dz: Option<Output<'a, F>>,
    dx: Output<'a, F>,
    runs: I,
    len: usize,
    centering: Centering<F>,
}

impl<'a, F: Real, I: Iterator<Item = usize>> Center<'a, F, I> {
    /// # Safety
    /// The runs of `dz`, or of `dx` without it, must have been written.
    pub(super) unsafe fn new(
        x: &'a [F],
        dz: Option<Output<'a, F>>,
        dx: Output<'a, F>,
        (runs, len): (I, usize),
        centering: Centering<F>,
    ) -> Self {
        Self {
            x,
            dz,
            dx,
            runs,
            len,
            centering,
        }
    }
}

impl<F: Real, I: Iterator<Item = usize>> WithSimd for Center<'_, F, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Centering { center, a, b, c } = self.centering;
        let splat = |value| Lanes::<S, F>::splat(simd, value);
        let (center, a, b, c) = (splat(center), splat(a), splat(b), splat(c));
        let step = |x: Lanes<S, F>, dz: Lanes<S, F>| a.mul_add(dz, b.mul_add(x - center, c));
        for start in self.runs {
            let (xs, x_tail) = F::split::<S>(&self.x[start..start + self.len]);
            // SAFETY: no other kernel uses this run now, as `Output::new` requires.
            let dx = unsafe { self.dx.run(start, self.len) };
            if let Some(dz) = self.dz {
                // SAFETY: as for dx; dz is written, as `new` requires.
                let dz = unsafe { initialised(dz.run(start, self.len)) };
                let (zs, z_tail) = F::split::<S>(dz);
                let (ys, y_tail) = F::split_uninit::<S>(dx);
                for ((y, x), dz) in ys.iter_mut().zip(xs).zip(zs) {
                    let dx = step(Lanes::new(simd, *x), Lanes::new(simd, *dz));
                    y.write(dx.vector());
                }
                if !x_tail.is_empty() {
                    let x = Lanes::partial_load(simd, x_tail);
                    let dz = Lanes::partial_load(simd, z_tail);
                    step(x, dz).partial_store(fill(y_tail, F::from_f64(0.0)));
                }
            } else {
                // SAFETY: dx is written, as `new` requires.
                let (ys, y_tail) = F::split_mut::<S>(unsafe { initialised(dx) });
                for (y, x) in ys.iter_mut().zip(xs) {
                    *y = step(Lanes::new(simd, *x), Lanes::new(simd, *y)).vector();
                }
                if !x_tail.is_empty() {
                    let x = Lanes::partial_load(simd, x_tail);
                    let dz = Lanes::partial_load(simd, y_tail);
                    step(x, dz).partial_store(y_tail);
                }
            }
        }
    }
}
