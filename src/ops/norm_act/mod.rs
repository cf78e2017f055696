//! Normalisation with the residual and activation after it: `act(bn(x) + residual)` as one node of
//! the graph.
//!
//! Batch normalisation follows Ioffe and Szegedy (2015) with PyTorch's conventions. The graph keeps
//! the inputs and two numbers per channel. The backward pass recomputes the normalised values and
//! the argument of the activation, which is cheaper than storing them.

mod batch;
mod channels;
mod channels_last;
mod composed;
mod constants;
mod fold;
mod group;
mod kernels;
mod moment;
mod pixels;
mod running;
mod statistics;
mod synchronised;

use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor, bail};

use crate::activation::Activation;
use crate::autograd::trace::{Operation, note};
use crate::autograd::{apply2, apply3};
use crate::ops::activation::{activation as activate, has_kernel};
use crate::ops::composed::composes;
use crate::ops::storage::{elements, on_cpu};
use batch::{BatchNormAct, read_f64};
use moment::{Moment, Moments};
use statistics::OP;

pub use fold::fold_batch_norm;
pub use group::{group_norm, layer_norm};
pub(crate) use pixels::Pixels;
pub(crate) use running::RunningNormAct;
pub use running::{RunningNorm, RunningScales};
pub use statistics::{BatchStatistics, Statistics};

/// `act(norm(x) * gamma + beta + residual)`, and the batch's statistics for [`Statistics::Batch`].
///
/// `gamma_beta` holds gain and bias of each channel; [`stack`](crate::ops::stack) makes it from the
/// two. `eps` is added to the variance. `gamma_beta` may have a wider type than `x`; the statistics
/// have its type. The op is differentiable with [`Statistics::Running`] too. An empty batch gives
/// an empty result and no statistics.
///
/// # Shapes
/// - `x`, `residual` and the result: `[N, C, ..]`
/// - `gamma_beta`: `[2, C]`
///
/// # Errors
/// If shapes or types do not fit, or if there is a single value per channel with
/// [`Statistics::Batch`], or in all processes with [`Statistics::Synchronised`]: its variance is
/// undefined.
pub fn batch_norm_act(
    x: &Tensor,
    gamma_beta: &Tensor,
    residual: Option<&Tensor>,
    statistics: Statistics,
    eps: f64,
    activation: &Activation,
) -> Result<(Tensor, Option<BatchStatistics>)> {
    let &[images, channels, ref rest @ ..] = x.dims() else {
        bail!("{OP} takes [N, C] or [N, C, H, W], not {:?}", x.dims());
    };
    if gamma_beta.dims() != [2, channels] {
        bail!(
            "{OP}: gain and bias must be [2, {channels}], not {:?}",
            gamma_beta.dims()
        );
    }
    if let Some(residual) = residual
        && residual.dims() != x.dims()
    {
        bail!(
            "{OP}: the residual {:?} does not fit {:?}",
            residual.dims(),
            x.dims()
        );
    }
    let count = elements(OP, &[&[images], rest].concat())?;
    match statistics {
        Statistics::Running { mean, variance } => check_running(mean, variance, channels)?,
        Statistics::Batch if count == 1 => bail!(
            "{OP}: the statistics of a batch need more than one value per channel, \
             {:?} has {count}: use a larger batch, or running statistics",
            x.dims()
        ),
        Statistics::Synchronised(_) if count == 0 => bail!(
            "{OP}: synchronised statistics need at least one image in each process, not {:?}",
            x.dims()
        ),
        Statistics::Batch | Statistics::Synchronised(_) => {}
    }
    if composes(x) {
        return composed::batch_norm_act(x, gamma_beta, residual, statistics, eps, activation);
    }
    let given = match statistics {
        Statistics::Running { mean, variance } => Some(running(mean, variance)?),
        Statistics::Synchronised(_) => None,
        // There is no value to normalise, so the statistics do not matter.
        Statistics::Batch if count == 0 => Some(vec![
            Moment {
                mean: 0.0,
                variance: 1.0,
            };
            channels
        ]),
        Statistics::Batch => None,
    };
    let own = given.is_none();
    let used = Arc::new(OnceLock::new());
    if let Some(channels) = given {
        let count = count as f64;
        used.get_or_init(|| Moments { channels, count });
    }
    let processes = match statistics {
        Statistics::Synchronised(processes) => Some(processes.clone()),
        Statistics::Batch | Statistics::Running { .. } => None,
    };
    // An activation without a vector kernel is applied to the result.
    let fused = if has_kernel(activation) {
        *activation
    } else {
        Activation::Identity
    };
    let op = BatchNormAct {
        activation: fused,
        eps,
        own,
        processes,
        moments: used.clone(),
    };
    let in_pixels = match statistics {
        Statistics::Running { mean, variance } if !gamma_beta.track_op() => {
            let norm = || RunningNormAct::stacked(gamma_beta, (mean, variance), eps, fused);
            channels_last::norm_act(x, residual, norm)?
        }
        _ => None,
    };
    let y = match (in_pixels, residual) {
        (Some(y), _) => y,
        (None, None) => apply2(op, x, gamma_beta)?,
        (None, Some(residual)) => apply3(op, x, gamma_beta, residual)?,
    };
    if let Statistics::Running { mean, variance } = statistics {
        let inputs = [x, gamma_beta, mean, variance];
        let inputs: Vec<&Tensor> = inputs.into_iter().chain(residual).collect();
        let activation = fused;
        note(|| Operation::BatchNormAct { eps, activation }, &inputs, &y)?;
    }
    let y = if fused == *activation {
        y
    } else {
        activate(&y, activation)?
    };
    if !own {
        return Ok((y, None));
    }
    let (moments, count): (&[Moment], f64) = match used.get() {
        Some(used) => (&used.channels, used.count),
        None => (&[], 0.0),
    };
    let unbiased = count / (count - 1.0);
    let vector = |values: Vec<f64>| {
        Tensor::from_vec(values, channels, x.device())?.to_dtype(gamma_beta.dtype())
    };
    let statistics = BatchStatistics {
        mean: vector(moments.iter().map(|m| m.mean).collect())?,
        variance: vector(moments.iter().map(|m| m.variance * unbiased).collect())?,
    };
    Ok((y, Some(statistics)))
}

fn check_running(mean: &Tensor, variance: &Tensor, channels: usize) -> Result<()> {
    if mean.dims() != [channels] || variance.dims() != [channels] {
        bail!(
            "{OP}: running mean and variance must be [{channels}], not {:?} and {:?}",
            mean.dims(),
            variance.dims()
        );
    }
    Ok(())
}

fn running(mean: &Tensor, variance: &Tensor) -> Result<Vec<Moment>> {
    let mean = on_cpu(OP, mean, read_f64)?;
    let variance = on_cpu(OP, variance, read_f64)?;
    let pairs = mean.into_iter().zip(variance);
    Ok(pairs
        .map(|(mean, variance)| Moment { mean, variance })
        .collect())
}
