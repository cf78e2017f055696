//! Losses in Candle's ops. Labels and weights receive no gradient and come from the CPU.

use candle_core::{Result, Tensor, bail};

use super::cross_entropy::{FusedCrossEntropy, FusedCrossEntropyGrad, OP};
use super::distillation::{Distillation, DistillationGrad};
use super::margin::{MarginLoss, MarginLossGrad};
use super::squared_error::{SquaredError, SquaredErrorGrad};
use crate::ops::composed::{Composed1, Composed2, Composed3, constants, wide};
use crate::ops::storage::same_dtype;

/// ln softmax of each row. Subtracting the largest value prevents overflow.
fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    // New strides: Candle divides by the stride of an axis of size 1, which may be 0.
    let logits = logits.contiguous()?.reshape(logits.shape())?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
    let log_sums = shifted.exp()?.sum_keepdim(1)?.log()?;
    shifted.broadcast_sub(&log_sums)
}

/// The gradient of a loss as a scalar in its compute type.
fn scalar(op: &str, grad: &Tensor) -> Result<Tensor> {
    if grad.elem_count() != 1 {
        bail!("{op}: the gradient of the loss is empty");
    }
    wide(op, grad)?.reshape((1, 1))
}

impl Composed1 for FusedCrossEntropy {
    fn composed(&self, logits: &Tensor) -> Result<Tensor> {
        let wide = wide(OP, logits)?.contiguous()?;
        let coefficients = self.coefficients.matrix(&wide)?;
        let products = (log_softmax(&wide)? * &coefficients)?;
        // A class with coefficient 0 adds nothing, even if its logit is minus infinity.
        let shares = coefficients
            .ne(0.0)?
            .where_cond(&products, &products.zeros_like()?)?;
        let sum = shares.sum_all()?.neg()?;
        (sum / self.divisor)?.to_dtype(logits.dtype())
    }
}

impl Composed2 for FusedCrossEntropyGrad {
    fn composed(&self, logits: &Tensor, grad: &Tensor) -> Result<Tensor> {
        same_dtype("cross_entropy_grad", logits.dtype(), grad.dtype())?;
        let scale = (scalar(OP, grad)? / self.divisor)?;
        let wide = wide(OP, logits)?.contiguous()?;
        let coefficients = self.coefficients.matrix(&wide)?;
        let totals = coefficients.sum_keepdim(1)?;
        let expected = log_softmax(&wide)?.exp()?.broadcast_mul(&totals)?;
        let dx = (expected - coefficients)?.broadcast_mul(&scale)?;
        dx.to_dtype(logits.dtype())
    }
}

impl Composed2 for Distillation {
    fn composed(&self, student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        const OP: &str = "distillation_loss";
        same_dtype(OP, student.dtype(), teacher.dtype())?;
        let temperature = self.temperature;
        let q = log_softmax(&(wide(OP, student)? / temperature)?)?;
        let p = log_softmax(&(wide(OP, teacher)? / temperature)?)?;
        let shares = p.exp()?;
        let products = (&shares * (p - q)?)?;
        // A class that the teacher rules out adds nothing: its logarithm is minus infinity.
        let terms = shares
            .ne(0.0)?
            .where_cond(&products, &products.zeros_like()?)?;
        (terms.sum_all()? * self.scale)?.to_dtype(student.dtype())
    }
}

impl Composed3 for DistillationGrad {
    fn composed(&self, student: &Tensor, teacher: &Tensor, grad: &Tensor) -> Result<Tensor> {
        const OP: &str = "distillation_loss_grad";
        same_dtype(OP, student.dtype(), grad.dtype())?;
        let Distillation { temperature, scale } = self.0;
        let q = log_softmax(&(wide(OP, student)? / temperature)?)?;
        let p = log_softmax(&(wide(OP, teacher)? / temperature)?)?;
        let factor = (scalar(OP, grad)? * (scale / temperature))?;
        let dx = (q.exp()? - p.exp()?)?.broadcast_mul(&factor)?;
        dx.to_dtype(student.dtype())
    }
}

/// The signed distance of each length from its margin, and its weight.
fn misses(loss: &MarginLoss, lengths: &Tensor) -> Result<(Tensor, Tensor)> {
    let (rows, classes) = lengths.dims2()?;
    let options = loss.options;
    let mut own = vec![0.0; rows * classes];
    for (row, label) in loss.labels.iter().enumerate() {
        own[row * classes + label] = 1.0;
    }
    let weights = own
        .iter()
        .map(|own| if *own > 0.0 { 1.0 } else { options.others });
    let weights = constants(weights.collect(), (rows, classes), lengths)?;
    let own = constants(own, (rows, classes), lengths)?.ne(0.0)?;
    let (short, long) = ((lengths - options.upper)?, (lengths - options.lower)?);
    // Comparisons, so that NaN stays NaN on every device.
    let zeros = lengths.zeros_like()?;
    let short = short.gt(0.0)?.where_cond(&zeros, &short)?;
    let long = long.lt(0.0)?.where_cond(&zeros, &long)?;
    Ok((own.where_cond(&short, &long)?, weights))
}

impl Composed1 for MarginLoss {
    fn composed(&self, lengths: &Tensor) -> Result<Tensor> {
        let wide = wide("margin_loss", lengths)?.contiguous()?;
        let (misses, weights) = misses(self, &wide)?;
        let sum = (misses.sqr()? * weights)?.sum_all()?;
        (sum / self.labels.len() as f64)?.to_dtype(lengths.dtype())
    }
}

impl Composed2 for MarginLossGrad {
    fn composed(&self, lengths: &Tensor, grad: &Tensor) -> Result<Tensor> {
        same_dtype("margin_loss_grad", lengths.dtype(), grad.dtype())?;
        let wide = wide("margin_loss", lengths)?.contiguous()?;
        let (misses, weights) = misses(&self.0, &wide)?;
        let scale = (scalar("margin_loss", grad)? * (2.0 / self.0.labels.len() as f64))?;
        let dx = (misses * weights)?.broadcast_mul(&scale)?;
        dx.to_dtype(lengths.dtype())
    }
}

impl Composed2 for SquaredError {
    fn composed(&self, x: &Tensor, target: &Tensor) -> Result<Tensor> {
        const OP: &str = "squared_error";
        same_dtype(OP, x.dtype(), target.dtype())?;
        let error = (wide(OP, x)? - wide(OP, target)?)?;
        (error.sqr()?.sum_all()? * self.scale)?.to_dtype(x.dtype())
    }
}

impl Composed3 for SquaredErrorGrad {
    fn composed(&self, x: &Tensor, target: &Tensor, grad: &Tensor) -> Result<Tensor> {
        const OP: &str = "squared_error_grad";
        same_dtype(OP, x.dtype(), grad.dtype())?;
        let error = (wide(OP, x)? - wide(OP, target)?)?;
        let scale = (scalar(OP, grad)? * (2.0 * self.scale))?.reshape(())?;
        error.broadcast_mul(&scale)?.to_dtype(x.dtype())
    }
}
