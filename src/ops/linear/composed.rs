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

/// A product of matrices, which may be empty.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (m, k) = a.dims2()?;
    let (_, n) = b.dims2()?;
    if m * n * k == 0 {
        return Tensor::zeros((m, n), a.dtype(), a.device());
    }
    a.matmul(b)
}

fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    same_dtype(OP, x.dtype(), weight.dtype())?;
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(weight.dim(0)?);
    let width = x.dims().last().copied().unwrap_or(1);
    // Of rows without values there is no telling how many from the number of values.
    let count = dims[..dims.len() - 1].iter().product::<usize>();
    let x2 = wide(OP, x)?.reshape((count, width))?.contiguous()?;
    let mut y = product(&x2, &wide(OP, weight)?.t()?.contiguous()?)?;
    if let Some(bias) = bias {
        same_dtype(OP, x.dtype(), bias.dtype())?;
        y = y.broadcast_add(&wide(OP, bias)?)?;
    }
    y.reshape(dims)?.to_dtype(x.dtype())
}

impl Composed2 for Linear {
    fn composed(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        forward(x, weight, None)
    }
}

impl Composed3 for Linear {
    fn composed(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        forward(x, weight, Some(bias))
    }
}

impl Composed2 for InputGrad {
    fn composed(&self, grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let mut dims = grad.dims().to_vec();
        dims.pop();
        dims.push(weight.dim(1)?);
        let dx = product(&rows(grad)?, &wide(OP, weight)?.contiguous()?)?;
        dx.reshape(dims)?.to_dtype(grad.dtype())
    }
}

impl Composed2 for WeightGrad {
    fn composed(&self, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        let dw = product(&rows(grad)?.t()?.contiguous()?, &rows(x)?)?;
        dw.to_dtype(grad.dtype())
    }
}
