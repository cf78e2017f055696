//! Normalisation with running statistics in place, for the op that computes the values.

use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor};

use super::batch::read_f64;
use super::constants::Channels;
use super::kernels::{Affine, Replace};
use super::pixels::{NormPixels, Pixels};
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
pub struct RunningScales(Arc<OnceLock<Arc<Channels>>>);

/// act(norm(x) + residual) with running statistics, for values of one channel, or of neighbouring
/// channels.
pub(crate) struct RunningNormAct {
    channels: Arc<Channels>,
    activation: Activation,
}

impl RunningNormAct {
    /// The activation must have a vector kernel.
    pub(crate) fn new(norm: &RunningNorm, activation: Activation) -> Result<Self> {
        let channels = match norm.scales {
            None => read_channels(norm)?,
            Some(RunningScales(kept)) => match kept.get() {
                Some(channels) => channels.clone(),
                None => {
                    let channels = read_channels(norm)?;
                    kept.get_or_init(|| channels).clone()
                }
            },
        };
        Ok(Self {
            channels,
            activation,
        })
    }

    /// From gain and bias, `[2, C]`, and the statistics, `[C]` each. The activation must have a
    /// vector kernel.
    pub(super) fn stacked(
        gamma_beta: &Tensor,
        (mean, variance): (&Tensor, &Tensor),
        eps: f64,
        activation: Activation,
    ) -> Result<Self> {
        let read = |tensor| on_cpu(OP, tensor, read_f64);
        let (gamma_beta, mean, variance) = (read(gamma_beta)?, read(mean)?, read(variance)?);
        let (gamma, beta) = gamma_beta.split_at(mean.len());
        Ok(Self {
            channels: Arc::new(Channels::new([gamma, beta, &mean, &variance], eps)),
            activation,
        })
    }

    /// Center, scale and shift of each channel, and [`PADDING`] zeros.
    pub(crate) fn constants(&self) -> [&[f32]; 3] {
        let Channels {
            center,
            scale,
            shift,
        } = &*self.channels;
        [center, scale, shift]
    }

    /// The bounds of the activation, if it is the identity between bounds.
    pub(crate) fn bounds(&self) -> Option<(f64, f64)> {
        let infinity = f64::INFINITY;
        match self.activation {
            Activation::Identity => Some((-infinity, infinity)),
            Activation::Relu => Some((0.0, infinity)),
            Activation::Relu6 => Some((0.0, 6.0)),
            Activation::Hardtanh { min, max } => Some((min, max)),
            _ => None,
        }
    }

    /// Writes the results of some pixels.
    ///
    /// # Safety
    /// All values must be readable or writable, and no other thread may access the results.
    pub(crate) unsafe fn apply_to_pixels(&self, pixels: Pixels) {
        // SAFETY: guaranteed by the caller.
        let visitor = unsafe { NormPixels::new(&self.channels, pixels) };
        let applied = visit_kernel(&self.activation, visitor);
        assert!(applied.is_some(), "{:?} has no kernel", self.activation);
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
            affine: self.channels.affine(channel),
        };
        let applied = visit_kernel(&self.activation, visitor);
        assert!(applied.is_some(), "{:?} has no kernel", self.activation);
    }
}

fn read_channels(norm: &RunningNorm) -> Result<Arc<Channels>> {
    let read = |tensor| on_cpu(OP, tensor, read_f64);
    let (gamma, beta) = (read(norm.weight)?, read(norm.bias)?);
    let (mean, variance) = (read(norm.mean)?, read(norm.variance)?);
    let channels = Channels::new([&gamma, &beta, &mean, &variance], norm.eps);
    Ok(Arc::new(channels))
}
