//! Normalisation with running statistics in place, for the op that computes the values.

use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor};

use super::batch::read_f64;
use super::kernels::{Affine, Replace};
use super::moment::Moment;
use super::statistics::OP;
use crate::activation::Activation;
use crate::ops::activation::dispatch::{KernelVisitor, visit_kernel};
use crate::ops::activation::simd::Pointwise;
use crate::ops::storage::on_cpu;
use crate::simd::dispatch;

/// The parameters and running statistics of a batch normalisation.
#[derive(Debug, Clone, Copy)]
pub struct RunningNorm<'a> {
    /// The gain of each channel, `[C]`.
    pub weight: &'a Tensor,
    /// The bias of each channel, `[C]`.
    pub bias: &'a Tensor,
    /// The running mean, `[C]`.
    pub mean: &'a Tensor,
    /// The running variance, `[C]`.
    pub variance: &'a Tensor,
    /// Added to the variance.
    pub eps: f64,
    /// Keeps the scales of the channels between calls. Only for parameters and statistics that do
    /// not change.
    pub scales: Option<&'a RunningScales>,
}

/// The factor and the offset of each channel that follow from parameters and running statistics,
/// kept between calls.
///
/// The first call with empty scales fills them, and later calls use them. They must be used with
/// one norm only, and its values must not change: neither is checked. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RunningScales(Arc<OnceLock<Channels>>);

type Channels = Arc<[Affine<f32>]>;

/// act(norm(x) + residual) with running statistics, for values of one channel at a time.
pub(crate) struct RunningNormAct {
    channels: Channels,
    activation: Activation,
}

impl RunningNormAct {
    /// The activation must have a vector kernel.
    pub(crate) fn new(norm: &RunningNorm, activation: Activation) -> Result<Self> {
        let channels = match norm.scales {
            None => channels(norm)?,
            Some(RunningScales(kept)) => match kept.get() {
                Some(channels) => channels.clone(),
                None => {
                    let channels = channels(norm)?;
                    kept.get_or_init(|| channels).clone()
                }
            },
        };
        Ok(Self {
            channels,
            activation,
        })
    }

    /// Replaces values of `channel`.
    pub(crate) fn apply(&self, channel: usize, x: &mut [f32], residual: Option<&[f32]>) {
        struct Visitor<'a> {
            x: &'a mut [f32],
            residual: Option<&'a [f32]>,
            affine: Affine<f32>,
        }

        impl KernelVisitor<f32> for Visitor<'_> {
            type Output = ();

            fn visit<K: Pointwise<f32>>(self, kernel: K) {
                let Self {
                    x,
                    residual,
                    affine,
                } = self;
                dispatch(Replace {
                    x,
                    residual,
                    affine,
                    kernel,
                });
            }
        }

        let visitor = Visitor {
            x,
            residual,
            affine: self.channels[channel],
        };
        let applied = visit_kernel(&self.activation, visitor);
        assert!(applied.is_some(), "{:?} has no kernel", self.activation);
    }
}

fn channels(norm: &RunningNorm) -> Result<Channels> {
    let read = |tensor| on_cpu(OP, tensor, read_f64);
    let (gamma, beta) = (read(norm.weight)?, read(norm.bias)?);
    let moments = read(norm.mean)?.into_iter().zip(read(norm.variance)?);
    let channels = moments
        .zip(gamma.iter().zip(&beta))
        .map(|((mean, variance), (gamma, beta))| {
            let moment = Moment { mean, variance };
            Affine::new(mean, gamma * moment.inverse_deviation(norm.eps), *beta)
        });
    Ok(channels.collect())
}
