//! Normalisation of all channels of a tensor: which thread does what, in which order.
//!
//! Statistics and result, or sums and gradient, of a channel are done in one visit: a channel
//! of the whole batch stays in the cache. Where there are too few channels for the threads,
//! images are divided too, and the two steps are separated.

use std::ops::Range;

use super::kernels::{Affine, Apply, Center, Centering, Moments, Output, Pull};
use crate::ops::activation::dispatch::KernelVisitor;
use crate::ops::activation::simd::Pointwise;
use crate::ops::storage::PARALLEL_THRESHOLD;
use crate::parallel;
use crate::simd::{Real, dispatch};

/// Values that the first estimate of a mean is made of.
const PIVOT: usize = 1024;

/// A tensor of `images` x `channels` x `plane` values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    pub images: usize,
    pub channels: usize,
    pub plane: usize,
}

impl Dims {
    pub(super) fn len(&self) -> usize {
        self.images * self.channels * self.plane
    }

    /// Values of one channel.
    pub(super) fn per_channel(&self) -> usize {
        self.images * self.plane
    }

    /// Where the runs of `channel` in `images` start.
    fn runs(&self, channel: usize, images: Range<usize>) -> impl Iterator<Item = usize> + use<> {
        let Self {
            channels, plane, ..
        } = *self;
        images.map(move |image| (image * channels + channel) * plane)
    }

    /// Parts that the images are divided into so that all threads have something to do.
    fn parts(&self) -> usize {
        let threads = rayon::current_num_threads();
        if self.channels >= 2 * threads || self.len() < 2 * PARALLEL_THRESHOLD {
            return 1;
        }
        (2 * threads)
            .div_ceil(self.channels.max(1))
            .min(self.images)
    }

    /// The images of part `part` of `parts`.
    fn part(&self, part: usize, parts: usize) -> Range<usize> {
        part * self.images / parts..(part + 1) * self.images / parts
    }

    /// Calls `task(channel, images)` for all parts of all channels; the results in this order.
    fn map<R: Send>(
        &self,
        parts: usize,
        task: impl Fn(usize, Range<usize>) -> R + Sync + Send,
    ) -> Vec<R> {
        let run = |i: usize| task(i / parts, self.part(i % parts, parts));
        let values = (self.per_channel() / parts).max(1);
        let min_len = PARALLEL_THRESHOLD.div_ceil(values);
        parallel::map(self.channels * parts, min_len, &run)
    }
}

/// Mean and variance (that of the values, not the unbiased estimate) of each channel.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub mean: f64,
    pub variance: f64,
}

impl Moment {
    pub(super) fn inverse_deviation(&self, eps: f64) -> f64 {
        1.0 / (self.variance + eps).sqrt()
    }
}

/// Sums over `part` of its channel with a pivot, as (sum of d, sum of d^2).
fn sums<F: Real>(
    x: &[F],
    dims: &Dims,
    channel: usize,
    images: Range<usize>,
    pivot: F,
) -> (f64, f64) {
    dispatch(Moments {
        x,
        runs: dims.runs(channel, images),
        len: dims.plane,
        pivot,
    })
}

/// A first estimate of the mean of `channel`.
fn pivot<F: Real>(x: &[F], dims: &Dims, channel: usize) -> F {
    let first = channel * dims.plane;
    let count = dims.plane.min(PIVOT);
    let (sum, _) = dispatch(Moments {
        x,
        runs: std::iter::once(first),
        len: count,
        pivot: F::from_f64(0.0),
    });
    F::from_f64(sum / count as f64)
}

/// The moments that `sums` around `pivot` of `count` values give, and whether the pivot was too
/// far from the mean for the variance to be accurate.
fn moment<F: Real>(sums: (f64, f64), pivot: F, count: usize) -> (Moment, bool) {
    let offset = sums.0 / count as f64;
    let variance = (sums.1 / count as f64 - offset * offset).max(0.0);
    let moment = Moment {
        mean: pivot.to_f64() + offset,
        variance,
    };
    // d^2 lost as many bits as offset^2 exceeds the variance by.
    (moment, offset * offset > 2.0 * variance)
}

/// The moments of `channel`, visited once, or twice where its first values were misleading.
pub(super) fn channel_moments<F: Real>(x: &[F], dims: &Dims, channel: usize) -> Moment {
    let count = dims.per_channel();
    let first = pivot(x, dims, channel);
    let all = sums(x, dims, channel, 0..dims.images, first);
    let (estimate, poor) = moment(all, first, count);
    if !poor {
        return estimate;
    }
    let second = F::from_f64(estimate.mean);
    let all = sums(x, dims, channel, 0..dims.images, second);
    moment(all, second, count).0
}

/// The moments of all channels, whose images are divided into parts.
fn divided_moments<F: Real>(x: &[F], dims: &Dims, parts: usize) -> Vec<Moment> {
    let count = dims.per_channel();
    let round = |pivots: &[F]| -> Vec<(Moment, bool)> {
        let sums = dims.map(parts, |c, images| sums(x, dims, c, images, pivots[c]));
        let sums = sums.chunks(parts).zip(pivots);
        let total = |parts: &[(f64, f64)]| {
            let add = |a: (f64, f64), b: &(f64, f64)| (a.0 + b.0, a.1 + b.1);
            parts.iter().fold((0.0, 0.0), add)
        };
        sums.map(|(parts, pivot)| moment(total(parts), *pivot, count))
            .collect()
    };
    let pivots: Vec<F> = (0..dims.channels).map(|c| pivot(x, dims, c)).collect();
    let mut moments = round(&pivots);
    if moments.iter().any(|(_, poor)| *poor) {
        let pivots: Vec<F> = moments.iter().map(|(m, _)| F::from_f64(m.mean)).collect();
        moments = round(&pivots);
    }
    moments.into_iter().map(|(moment, _)| moment).collect()
}

/// Gain and bias of each channel.
#[derive(Debug, Clone)]
pub(super) struct Parameters {
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

/// act(norm(x) + residual).
pub(super) struct Forward<'a, F> {
    pub x: &'a [F],
    pub residual: Option<&'a [F]>,
    pub dims: Dims,
    pub parameters: &'a Parameters,
    /// Statistics to use in place of the batch's own.
    pub given: Option<&'a [Moment]>,
    pub eps: f64,
}

impl<F: Real> KernelVisitor<F> for Forward<'_, F> {
    /// The result and the statistics used.
    type Output = (Vec<F>, Vec<Moment>);

    fn visit<K: Pointwise<F>>(self, kernel: K) -> Self::Output {
        let Self { x, dims, .. } = self;
        let mut y = Vec::with_capacity(dims.len());
        let parts = dims.parts();
        // SAFETY: each task below has a channel and images of its own.
        let output = unsafe { Output::new(&mut y, dims.len()) };
        let apply = |channel: usize, images: Range<usize>, moment: &Moment| {
            let scale = self.parameters.gamma[channel] * moment.inverse_deviation(self.eps);
            dispatch(Apply {
                x,
                residual: self.residual,
                y: output,
                runs: dims.runs(channel, images),
                len: dims.plane,
                affine: Affine::new(moment.mean, scale, self.parameters.beta[channel]),
                kernel,
            });
        };
        let moments = match self.given {
            Some(given) => {
                dims.map(parts, |c, images| apply(c, images, &given[c]));
                given.to_vec()
            }
            None if parts > 1 => {
                let moments = divided_moments(x, &dims, parts);
                dims.map(parts, |c, images| apply(c, images, &moments[c]));
                moments
            }
            None => dims.map(1, |c, images| {
                let moment = channel_moments(x, &dims, c);
                apply(c, images, &moment);
                moment
            }),
        };
        // SAFETY: every run of every channel has been written, and there is nothing between.
        unsafe { y.set_len(dims.len()) };
        (y, moments)
    }
}

/// The gradients of [`Forward`].
pub(super) struct Backward<'a, F> {
    pub x: &'a [F],
    pub residual: Option<&'a [F]>,
    pub grad: &'a [F],
    pub dims: Dims,
    pub parameters: &'a Parameters,
    pub moments: &'a [Moment],
    /// Whether the moments are those of `x` and move with it.
    pub own: bool,
    pub eps: f64,
}

/// What [`Backward`] returns.
pub(super) struct Gradients<F> {
    pub dx: Vec<F>,
    /// Empty without a residual.
    pub residual: Vec<F>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

impl<F: Real> KernelVisitor<F> for Backward<'_, F> {
    type Output = Gradients<F>;

    fn visit<K: Pointwise<F>>(self, kernel: K) -> Gradients<F> {
        let Self { x, dims, .. } = self;
        let (mut dx, mut dr) = (Vec::with_capacity(dims.len()), Vec::new());
        // SAFETY: each task below has a channel and images of its own.
        let dx_output = unsafe { Output::new(&mut dx, dims.len()) };
        let dr_output = self.residual.map(|_| {
            dr.reserve_exact(dims.len());
            // SAFETY: as above.
            unsafe { Output::new(&mut dr, dims.len()) }
        });
        // Without own moments dx is a multiple of dz, and needs no second look at the values.
        let direct = !self.own && dr_output.is_none();
        let scale =
            |c: usize| self.parameters.gamma[c] * self.moments[c].inverse_deviation(self.eps);
        let pull = |channel: usize, images: Range<usize>| {
            let scale = scale(channel);
            let (mean, beta) = (self.moments[channel].mean, self.parameters.beta[channel]);
            dispatch(Pull {
                x,
                residual: self.residual,
                grad: self.grad,
                dz: dr_output.unwrap_or(dx_output),
                factor: F::from_f64(if direct { scale } else { 1.0 }),
                runs: dims.runs(channel, images),
                len: dims.plane,
                affine: Affine::new(mean, scale, beta),
                kernel,
            })
        };
        let center = |channel: usize, images: Range<usize>, (dz, dz_d): (f64, f64)| {
            let moment = &self.moments[channel];
            let a = scale(channel);
            let mean = F::from_f64(moment.mean);
            let (b, c) = if self.own {
                let count = dims.per_channel() as f64;
                let deviation = moment.inverse_deviation(self.eps);
                // The sums are around the mean as rounded to `F`.
                let lost = mean.to_f64() - moment.mean;
                let b = -a * deviation * deviation * (dz_d + lost * dz) / count;
                (b, b * lost - a * dz / count)
            } else {
                (0.0, 0.0)
            };
            let centering = Centering {
                center: mean,
                a: F::from_f64(a),
                b: F::from_f64(b),
                c: F::from_f64(c),
            };
            let runs = (dims.runs(channel, images), dims.plane);
            // SAFETY: `pull` has written these runs.
            dispatch(unsafe { Center::new(x, dr_output, dx_output, runs, centering) });
        };
        let parts = dims.parts();
        let sums: Vec<(f64, f64)> = if parts == 1 {
            dims.map(1, |c, images| {
                let sums = pull(c, images.clone());
                if !direct {
                    center(c, images, sums);
                }
                sums
            })
        } else {
            let sums = dims.map(parts, pull);
            let add = |a: (f64, f64), b: &(f64, f64)| (a.0 + b.0, a.1 + b.1);
            let sums = sums.chunks(parts).map(|s| s.iter().fold((0.0, 0.0), add));
            let sums: Vec<(f64, f64)> = sums.collect();
            if !direct {
                dims.map(parts, |c, images| center(c, images, sums[c]));
            }
            sums
        };
        // SAFETY: every run of every channel has been written, and there is nothing between.
        unsafe { dx.set_len(dims.len()) };
        if dr_output.is_some() {
            // SAFETY: as above.
            unsafe { dr.set_len(dims.len()) };
        }
        let gamma = sums.iter().zip(self.moments).map(|((dz, dz_d), moment)| {
            let lost = F::from_f64(moment.mean).to_f64() - moment.mean;
            (dz_d + lost * dz) * moment.inverse_deviation(self.eps)
        });
        Gradients {
            gamma: gamma.collect(),
            beta: sums.iter().map(|(dz, _)| *dz).collect(),
            dx,
            residual: dr,
        }
    }
}
