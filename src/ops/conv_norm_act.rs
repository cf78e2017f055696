//! Convolution, batch normalisation with running statistics, residual and activation in one op, for
//! inference.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::activation::has_kernel;
use super::combine::stack;
use super::composed::composes;
use super::conv2d::{
    ConvKernel, Finish, Geometry, Inference, PackedWeight, conv2d_with, forward_inference,
};
use super::norm_act::{RunningNorm, RunningNormAct, Statistics, batch_norm_act};
use super::storage::{Float, on_cpu};
use crate::activation::Activation;
use crate::autograd::{apply2_counted, apply3_counted};

/// `act(norm(conv2d(x)) + residual)` with running statistics.
///
/// In f32 on the CPU and without a graph, normalisation, residual and activation are applied to the
/// outputs while they are in the cache. Otherwise, and always with the same values, this is
/// [`conv2d_with`] and [`batch_norm_act`].
///
/// # Shapes
/// - `x`: as for [`conv2d_with`]
/// - `residual`: the shape of the result
///
/// # Errors
/// As [`conv2d_with`] and [`batch_norm_act`].
pub fn conv2d_norm_act(
    x: &Tensor,
    kernel: ConvKernel,
    norm: RunningNorm,
    residual: Option<&Tensor>,
    activation: &Activation,
) -> Result<Tensor> {
    let ConvKernel {
        weight,
        bias,
        params,
        packed,
    } = kernel;
    let separately = || {
        let y = conv2d_with(x, kernel)?;
        let gamma_beta = stack(&[norm.weight, norm.bias])?;
        let statistics = Statistics::Running {
            mean: norm.mean,
            variance: norm.variance,
        };
        let (y, _) = batch_norm_act(&y, &gamma_beta, residual, statistics, norm.eps, activation)?;
        Ok(y)
    };
    let parameters = [norm.weight, norm.bias];
    let mut all = [x, weight]
        .into_iter()
        .chain(parameters)
        .chain(bias)
        .chain(residual);
    let values = [Some(x), Some(weight), bias, residual];
    let fuses = !composes(x)
        && !all.any(Tensor::track_op)
        && values.iter().flatten().all(|t| t.dtype() == DType::F32)
        && has_kernel(activation);
    let geometry = Geometry::new(x.dims(), weight.dims(), params);
    let (Ok(geometry), true) = (geometry, fuses) else {
        return separately();
    };
    let channels = [geometry.c_out];
    let shape = geometry.out_shape();
    let vectors = [norm.weight, norm.bias, norm.mean, norm.variance];
    let fits = vectors
        .into_iter()
        .chain(bias)
        .all(|t| t.dims() == channels)
        && residual.is_none_or(|r| r.dims() == shape);
    if !fits {
        // One of the ops reports the error.
        return separately();
    }
    let op = ConvNormAct {
        geometry,
        bias: bias.map(|b| on_cpu("conv2d", b, read)).transpose()?,
        packed: packed.cloned(),
        norm: RunningNormAct::new(&norm, *activation)?,
    };
    match residual {
        None => apply2_counted(op, x, weight, geometry.patch()),
        Some(residual) => apply3_counted(op, x, weight, residual, geometry.patch()),
    }
}

/// The fused op, without a backward.
struct ConvNormAct {
    geometry: Geometry,
    bias: Option<Vec<f32>>,
    packed: Option<PackedWeight>,
    norm: RunningNormAct,
}

type Argument<'a> = (&'a CpuStorage, &'a Layout);

fn read(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f32>> {
    Ok(f32::read(storage, layout)?.into_owned())
}

impl ConvNormAct {
    fn forward(
        &self,
        x: Argument,
        weight: Argument,
        residual: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)> {
        let x = f32::read(x.0, x.1)?;
        let weight = f32::read(weight.0, weight.1)?;
        let residual = residual
            .map(|(r, layout)| f32::read(r, layout))
            .transpose()?;
        let finish = NormAct {
            norm: &self.norm,
            residual: residual.as_deref(),
            channels: self.geometry.c_out,
            plane: self.geometry.out_plane(),
        };
        let inference = Inference {
            packed: self.packed.as_ref(),
            finish: Some(&finish),
        };
        let bias = self.bias.as_deref();
        let y = forward_inference(&self.geometry, &x, &weight, bias, inference)?;
        let shape = Shape::from(&self.geometry.out_shape());
        Ok((f32::into_storage(y, DType::F32)?, shape))
    }
}

impl CustomOp2 for ConvNormAct {
    fn name(&self) -> &'static str {
        "conv2d_norm_act"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (w, w_layout), None)
    }
}

impl CustomOp3 for ConvNormAct {
    fn name(&self) -> &'static str {
        "conv2d_norm_act with residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        r: &CpuStorage,
        r_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (w, w_layout), Some((r, r_layout)))
    }
}

/// Normalisation, residual and activation of the outputs.
struct NormAct<'a> {
    norm: &'a RunningNormAct,
    residual: Option<&'a [f32]>,
    channels: usize,
    plane: usize,
}

impl Finish for NormAct<'_> {
    fn finish(&self, at: usize, outputs: &mut [f32]) {
        let residual = self.residual.map(|r| &r[at..at + outputs.len()]);
        self.norm
            .apply(at / self.plane % self.channels, outputs, residual);
    }
}
