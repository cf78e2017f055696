//! Normalisation in Candle's ops. Like the fused ops, each is one node of the graph that keeps its
//! inputs and the statistics.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::moment::Moment;
use super::statistics::{BatchStatistics, OP, Statistics};
use super::synchronised;
use crate::activation::Activation;
use crate::ops::AllReduce;
use crate::ops::activation::{activation as activate, activation_gradient};
use crate::ops::composed::{into_node, wide};
use crate::ops::storage::same_dtype;

/// `act((x - mean) * inverse * gain + bias + residual)`, on `[images, channels, plane]`.
#[derive(Clone)]
struct Normalised {
    activation: Activation,
    /// `[1, channels, 1]`
    mean: Tensor,
    /// The rounding error of the mean.
    rest: Tensor,
    /// One over the standard deviation.
    inverse: Tensor,
    /// Whether mean and deviation come from the batch, so that gradients flow through them.
    own: bool,
    /// The number of values of a channel.
    count: f64,
    /// The processes that have the other parts of the batch.
    processes: Option<Arc<dyn AllReduce>>,
}

/// `x` as `[images, channels, plane]`, in its compute type.
fn planes(x: &Tensor) -> Result<Tensor> {
    let (images, channels) = (x.dim(0)?, x.dim(1)?);
    let plane = x.dims().iter().skip(2).product::<usize>();
    wide(OP, &x.detach())?
        .contiguous()?
        .reshape((images, channels, plane))
}

/// The sum over planes and then over images, which rounds less than one long sum:
/// `[1, channels, 1]`.
fn channel_sums(x: &Tensor) -> Result<Tensor> {
    x.sum_keepdim(2)?.sum_keepdim(0)
}

/// A vector `[channels]` or a row of `[2, channels]` as `[1, channels, 1]`, in type `dtype`.
fn channel_vector(values: &Tensor, dtype: DType) -> Result<Tensor> {
    let channels = values.elem_count();
    values.detach().to_dtype(dtype)?.reshape((1, channels, 1))
}

impl Normalised {
    /// The normalised values.
    fn values(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&self.mean)?.broadcast_sub(&self.rest)?;
        centred.broadcast_mul(&self.inverse)
    }

    /// The argument of the activation.
    fn inner(
        &self,
        values: &Tensor,
        gamma_beta: &Tensor,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let [gamma, beta] = gain_and_bias(gamma_beta, values.dtype())?;
        let inner = values.broadcast_mul(&gamma)?.broadcast_add(&beta)?;
        match residual {
            None => Ok(inner),
            Some(residual) => inner + planes(residual)?,
        }
    }

    fn forward(
        &self,
        x: &Tensor,
        gamma_beta: &Tensor,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let inner = self.inner(&self.values(&planes(x)?)?, gamma_beta, residual)?;
        let y = activate(&inner, &self.activation)?;
        y.reshape(x.shape())?.to_dtype(x.dtype())
    }

    /// The gradients of x, of gain and bias, and of the residual.
    fn backward(
        &self,
        x: &Tensor,
        gamma_beta: &Tensor,
        residual: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        same_dtype(OP, x.dtype(), grad.dtype())?;
        let wide_x = planes(x)?;
        let values = self.values(&wide_x)?;
        let inner = self.inner(&values, gamma_beta, residual)?;
        let grad = activation_gradient(&inner, &planes(grad)?, &self.activation)?;
        let of_beta = channel_sums(&grad)?;
        let of_gamma = channel_sums(&(&grad * &values)?)?;
        let [gamma, _] = gain_and_bias(gamma_beta, grad.dtype())?;
        let scale = (gamma * &self.inverse)?;
        let centred = if self.own {
            let (of_beta, of_gamma) = match &self.processes {
                None => (of_beta.clone(), of_gamma.clone()),
                Some(processes) => over_processes(&of_beta, &of_gamma, &**processes)?,
            };
            let mean = (of_beta / self.count)?;
            let slope = (of_gamma / self.count)?;
            let lost = values.broadcast_mul(&slope)?.broadcast_add(&mean)?;
            (&grad - lost)?
        } else {
            grad.clone()
        };
        let dx = centred.broadcast_mul(&scale)?;
        let like_x = |t: Tensor| t.reshape(x.shape())?.to_dtype(x.dtype());
        let parameters = Tensor::cat(&[of_gamma.flatten_all()?, of_beta.flatten_all()?], 0)?;
        let parameters = parameters.reshape(gamma_beta.shape())?;
        let mut gradients = vec![
            Some(like_x(dx)?),
            Some(parameters.to_dtype(gamma_beta.dtype())?),
        ];
        if residual.is_some() {
            gradients.push(Some(like_x(grad)?));
        }
        Ok(gradients)
    }
}

fn gain_and_bias(gamma_beta: &Tensor, dtype: DType) -> Result<[Tensor; 2]> {
    let row = |i: usize| channel_vector(&gamma_beta.narrow(0, i, 1)?.contiguous()?, dtype);
    Ok([row(0)?, row(1)?])
}

/// The values of a channel vector in f64. Not every device has f64.
fn in_f64(values: &Tensor) -> Result<Vec<f64>> {
    let values = values.to_device(&Device::Cpu)?.flatten_all()?;
    values.to_dtype(DType::F64)?.to_vec1()
}

/// A channel vector in the type and on the device of `like`.
fn as_channel_vector(values: Vec<f64>, like: &Tensor) -> Result<Tensor> {
    let values = Tensor::from_vec(values, like.shape(), &Device::Cpu)?;
    values.to_dtype(like.dtype())?.to_device(like.device())
}

/// Mean, its rounding error, variance and number of values over all processes, from mean and variance
/// of the `count` values of this process.
fn synchronise(
    (mean, variance): (&Tensor, &Tensor),
    count: usize,
    processes: &dyn AllReduce,
) -> Result<(Tensor, Tensor, Tensor, f64)> {
    let pairs = in_f64(mean)?.into_iter().zip(in_f64(variance)?);
    let local: Vec<Moment> = pairs
        .map(|(mean, variance)| Moment { mean, variance })
        .collect();
    let (moments, count) = synchronised::moments(&local, count, processes)?;
    let means: Vec<f64> = moments.iter().map(|moment| moment.mean).collect();
    let rounded = as_channel_vector(means.clone(), mean)?;
    let errors = means.iter().zip(in_f64(&rounded)?);
    let errors = errors.map(|(mean, rounded)| mean - rounded).collect();
    let variances = moments.iter().map(|moment| moment.variance).collect();
    Ok((
        rounded,
        as_channel_vector(errors, mean)?,
        as_channel_vector(variances, variance)?,
        count,
    ))
}

/// The sums of two channel vectors over all processes.
fn over_processes(
    first: &Tensor,
    second: &Tensor,
    processes: &dyn AllReduce,
) -> Result<(Tensor, Tensor)> {
    let local: Vec<_> = in_f64(first)?.into_iter().zip(in_f64(second)?).collect();
    let (sums, of_second) = synchronised::pairs(&local, processes)?.into_iter().unzip();
    Ok((
        as_channel_vector(sums, first)?,
        as_channel_vector(of_second, second)?,
    ))
}

/// As [`super::batch_norm_act`], which has checked the arguments.
pub(super) fn batch_norm_act(
    x: &Tensor,
    gamma_beta: &Tensor,
    residual: Option<&Tensor>,
    statistics: Statistics,
    eps: f64,
    activation: &Activation,
) -> Result<(Tensor, Option<BatchStatistics>)> {
    if let Some(residual) = residual {
        same_dtype(OP, x.dtype(), residual.dtype())?;
    }
    let inputs: Vec<&Tensor> = [x, gamma_beta].into_iter().chain(residual).collect();
    if x.elem_count() == 0 {
        let y = x.detach().force_contiguous()?;
        let y = into_node(OP, &inputs, y, |inputs, _, _| {
            let zeros = inputs.iter().map(|input| input.zeros_like().map(Some));
            zeros.collect()
        })?;
        return Ok((y, None));
    }
    let wide_x = planes(x)?;
    let (images, channels, plane) = wide_x.dims3()?;
    let dtype = wide_x.dtype();
    let mut count = (images * plane) as f64;
    let mut processes = None;
    let (mean, rest, variance, own) = match statistics {
        Statistics::Batch | Statistics::Synchronised(_) => {
            let mean = (channel_sums(&wide_x)? / count)?;
            let centred = wide_x.broadcast_sub(&mean)?;
            let rest = (channel_sums(&centred)? / count)?;
            let square = centred.broadcast_sub(&rest)?.sqr()?;
            let variance = (channel_sums(&square)? / count)?;
            if let Statistics::Synchronised(all) = statistics {
                let local = (&(&mean + &rest)?, &variance);
                let (mean, rest, variance, total) = synchronise(local, images * plane, &**all)?;
                (processes, count) = (Some(all.clone()), total);
                (mean, rest, variance, true)
            } else {
                (mean, rest, variance, true)
            }
        }
        Statistics::Running { mean, variance } => {
            let mean = channel_vector(mean, dtype)?;
            let rest = mean.zeros_like()?;
            (mean, rest, channel_vector(variance, dtype)?, false)
        }
    };
    let norm = Normalised {
        activation: *activation,
        inverse: (&variance + eps)?.sqrt()?.recip()?,
        mean,
        rest,
        own,
        count,
        processes,
    };
    let of_batch = if own {
        let vector = |t: &Tensor| t.reshape(channels)?.to_dtype(gamma_beta.dtype());
        Some(BatchStatistics {
            mean: vector(&(&norm.mean + &norm.rest)?)?,
            variance: vector(&(variance * (count / (count - 1.0)))?)?,
        })
    } else {
        None
    };
    let y = norm.forward(
        &x.detach(),
        &gamma_beta.detach(),
        residual.map(Tensor::detach).as_ref(),
    )?;
    let y = into_node(OP, &inputs, y, move |inputs, _, grad| match *inputs {
        [x, gamma_beta] => norm.backward(x, gamma_beta, None, grad),
        [x, gamma_beta, residual] => norm.backward(x, gamma_beta, Some(residual), grad),
        _ => bail!("{OP} has two or three inputs"),
    })?;
    Ok((y, of_batch))
}

/// The sizes of `x` as `[images, groups, channels, plane]`.
#[derive(Clone, Copy)]
struct Grouped {
    images: usize,
    groups: usize,
    channels: usize,
    plane: usize,
}

impl Grouped {
    /// `x` with a row for each set of statistics.
    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let rows = (self.images, self.groups, self.channels, self.plane);
        wide("group_norm", &x.detach())?.contiguous()?.reshape(rows)
    }

    fn parameter(&self, parameter: &Tensor, dtype: DType) -> Result<Tensor> {
        let shape = (1, self.groups, self.channels, 1);
        parameter.detach().to_dtype(dtype)?.reshape(shape)
    }

    fn mean(&self, x: &Tensor) -> Result<Tensor> {
        let count = (self.channels * self.plane) as f64;
        x.sum_keepdim((2, 3))? / count
    }

    /// The normalised values and one over their deviation.
    fn normalise(&self, x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
        let centred = x.broadcast_sub(&self.mean(x)?)?;
        // A second subtraction removes the rounding error of the mean.
        let centred = centred.broadcast_sub(&self.mean(&centred)?)?;
        let inverse = (self.mean(&centred.sqr()?)? + eps)?.sqrt()?.recip()?;
        Ok((centred.broadcast_mul(&inverse)?, inverse))
    }
}

/// Group and layer norm of `x` with `groups` groups of `channels` channels of `plane` values in
/// each image; see [`super::group`].
pub(super) fn group_norm(
    name: &'static str,
    (groups, channels, plane): (usize, usize, usize),
    [x, weight, bias]: [&Tensor; 3],
    eps: f64,
) -> Result<Tensor> {
    let size = (groups * channels * plane).max(1);
    let grouped = Grouped {
        images: x.elem_count() / size,
        groups,
        channels,
        plane,
    };
    let y = if x.elem_count() == 0 {
        x.detach().force_contiguous()?
    } else {
        let (values, _) = grouped.normalise(&grouped.rows(x)?, eps)?;
        let gain = grouped.parameter(weight, values.dtype())?;
        let shift = grouped.parameter(bias, values.dtype())?;
        let y = values.broadcast_mul(&gain)?.broadcast_add(&shift)?;
        y.reshape(x.shape())?.to_dtype(x.dtype())?
    };
    into_node(name, &[x, weight, bias], y, move |inputs, _, grad| {
        let [x, weight, bias] = *inputs else {
            bail!("{name} has three inputs");
        };
        same_dtype(name, x.dtype(), grad.dtype())?;
        if x.elem_count() == 0 {
            let zeros = |t: &Tensor| t.zeros_like().map(Some);
            return Ok(vec![zeros(x)?, zeros(weight)?, zeros(bias)?]);
        }
        let (values, inverse) = grouped.normalise(&grouped.rows(x)?, eps)?;
        let grad = grouped.rows(grad)?;
        let weighted = grad.broadcast_mul(&grouped.parameter(weight, grad.dtype())?)?;
        let slope = grouped.mean(&(&weighted * &values)?)?;
        let lost = values.broadcast_mul(&slope)?;
        let lost = lost.broadcast_add(&grouped.mean(&weighted)?)?;
        let dx = (weighted - lost)?.broadcast_mul(&inverse)?;
        let like = |t: Tensor, of: &Tensor| t.reshape(of.shape())?.to_dtype(of.dtype()).map(Some);
        let of_weight = (&grad * values)?.sum((0, 3))?;
        Ok(vec![
            like(dx, x)?,
            like(of_weight, weight)?,
            like(grad.sum((0, 3))?, bias)?,
        ])
    })
}
