//! Normalisation with running statistics in place, for the op that computes the values.

use candle_core::{Result, Tensor};

use super::batch::{parameters, read_f64};
use super::kernels::{Affine, Replace};
use super::moment::Moment;
use super::statistics::OP;
use crate::activation::Activation;
use crate::ops::activation::dispatch::{KernelVisitor, visit_kernel};
use crate::ops::activation::simd::Pointwise;
use crate::ops::storage::on_cpu;
use crate::simd::dispatch;

/// act(norm(x) + residual) with running statistics, for values of one channel at a time.
pub(crate) struct RunningNormAct {
    channels: Vec<Affine<f32>>,
    activation: Activation,
}

impl RunningNormAct {
    /// Takes gain and bias, `[2, C]`, mean and variance, `[C]`. The activation must have a vector
    /// kernel.
    pub(crate) fn new(
        gamma_beta: &Tensor,
        (mean, variance): (&Tensor, &Tensor),
        eps: f64,
        activation: Activation,
    ) -> Result<Self> {
        let parameters = parameters(on_cpu(OP, gamma_beta, read_f64)?);
        let means = on_cpu(OP, mean, read_f64)?;
        let variances = on_cpu(OP, variance, read_f64)?;
        let moments = means.into_iter().zip(variances);
        let factors = parameters.gamma.iter().zip(&parameters.beta);
        let channels = moments
            .zip(factors)
            .map(|((mean, variance), (gamma, beta))| {
                let moment = Moment { mean, variance };
                Affine::new(mean, gamma * moment.inverse_deviation(eps), *beta)
            });
        Ok(Self {
            channels: channels.collect(),
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
