//! The affine map in Candle's ops.

use candle_core::{Result, Tensor};

use super::{InputGrad, Linear, OP, WeightGrad};
use crate::ops::composed::{Composed2, Composed3, wide};
use crate::ops::storage::same_dtype;

/// `x` as rows of its last axis.
fn rows(x: &Tensor) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(1);
    let rows = x.elem_count() / width.max(1);
    wide(OP, x)?.reshape((rows, width))?.contiguous()
}

fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    same_dtype(OP, x.dtype(), weight.dtype())?;
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(weight.dim(0)?);
    let mut y = rows(x)?.matmul(&wide(OP, weight)?.t()?.contiguous()?)?;
    if let Some(bias) = bias {
        same_dtype(OP, x.dtype(), bias.dtype())?;
        y = y.broadcast_add(&wide(OP, bias)?)?;
    }
    y.reshape(dims)?.to_dtype(x.dtype())
}

impl Composed2 for Linear {
    fn multiply_adds(&self, _x: &Tensor, weight: &Tensor) -> usize {
        weight.dims().last().copied().unwrap_or(0)
    }

    fn composed(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        forward(x, weight, None)
    }
}

impl Composed3 for Linear {
    fn multiply_adds(&self, _x: &Tensor, weight: &Tensor) -> usize {
        weight.dims().last().copied().unwrap_or(0)
    }

    fn composed(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        forward(x, weight, Some(bias))
    }
}

impl Composed2 for InputGrad {
    fn composed(&self, grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let mut dims = grad.dims().to_vec();
        dims.pop();
        dims.push(weight.dim(1)?);
        let dx = rows(grad)?.matmul(&wide(OP, weight)?.contiguous()?)?;
        dx.reshape(dims)?.to_dtype(grad.dtype())
    }
}

impl Composed2 for WeightGrad {
    fn composed(&self, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        let dw = rows(grad)?.t()?.contiguous()?.matmul(&rows(x)?)?;
        dw.to_dtype(grad.dtype())
    }
}
