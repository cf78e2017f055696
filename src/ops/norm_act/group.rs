//! Group and layer normalisation, with the statistics of each group or row.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::batch::read_f64;
use super::channels::{Dims, channel_moments};
use super::composed;
use super::moment::Moment;
use crate::autograd::apply3;
use crate::ops::composed::composes;
use crate::ops::storage::{
    Float, PARALLEL_THRESHOLD, build, elements, on_cpu, same_dtype, with_float,
};
use crate::parallel;
use crate::simd::Real;

/// Normalises each group of channels of each image to mean zero and variance one, then applies
/// `weight` and `bias` per channel (Wu, He, "Group Normalization", 2018).
///
/// `weight` and `bias` default to one and zero, and may have a wider type than `x`. `eps` is added
/// to the biased variance. Training and evaluation are the same.
///
/// # Shapes
/// - `x` and the result: `[N, C, ..]`
/// - `weight` and `bias`: `[C]`
///
/// # Errors
/// If `num_groups` does not divide the channels, or shapes or types do not fit.
pub fn group_norm(
    x: &Tensor,
    num_groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    const OP: &str = "group_norm";
    let &[_, channels, ref rest @ ..] = x.dims() else {
        bail!("{OP} takes [N, C, ..], not {:?}", x.dims());
    };
    if num_groups == 0 || !channels.is_multiple_of(num_groups) {
        bail!("{OP}: {num_groups} groups do not divide {channels} channels");
    }
    elements(OP, &x.dims()[1..])?;
    let groups = Groups {
        groups: num_groups,
        channels: channels / num_groups,
        plane: elements(OP, rest)?,
    };
    apply(OP, groups, x, &[channels], weight, bias, eps)
}

/// Normalises the values of the last axes to mean zero and variance one, then applies `weight` and
/// `bias` (Ba, Kiros, Hinton, "Layer Normalization", 2016). `weight`, `bias` and `eps` are as in
/// [`group_norm`].
///
/// # Shapes
/// - `x` and the result: `[.., normalized_shape]`
/// - `weight` and `bias`: `normalized_shape`
///
/// # Errors
/// If `normalized_shape` is empty or not the last axes of `x`, or shapes or types do not fit.
pub fn layer_norm(
    x: &Tensor,
    normalized_shape: &[usize],
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    if normalized_shape.is_empty() || !x.dims().ends_with(normalized_shape) {
        bail!(
            "{OP}: {normalized_shape:?} are not the last axes of {:?}",
            x.dims()
        );
    }
    let groups = Groups {
        groups: 1,
        channels: elements(OP, normalized_shape)?,
        plane: 1,
    };
    apply(OP, groups, x, normalized_shape, weight, bias, eps)
}

fn apply(
    name: &'static str,
    groups: Groups,
    x: &Tensor,
    shape: &[usize],
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    for (what, tensor) in [("weight", weight), ("bias", bias)] {
        if let Some(tensor) = tensor
            && tensor.dims() != shape
        {
            bail!("{name}: {what} must be {shape:?}, not {:?}", tensor.dims());
        }
    }
    let or = |tensor: Option<&Tensor>, value: f32| match tensor {
        Some(tensor) => Ok(tensor.clone()),
        None => Tensor::full(value, shape, x.device()),
    };
    let (weight, bias) = (or(weight, 1.0)?, or(bias, 0.0)?);
    if composes(x) {
        let sizes = (groups.groups, groups.channels, groups.plane);
        return composed::group_norm(name, sizes, [x, &weight, &bias], eps);
    }
    let op = GroupNorm {
        name,
        groups,
        eps,
        moments: OnceLock::new(),
    };
    apply3(op, x, &weight, &bias)
}

/// The rows of values that share their statistics: `groups` per image, each of `channels` times
/// `plane` values.
#[derive(Debug, Clone, Copy)]
struct Groups {
    groups: usize,
    channels: usize,
    plane: usize,
}

impl Groups {
    /// The values of one row.
    fn len(&self) -> usize {
        self.channels * self.plane
    }

    /// The index of the first channel of a row in weight and bias.
    fn first_channel(&self, row: usize) -> usize {
        row % self.groups * self.channels
    }

    /// `values` values as consecutive rows.
    fn rows(&self, values: usize) -> Dims {
        Dims {
            images: 1,
            channels: values / self.len().max(1),
            plane: self.len(),
        }
    }
}

struct GroupNorm {
    name: &'static str,
    groups: Groups,
    eps: f64,
    /// The moments of each row, which the forward pass fills in.
    moments: OnceLock<Vec<Moment>>,
}

/// The sums of the backward pass over some rows.
struct Sums {
    /// Sums of dy weight and of dy weight (x - mean) of each row.
    rows: Vec<(f64, f64)>,
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl GroupNorm {
    fn normalise<T: Float + Real>(
        &self,
        x: &[T],
        weight: &[f64],
        bias: &[f64],
    ) -> (Vec<T>, Vec<Moment>) {
        let Groups {
            channels, plane, ..
        } = self.groups;
        let len = self.groups.len();
        let rows = self.groups.rows(x.len());
        let min_len = PARALLEL_THRESHOLD.div_ceil(len.max(1));
        let moment = |row: usize| channel_moments(x, &rows, row);
        let moments = parallel::map(rows.channels, min_len, &moment);
        let scale = |row: usize, y: &mut [MaybeUninit<T>]| {
            let deviation = moments[row].inverse_deviation(self.eps);
            let (mean, lost) = rounded::<T>(moments[row].mean);
            let first = self.groups.first_channel(row);
            let x = &x[row * len..][..len];
            for channel in 0..channels {
                let scale = weight[first + channel] * deviation;
                let shift = <T as Real>::from_f64(bias[first + channel] + lost * scale);
                let scale = <T as Real>::from_f64(scale);
                let run = channel * plane..(channel + 1) * plane;
                for (y, x) in y[run.clone()].iter_mut().zip(&x[run]) {
                    y.write((*x - mean) * scale + shift);
                }
            }
        };
        // SAFETY: the runs of all channels are the whole row.
        let y = unsafe { build(x.len(), len.max(1), scale) };
        (y, moments)
    }

    /// The sums over all rows. The order of the sums for the parameters depends only on the number
    /// of threads.
    fn sums<T: Float>(&self, x: &[T], dy: &[T], moments: &[Moment], weight: &[f64]) -> Sums {
        let Groups {
            channels, plane, ..
        } = self.groups;
        let len = self.groups.len();
        let rows = moments.len();
        let parts = (2 * rayon::current_num_threads()).min(rows).max(1);
        let part = |part: usize| {
            let mut sums = Sums {
                rows: Vec::new(),
                weight: vec![0.0; weight.len()],
                bias: vec![0.0; weight.len()],
            };
            let own = part * rows / parts..(part + 1) * rows / parts;
            for (row, moment) in own.clone().zip(&moments[own]) {
                let deviation = moment.inverse_deviation(self.eps);
                let first = self.groups.first_channel(row);
                let mut total = (0.0, 0.0);
                for channel in 0..channels {
                    let start = row * len + channel * plane;
                    let run = start..start + plane;
                    let (g, gd) = dot(&dy[run.clone()], &x[run], moment.mean);
                    let channel = first + channel;
                    sums.weight[channel] += gd * deviation;
                    sums.bias[channel] += g;
                    total.0 += g * weight[channel];
                    total.1 += gd * weight[channel];
                }
                sums.rows.push(total);
            }
            sums
        };
        let min_len = PARALLEL_THRESHOLD.div_ceil((x.len() / parts).max(1));
        let mut all = parallel::map(parts, min_len, &part).into_iter();
        let Some(mut sums) = all.next() else {
            return part(0);
        };
        for other in all {
            sums.rows.extend(other.rows);
            for (total, value) in sums.weight.iter_mut().zip(other.weight) {
                *total += value;
            }
            for (total, value) in sums.bias.iter_mut().zip(other.bias) {
                *total += value;
            }
        }
        sums
    }

    fn input_grad<T: Float + Real>(
        &self,
        x: &[T],
        dy: &[T],
        moments: &[Moment],
        weight: &[f64],
        rows: &[(f64, f64)],
    ) -> Vec<T> {
        let Groups {
            channels, plane, ..
        } = self.groups;
        let len = self.groups.len();
        let pull = |row: usize, dx: &mut [MaybeUninit<T>]| {
            let deviation = moments[row].inverse_deviation(self.eps);
            let (mean, lost) = rounded::<T>(moments[row].mean);
            let (g, gd) = rows[row];
            let slope = -gd * deviation.powi(3) / len as f64;
            let shift = <T as Real>::from_f64(lost * slope - g * deviation / len as f64);
            let slope = <T as Real>::from_f64(slope);
            let first = self.groups.first_channel(row);
            for channel in 0..channels {
                let scale = <T as Real>::from_f64(weight[first + channel] * deviation);
                let run = channel * plane..(channel + 1) * plane;
                let start = row * len + run.start;
                let values = dy[start..].iter().zip(&x[start..]);
                for (dx, (dy, x)) in dx[run].iter_mut().zip(values) {
                    dx.write(*dy * scale + ((*x - mean) * slope + shift));
                }
            }
        };
        // SAFETY: the runs of all channels are the whole row.
        unsafe { build(x.len(), len.max(1), pull) }
    }

    /// The gradients of x, if x tracks gradients, and of weight and bias.
    fn gradients<T: Float + Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Vec<f64>, Vec<f64>)> {
        let Some(moments) = self.moments.get() else {
            bail!(
                "{}: the backward pass must run after the forward pass",
                self.name
            );
        };
        let weight = on_cpu(self.name, weight, read_f64)?;
        on_cpu(self.name, x, |values, layout| {
            let values = T::read(values, layout)?;
            on_cpu(self.name, grad, |dy, layout| {
                let dy = T::read(dy, layout)?;
                let sums = self.sums(&values, &dy, moments, &weight);
                let dx = if x.track_op() {
                    let dx = self.input_grad(&values, &dy, moments, &weight, &sums.rows);
                    Some(Tensor::from_vec(dx, x.shape(), x.device())?.to_dtype(x.dtype())?)
                } else {
                    None
                };
                Ok((dx, sums.weight, sums.bias))
            })
        })
    }
}

/// `mean` in the compute type, and its rounding error.
fn rounded<T: Real>(mean: f64) -> (T, f64) {
    let rounded = T::from_f64(mean);
    (rounded, rounded.to_f64() - mean)
}

/// The sums of g and of g (x - mean).
fn dot<T: Float>(g: &[T], x: &[T], mean: f64) -> (f64, f64) {
    // Several sums at once, so that the loop vectorises.
    const LANES: usize = 8;
    let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
    let (g_blocks, g_rest) = g.as_chunks::<LANES>();
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    for (g, x) in g_blocks.iter().zip(x_blocks) {
        for lane in 0..LANES {
            let g = g[lane].to_f64();
            first[lane] += g;
            second[lane] += g * (x[lane].to_f64() - mean);
        }
    }
    let mut sums = (first.iter().sum::<f64>(), second.iter().sum::<f64>());
    for (g, x) in g_rest.iter().zip(x_rest) {
        sums.0 += g.to_f64();
        sums.1 += g.to_f64() * (x.to_f64() - mean);
    }
    sums
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let (weight, bias) = (
            read_f64(weight, weight_layout)?,
            read_f64(bias, bias_layout)?,
        );
        let (y, moments) = with_float!(dtype, self.name, T => {
            let (y, moments) = self.normalise::<T>(&T::read(x, x_layout)?, &weight, &bias);
            (T::into_storage(y, dtype)?, moments)
        });
        self.moments.get_or_init(|| moments);
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        same_dtype(self.name, x.dtype(), grad.dtype())?;
        let (dx, dw, db) = with_float!(x.dtype(), self.name, T => {
            self.gradients::<T>(x, weight, grad)?
        });
        let parameter = |values: Vec<f64>, like: &Tensor| -> Result<Option<Tensor>> {
            if !like.track_op() {
                return Ok(None);
            }
            let gradient = Tensor::from_vec(values, like.shape(), like.device())?;
            gradient.to_dtype(like.dtype()).map(Some)
        };
        Ok((dx, parameter(dw, weight)?, parameter(db, bias)?))
    }
}
