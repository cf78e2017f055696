//! Capsules in Candle's ops. Candle derives the gradient of the routing: it differentiates these
//! ops correctly.

use candle_core::{Result, Tensor, Var, bail};

use super::{DynamicRouting, DynamicRoutingGrad, Length, LengthGrad, Squash, SquashGrad};
use crate::ops::composed::{Composed1, Composed2, constants, wide};
use crate::ops::storage::same_dtype;

/// The lengths of the vectors along the last axis, which keeps size 1.
fn lengths(x: &Tensor) -> Result<Tensor> {
    x.sqr()?.sum_keepdim(x.rank() - 1)?.sqrt()
}

/// `values` where `lengths` are not zero, else zero.
fn unless_zero(lengths: &Tensor, values: &Tensor) -> Result<Tensor> {
    lengths.ne(0.0)?.where_cond(values, &values.zeros_like()?)
}

fn squash(x: &Tensor) -> Result<Tensor> {
    let n = lengths(x)?;
    x.broadcast_mul(&(&n / (n.sqr()? + 1.0)?)?)
}

impl Composed1 for Squash {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        squash(&wide("squash", x)?.contiguous()?)?.to_dtype(x.dtype())
    }
}

impl Composed2 for SquashGrad {
    /// With f = n / (1 + n²): f grad + (x · grad) f'(n) / n x.
    fn composed(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        same_dtype("squash_grad", x.dtype(), grad.dtype())?;
        let dtype = x.dtype();
        let (x, grad) = (wide("squash", x)?.contiguous()?, wide("squash", grad)?);
        let n = lengths(&x)?;
        let denominator = (n.sqr()? + 1.0)?;
        let factor = (&n / &denominator)?;
        let numerator = n.sqr()?.affine(-1.0, 1.0)?;
        let slope = (numerator / (denominator.sqr()? * &n)?)?;
        let along = (&x * &grad)?.sum_keepdim(x.rank() - 1)?;
        let slope = unless_zero(&n, &(slope * along)?)?;
        let dx = (grad.broadcast_mul(&factor)? + x.broadcast_mul(&slope)?)?;
        dx.to_dtype(dtype)
    }
}

impl Composed1 for Length {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let last = x.rank() - 1;
        let lengths = lengths(&wide("length", x)?.contiguous()?)?;
        lengths.squeeze(last)?.to_dtype(x.dtype())
    }
}

impl Composed2 for LengthGrad {
    fn composed(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        same_dtype("length_grad", x.dtype(), grad.dtype())?;
        let wide_x = wide("length", x)?.contiguous()?;
        let n = lengths(&wide_x)?;
        let grad = wide("length", grad)?
            .unsqueeze(x.rank() - 1)?
            .contiguous()?;
        let slope = unless_zero(&n, &(grad / &n)?)?;
        wide_x.broadcast_mul(&slope)?.to_dtype(x.dtype())
    }
}

/// The softmax over the last axis.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    // The largest value only keeps the exponentials small, so it needs no gradient.
    let largest = x.detach().max_keepdim(last)?;
    let powers = x.broadcast_sub(&largest)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(last)?)
}

/// [`squash`] with a finite gradient at length zero.
fn differentiable_squash(x: &Tensor) -> Result<Tensor> {
    let square = x.sqr()?.sum_keepdim(x.rank() - 1)?;
    let tiny = constants(vec![1e-30], (), &square)?.broadcast_as(square.shape())?;
    // A smaller square becomes a constant: the gradient of the length is infinite at zero.
    let safe = square
        .ge(&tiny.contiguous()?)?
        .where_cond(&square, &tiny.contiguous()?)?;
    x.broadcast_mul(&(safe.sqrt()? / (safe + 1.0)?)?)
}

/// Capsules [N, I, D] and their weight [I, D, J, E] to capsules [N, J, E].
fn route(u: &Tensor, weight: &Tensor, iterations: usize) -> Result<Tensor> {
    let (images, inputs, _) = u.dims3()?;
    let (_, width, outputs, values) = weight.dims4()?;
    // The predictions, [I, N, J, E].
    let by_input = u.transpose(0, 1)?.contiguous()?;
    let matrices = weight.reshape((inputs, width, outputs * values))?;
    let predictions = by_input.matmul(&matrices)?;
    let predictions = predictions.reshape((inputs, images, outputs, values))?;
    let sizes = (inputs, images, outputs);
    let mut logits = Tensor::zeros(sizes, predictions.dtype(), predictions.device())?;
    let mut v = None;
    for iteration in 0..iterations {
        let shares = softmax(&logits)?.unsqueeze(3)?;
        let sums = predictions.broadcast_mul(&shares)?.sum(0)?;
        let squashed = differentiable_squash(&sums)?;
        if iteration + 1 < iterations {
            let agreement = predictions.broadcast_mul(&squashed.unsqueeze(0)?)?.sum(3)?;
            logits = (logits + agreement)?;
        }
        v = Some(squashed);
    }
    match v {
        Some(v) => Ok(v),
        None => bail!("dynamic_routing needs at least one iteration"),
    }
}

impl Composed2 for DynamicRouting {
    fn composed(&self, u: &Tensor, weight: &Tensor) -> Result<Tensor> {
        same_dtype("dynamic_routing", u.dtype(), weight.dtype())?;
        let wide_weight = wide("dynamic_routing", weight)?.contiguous()?;
        let v = route(&wide("dynamic_routing", u)?, &wide_weight, self.iterations)?;
        v.to_dtype(u.dtype())
    }
}

impl Composed2 for DynamicRoutingGrad {
    fn composed(&self, u: &Tensor, weight: &Tensor) -> Result<Tensor> {
        same_dtype("dynamic_routing_grad", u.dtype(), self.grad.dtype())?;
        let variable = |x: &Tensor| Var::from_tensor(&wide("dynamic_routing", x)?.contiguous()?);
        let (u_variable, w_variable) = (variable(u)?, variable(weight)?);
        let v = route(
            u_variable.as_tensor(),
            w_variable.as_tensor(),
            self.iterations,
        )?;
        let grad = wide("dynamic_routing", &self.grad.detach())?;
        let mut gradients = (v * grad)?.sum_all()?.backward()?;
        let mut gradient = |variable: &Var| match gradients.remove(variable.as_tensor()) {
            Some(gradient) => gradient.detach().flatten_all(),
            None => bail!("dynamic_routing: an input has no gradient"),
        };
        let both = [gradient(&u_variable)?, gradient(&w_variable)?];
        Tensor::cat(&both, 0)?.to_dtype(u.dtype())
    }
}
