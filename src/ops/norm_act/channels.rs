//! Normalisation of all channels of a tensor: the work of each thread, and its order.
//!
//! A thread computes the statistics and the result of a channel (or the sums and the gradient) one
//! after the other, while the channel of the whole batch is in the cache. If there are too few
//! channels to keep all threads busy, the images are divided as well, and the two steps are
//! separate.

use std::ops::Range;

use candle_core::Result;

use super::kernels::{self, Affine, Apply, Center, Centering, Pull};
use super::moment::{Moment, Moments, not_negative};
use super::synchronised;
use crate::ops::AllReduce;
use crate::ops::activation::dispatch::KernelVisitor;
use crate::ops::activation::simd::Pointwise;
use crate::ops::storage::{Output, PARALLEL_THRESHOLD};
use crate::parallel;
use crate::simd::{Real, dispatch};

/// Values that the first estimate of a mean uses.
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

    /// The starts of the runs of `channel` in `images`.
    fn runs(&self, channel: usize, images: Range<usize>) -> impl Iterator<Item = usize> + use<> {
        let Self {
            channels, plane, ..
        } = *self;
        images.map(move |image| (image * channels + channel) * plane)
    }

    /// The number of parts of the images that keeps all threads busy.
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

/// The sums of d and d^2 over `images` of `channel`, with d = x - pivot.
fn sums<F: Real>(
    x: &[F],
    dims: &Dims,
    channel: usize,
    images: Range<usize>,
    pivot: F,
) -> (f64, f64) {
    dispatch(kernels::Moments {
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
    let (sum, _) = dispatch(kernels::Moments {
        x,
        runs: std::iter::once(first),
        len: count,
        pivot: F::from_f64(0.0),
    });
    F::from_f64(sum / count as f64)
}

/// The moments from the `sums` of `count` values around `pivot`, and whether the pivot is too far
/// from the mean for an accurate variance.
fn moment<F: Real>(sums: (f64, f64), pivot: F, count: usize) -> (Moment, bool) {
    let offset = sums.0 / count as f64;
    let variance = not_negative(sums.1 / count as f64 - offset * offset);
    let moment = Moment {
        mean: pivot.to_f64() + offset,
        variance,
    };
    // The variance loses the bits by which offset^2 exceeds it.
    (moment, offset * offset > 2.0 * variance)
}

/// The moments of `channel`: one pass over its values, or two if the first pivot is poor.
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

/// The moments of all channels, with the images divided into parts.
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
    /// Statistics to use instead of the batch's.
    pub given: Option<&'a [Moment]>,
    /// The processes that have the other parts of the batch.
    pub processes: Option<&'a dyn AllReduce>,
    pub eps: f64,
}

impl<F: Real> KernelVisitor<F> for Forward<'_, F> {
    /// The result and the statistics.
    type Output = Result<(Vec<F>, Moments)>;

    fn visit<K: Pointwise<F>>(self, kernel: K) -> Self::Output {
        let Self { x, dims, .. } = self;
        let mut y = Vec::with_capacity(dims.len());
        let parts = dims.parts();
        // SAFETY: no two tasks below share both channel and images.
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
        let mut count = dims.per_channel() as f64;
        let moments = match (self.given, self.processes) {
            (Some(given), _) => {
                dims.map(parts, |c, images| apply(c, images, &given[c]));
                given.to_vec()
            }
            (None, Some(processes)) => {
                let local = match parts {
                    1 => dims.map(1, |c, _| channel_moments(x, &dims, c)),
                    _ => divided_moments(x, &dims, parts),
                };
                let moments;
                (moments, count) = synchronised::moments(&local, dims.per_channel(), processes)?;
                dims.map(parts, |c, images| apply(c, images, &moments[c]));
                moments
            }
            (None, None) if parts > 1 => {
                let moments = divided_moments(x, &dims, parts);
                dims.map(parts, |c, images| apply(c, images, &moments[c]));
                moments
            }
            (None, None) => dims.map(1, |c, images| {
                let moment = channel_moments(x, &dims, c);
                apply(c, images, &moment);
                moment
            }),
        };
        // SAFETY: every run of every channel is written, and the runs are all of the memory.
        unsafe { y.set_len(dims.len()) };
        let channels = moments;
        Ok((y, Moments { channels, count }))
    }
}

/// The gradients of [`Forward`].
pub(super) struct Backward<'a, F> {
    pub x: &'a [F],
    pub residual: Option<&'a [F]>,
    pub grad: &'a [F],
    pub dims: Dims,
    pub parameters: &'a Parameters,
    pub moments: &'a Moments,
    /// Whether the moments come from `x`, so that gradients flow through them.
    pub own: bool,
    /// The processes that have the other parts of the batch.
    pub processes: Option<&'a dyn AllReduce>,
    pub eps: f64,
}

/// The result of [`Backward`].
pub(super) struct Gradients<F> {
    pub dx: Vec<F>,
    /// Empty without a residual.
    pub residual: Vec<F>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

impl<F: Real> KernelVisitor<F> for Backward<'_, F> {
    type Output = Result<Gradients<F>>;

    fn visit<K: Pointwise<F>>(self, kernel: K) -> Self::Output {
        let Self { x, dims, .. } = self;
        let moments = &self.moments.channels;
        let (mut dx, mut dr) = (Vec::with_capacity(dims.len()), Vec::new());
        // SAFETY: no two tasks below share both channel and images.
        let dx_output = unsafe { Output::new(&mut dx, dims.len()) };
        let dr_output = self.residual.map(|_| {
            dr.reserve_exact(dims.len());
            // SAFETY: as above.
            unsafe { Output::new(&mut dr, dims.len()) }
        });
        // With constant moments, dx is a multiple of dz and needs no second pass over the values.
        let direct = !self.own && dr_output.is_none();
        let scale = |c: usize| self.parameters.gamma[c] * moments[c].inverse_deviation(self.eps);
        let pull = |channel: usize, images: Range<usize>| {
            let scale = scale(channel);
            let (mean, beta) = (moments[channel].mean, self.parameters.beta[channel]);
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
            let moment = &moments[channel];
            let a = scale(channel);
            let mean = F::from_f64(moment.mean);
            let (b, c) = if self.own {
                let count = self.moments.count;
                let deviation = moment.inverse_deviation(self.eps);
                // The sums are around the mean rounded to `F`.
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
        let sums: Vec<(f64, f64)> = if parts == 1 && self.processes.is_none() {
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
            // The gradients of gain and bias cover this part of the batch. The sum over the
            // processes comes later, as for all parameters.
            let all = match self.processes {
                Some(processes) => &synchronised::pairs(&sums, processes)?,
                None => &sums,
            };
            if !direct {
                dims.map(parts, |c, images| center(c, images, all[c]));
            }
            sums
        };
        // SAFETY: every run of every channel is written, and the runs are all of the memory.
        unsafe { dx.set_len(dims.len()) };
        if dr_output.is_some() {
            // SAFETY: as above.
            unsafe { dr.set_len(dims.len()) };
        }
        let gamma = sums.iter().zip(moments).map(|((dz, dz_d), moment)| {
            let lost = F::from_f64(moment.mean).to_f64() - moment.mean;
            (dz_d + lost * dz) * moment.inverse_deviation(self.eps)
        });
        Ok(Gradients {
            gamma: gamma.collect(),
            beta: sums.iter().map(|(dz, _)| *dz).collect(),
            dx,
            residual: dr,
        })
    }
}
