//! Two-dimensional convolution with any kernel, stride, padding, dilation and groups.
//!
//! Candle's own convolution takes one number for both axes. The size of its input gradient is
//! wrong if height and width leave different remainders under the stride, and the time of its
//! grouped convolution grows with the square of the groups.
//!
//! On the CPU, [`dispatch`] chooses an algorithm per pass by the sizes of the convolution:
//!
//! - [`direct`]: the convolution and its input gradient in f32, without an unrolled matrix;
//! - [`weight_grad`]: the weight gradient in f32 and f64;
//! - [`depthwise`]: all passes of convolutions with one input channel per group;
//! - [`whole_image`]: all passes of large kernels that cover the image;
//! - [`im2col`]: the convolution and its input gradient in f64.
//!
//! [`pack`] copies inputs and weights to the order in which these read them. Other devices use
//! the compositions in [`composed`].

mod bounded;
mod channels_last;
mod composed;
mod cost_model;
mod depthwise;
mod direct;
mod dispatch;
mod element;
mod fp32_precision;
mod geometry;
mod im2col;
mod inference;
mod matrix;
mod pack;
mod pair_products;
mod plan;
mod products;
mod rounding;
mod storage;
#[cfg(test)]
mod tests;
mod weight_grad;
mod whole_image;
mod winograd;
mod workspace;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

pub(crate) use bounded::{Bounded, PADDING};
use channels_last::ChannelsLast;
pub(crate) use dispatch::inference_format;
use dispatch::{Algorithm, Pass};
pub use fp32_precision::Fp32Precision;
pub use geometry::Conv2dParams;
pub(crate) use geometry::Geometry;
pub(crate) use inference::{Finish, Inference, PixelSums};
pub use pack::packed_weight::PackedWeight;
pub(crate) use storage::forward_inference;
use storage::{Argument, run, run_packed};

use crate::autograd;
use crate::autograd::trace::{Operation, noted};
use crate::ops::channels_last::images;
use crate::ops::composed::{apply2, apply3, composes, run1, run2};
use crate::ops::memory_format::MemoryFormat;

/// Convolves (cross-correlates) a batch of images, as PyTorch's `conv2d`.
///
/// Takes f32, f64, f16 and bf16. The halves are computed in f32 and rounded once.
///
/// # Shapes
/// - `x`: `[n, c_in, h, w]`, any layout
/// - `weight`: `[c_out, c_in / groups, kh, kw]`
/// - `bias`: `[c_out]`
/// - result: `[n, c_out, out_h, out_w]` with
///   `out = (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`
///
/// The batch may be empty: then the gradients of weight and bias are zero. As in PyTorch, an input
/// without channels gives an output without channels.
///
/// # Errors
/// If shapes, dtypes or `params` do not fit, if the kernel is larger than the padded input, or if
/// a size is too large.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    params: &Conv2dParams,
) -> Result<Tensor> {
    let kernel = ConvKernel {
        weight,
        bias,
        params,
        precision: Fp32Precision::Ieee,
        packed: None,
        memory_format: MemoryFormat::Contiguous,
    };
    conv2d_with(x, kernel)
}

/// What a convolution multiplies its input with.
#[derive(Debug, Clone, Copy)]
pub struct ConvKernel<'a> {
    /// The weight, `[c_out, c_in / groups, kh, kw]`.
    pub weight: &'a Tensor,
    /// The bias, `[c_out]`.
    pub bias: Option<&'a Tensor>,
    /// Stride, padding, dilation and groups.
    pub params: &'a Conv2dParams,
    /// How f32 is multiplied.
    pub precision: Fp32Precision,
    /// Keeps the packed weight between calls, in f32 on the CPU. Only for a weight that does not
    /// change.
    pub packed: Option<&'a PackedWeight>,
    /// The order of the result in memory that the caller prefers. The result is channels-last only
    /// where that is faster: in f32 on the CPU, without a graph, and with enough channels. The order
    /// shows in the strides of the result, and its values may differ in rounding.
    pub memory_format: MemoryFormat,
}

/// As [`conv2d`], with a weight that may be packed already.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_with(x: &Tensor, kernel: ConvKernel) -> Result<Tensor> {
    let ConvKernel {
        weight,
        bias,
        params,
        precision,
        packed,
        memory_format,
    } = kernel;
    let geometry = Geometry::new(x.dims(), weight.dims(), params)?;
    for (name, tensor) in [("weight", Some(weight)), ("bias", bias)] {
        if let Some(tensor) = tensor
            && tensor.dtype() != x.dtype()
        {
            bail!(
                "conv2d: the input is {:?}, but the {name} is {:?}",
                x.dtype(),
                tensor.dtype()
            );
        }
    }
    if let Some(bias) = bias
        && bias.dims() != [geometry.c_out]
    {
        bail!(
            "conv2d: the bias must be [{}], one per output channel, but is {:?}",
            geometry.c_out,
            bias.dims()
        );
    }
    let tracked = [Some(x), Some(weight), bias];
    let tracked = tracked.into_iter().flatten().any(Tensor::track_op);
    let y = if memory_format == MemoryFormat::ChannelsLast
        && x.dtype() == DType::F32
        && !tracked
        && !composes(x)
        && inference_format(&geometry) == memory_format
    {
        let op = ChannelsLast::new(geometry, packed, bias)?;
        images(&autograd::apply2_counted(op, x, weight, geometry.patch())?)
    } else {
        let op = Convolution {
            geometry,
            precision,
            packed: packed.cloned(),
        };
        match bias {
            None => apply2(op, x, weight),
            Some(bias) => apply3(op, x, weight, bias),
        }
    }?;
    let inputs: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    let Conv2dParams {
        stride,
        padding,
        dilation,
        groups,
    } = *params;
    let operation = || Operation::Conv2d {
        stride,
        padding,
        dilation,
        groups,
    };
    noted(y, operation, &inputs)
}

/// The algorithms that the CPU of this machine uses for the convolution, its input gradient and its
/// weight gradient. For tests and benchmarks.
///
/// # Errors
/// As [`conv2d`].
#[doc(hidden)]
pub fn conv2d_algorithms(
    x: &[usize],
    weight: &[usize],
    params: &Conv2dParams,
    dtype: DType,
) -> Result<[&'static str; 3]> {
    let g = Geometry::new(x, weight, params)?;
    let name = |pass| dispatch::algorithm_for(pass, &g, dtype).map(Algorithm::name);
    Ok([
        name(Pass::Forward)?,
        name(Pass::InputGrad)?,
        name(Pass::WeightGrad)?,
    ])
}

/// The algorithm that the CPU of this machine uses for a channels-last result of the convolution in
/// inference; `None` if the result is contiguous. For tests and benchmarks.
///
/// # Errors
/// As [`conv2d`].
#[doc(hidden)]
pub fn conv2d_channels_last_algorithm(
    x: &[usize],
    weight: &[usize],
    params: &Conv2dParams,
) -> Result<Option<&'static str>> {
    let g = Geometry::new(x, weight, params)?;
    let algorithm = dispatch::channels_last_algorithm(pulp::Arch::new(), &g);
    Ok(algorithm.map(Algorithm::name))
}

struct Convolution {
    geometry: Geometry,
    precision: Fp32Precision,
    packed: Option<PackedWeight>,
}

impl Convolution {
    fn forward(&self, arguments: &[Argument]) -> Result<(CpuStorage, Shape)> {
        let Self {
            geometry,
            precision,
            packed,
        } = self;
        let options = (*precision, packed.as_ref());
        let y = run_packed(Pass::Forward, geometry, options, arguments)?;
        Ok((y, Shape::from(&geometry.out_shape())))
    }

    /// The gradients of the arguments that track one.
    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = x
            .track_op()
            .then(|| run2(&InputGrad(self.geometry, self.precision), grad, weight))
            .transpose()?;
        let dw = weight
            .track_op()
            .then(|| run2(&WeightGrad(self.geometry, self.precision), x, grad))
            .transpose()?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(x, x_layout), (w, w_layout)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(x, weight, grad)
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "conv2d with bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(x, x_layout), (w, w_layout), (bias, bias_layout)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.gradients(x, weight, grad)?;
        let db = bias
            .track_op()
            .then(|| run1(&BiasGrad(self.geometry), grad))
            .transpose()?;
        Ok((dx, dw, db))
    }
}

/// From dy and weight.
struct InputGrad(Geometry, Fp32Precision);

impl CustomOp2 for InputGrad {
    fn name(&self) -> &'static str {
        "conv2d input gradient"
    }

    fn cpu_fwd(
        &self,
        dy: &CpuStorage,
        dy_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self(geometry, precision) = self;
        let arguments = [(dy, dy_layout), (w, w_layout)];
        let dx = run(Pass::InputGrad, geometry, *precision, &arguments)?;
        Ok((dx, Shape::from(&geometry.in_shape())))
    }
}

/// From x and dy.
struct WeightGrad(Geometry, Fp32Precision);

impl CustomOp2 for WeightGrad {
    fn name(&self) -> &'static str {
        "conv2d weight gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self(geometry, precision) = self;
        let arguments = [(x, x_layout), (dy, dy_layout)];
        let dw = run(Pass::WeightGrad, geometry, *precision, &arguments)?;
        Ok((dw, Shape::from(&geometry.weight_shape())))
    }
}

/// From dy.
struct BiasGrad(Geometry);

impl CustomOp1 for BiasGrad {
    fn name(&self) -> &'static str {
        "conv2d bias gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, dy_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let precision = Fp32Precision::Ieee;
        let db = run(Pass::BiasGrad, &self.0, precision, &[(dy, dy_layout)])?;
        Ok((db, Shape::from(self.0.c_out)))
    }
}
