//! Convolution, batch normalisation with running statistics, residual and activation in one op, for
//! inference.

use std::borrow::Cow;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::activation::has_kernel;
use super::channels_last::images;
use super::combine::stack;
use super::composed::composes;
use super::conv2d::{
    Bounded, ConvKernel, Finish, Fp32Precision, Geometry, Inference, PackedWeight, PixelSums,
    conv2d_with, forward_inference, inference_format,
};
use super::memory_format::{MemoryFormat, reordered};
use super::norm_act::{Pixels, RunningNorm, RunningNormAct, Statistics, batch_norm_act};
use super::storage::{Float, on_cpu, read_images};
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
        precision,
        packed,
        memory_format,
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
        && precision == Fp32Precision::Ieee
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
    let format = match memory_format {
        MemoryFormat::Contiguous => MemoryFormat::Contiguous,
        MemoryFormat::ChannelsLast => inference_format(&geometry),
    };
    let op = ConvNormAct {
        geometry,
        bias: bias.map(|b| on_cpu("conv2d", b, read)).transpose()?,
        packed: packed.cloned(),
        norm: RunningNormAct::new(&norm, *activation)?,
        format,
    };
    let y = match residual {
        None => apply2_counted(op, x, weight, geometry.patch()),
        Some(residual) => apply3_counted(op, x, weight, residual, geometry.patch()),
    }?;
    match format {
        MemoryFormat::Contiguous => Ok(y),
        MemoryFormat::ChannelsLast => images(&y),
    }
}

/// The fused op, without a backward. A channels-last result is `[N, H, W, C]`.
struct ConvNormAct {
    geometry: Geometry,
    bias: Option<Vec<f32>>,
    packed: Option<PackedWeight>,
    norm: RunningNormAct,
    format: MemoryFormat,
}

type Argument<'a> = (&'a CpuStorage, &'a Layout);

fn read(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f32>> {
    Ok(f32::read(storage, layout)?.into_owned())
}

impl ConvNormAct {
    fn forward<'a>(
        &self,
        x: Argument,
        weight: Argument,
        residual: Option<Argument<'a>>,
    ) -> Result<(CpuStorage, Shape)> {
        let x = read_images(x.0, x.1)?;
        let weight = f32::read(weight.0, weight.1)?;
        let (channels, plane) = (self.geometry.c_out, self.geometry.out_plane());
        let ordered = |(r, layout): Argument<'a>| -> Result<Cow<'a, [f32]>> {
            let (r, format) = read_images(r, layout)?;
            Ok(reordered(r, (format, self.format), channels, plane))
        };
        let residual = residual.map(ordered).transpose()?;
        let finish = NormAct {
            norm: &self.norm,
            residual: residual.as_deref(),
            channels,
            plane,
        };
        let inference = Inference {
            packed: self.packed.as_ref(),
            finish: Some(&finish),
            format: self.format,
            ..Inference::default()
        };
        let bias = self.bias.as_deref();
        let y = forward_inference(&self.geometry, x, &weight, bias, inference)?;
        let [n, channels, height, width] = self.geometry.out_shape();
        let shape = match self.format {
            MemoryFormat::Contiguous => [n, channels, height, width],
            MemoryFormat::ChannelsLast => [n, height, width, channels],
        };
        let shape = Shape::from(&shape);
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

    fn bounded(&self) -> Option<Bounded<'_>> {
        let (low, high) = self.norm.bounds()?;
        let [center, scale, shift] = self.norm.constants();
        Some(Bounded {
            center,
            scale,
            shift,
            residual: self.residual,
            low,
            high,
        })
    }

    unsafe fn write_pixels(&self, sums: PixelSums, to: *mut f32) {
        sums.check();
        let last = sums.at + sums.pixels.saturating_sub(1) * sums.pitch + sums.channels;
        assert!(
            self.residual
                .is_none_or(|r| sums.pixels == 0 || last <= r.len())
        );
        let pixels = Pixels {
            x: sums.sums.as_ptr(),
            pitch: (sums.width, sums.pitch),
            residual: self.residual.map(|r| r[sums.at..].as_ptr()),
            y: to.wrapping_add(sums.at),
            channels: sums.first..sums.first + sums.channels,
            pixels: sums.pixels,
        };
        // SAFETY: sums and residual are long enough, as asserted; the caller guarantees the places
        // of the result.
        unsafe { self.norm.apply_to_pixels(pixels) };
    }
}
