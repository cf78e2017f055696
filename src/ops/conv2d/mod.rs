//! Two-dimensional convolution with any kernel, stride, padding, dilation and groups.
//!
//! Candle's own takes one number for both axes and computes a wrong size of the input gradient
//! where height and width leave different remainders, and its groups cost quadratic time.

mod channel_lanes;
mod choice;
mod composed;
mod depthwise;
mod element;
mod geometry;
mod im2col;
mod kernel;
#[cfg(test)]
mod levels;
mod pixel_lanes;
mod plan;
mod planes;
mod stage;
mod storage;
mod weight_grad;
mod workspace;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};

use geometry::Geometry;
use storage::{Pass, run};

use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::{apply2, apply3, run1, run2};

/// How the kernel moves over the input; pairs are (vertical, horizontal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dParams {
    /// Steps of the kernel, at least 1.
    pub stride: (usize, usize),
    /// Zeros on each side of the input.
    pub padding: (usize, usize),
    /// Distance of kernel taps, at least 1.
    pub dilation: (usize, usize),
    /// Parts that the channels are divided into, each with a convolution of its own.
    pub groups: usize,
}

impl Default for Conv2dParams {
    /// Stride and dilation 1, no padding, one group.
    fn default() -> Self {
        Self {
            stride: (1, 1),
            padding: (0, 0),
            dilation: (1, 1),
            groups: 1,
        }
    }
}

/// Convolves (cross-correlates) a batch of images, as PyTorch's `conv2d`.
///
/// f32 and f64; f16 and bf16 are computed in f32 and rounded once.
///
/// # Shapes
/// - `x`: `[n, c_in, h, w]`, any layout
/// - `weight`: `[c_out, c_in / groups, kh, kw]`
/// - `bias`: `[c_out]`
/// - result: `[n, c_out, out_h, out_w]` with
///   `out = (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`
///
/// # Errors
/// Where shapes, dtypes or `params` do not fit.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    params: &Conv2dParams,
) -> Result<Tensor> {
    let geometry = Geometry::new(x.dims(), weight.dims(), params)?;
    for (name, tensor) in [("weight", Some(weight)), ("bias", bias)] {
        if let Some(tensor) = tensor
            && tensor.dtype() != x.dtype()
        {
            bail!(
                "conv2d: the input is {:?}, but the {name} {:?}",
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
    let op = Convolution(geometry);
    let y = match bias {
        None => apply2(op, x, weight),
        Some(bias) => apply3(op, x, weight, bias),
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

struct Convolution(Geometry);

impl Convolution {
    /// The gradients of those arguments that track one.
    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = x
            .track_op()
            .then(|| run2(&InputGrad(self.0), grad, weight))
            .transpose()?;
        let dw = weight
            .track_op()
            .then(|| run2(&WeightGrad(self.0), x, grad))
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
        let y = run(Pass::Forward, &self.0, &[(x, x_layout), (w, w_layout)])?;
        Ok((y, Shape::from(&self.0.out_shape())))
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
        let arguments = [(x, x_layout), (w, w_layout), (bias, bias_layout)];
        let y = run(Pass::Forward, &self.0, &arguments)?;
        Ok((y, Shape::from(&self.0.out_shape())))
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
            .then(|| run1(&BiasGrad(self.0), grad))
            .transpose()?;
        Ok((dx, dw, db))
    }
}

/// Of dy and weight.
struct InputGrad(Geometry);

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
        let dx = run(Pass::InputGrad, &self.0, &[(dy, dy_layout), (w, w_layout)])?;
        Ok((dx, Shape::from(&self.0.in_shape())))
    }
}

/// Of x and dy.
struct WeightGrad(Geometry);

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
        let dw = run(Pass::WeightGrad, &self.0, &[(x, x_layout), (dy, dy_layout)])?;
        Ok((dw, Shape::from(&self.0.weight_shape())))
    }
}

/// Of dy.
struct BiasGrad(Geometry);

impl CustomOp1 for BiasGrad {
    fn name(&self) -> &'static str {
        "conv2d bias gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, dy_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let db = run(Pass::BiasGrad, &self.0, &[(dy, dy_layout)])?;
        Ok((db, Shape::from(self.0.c_out)))
    }
}
