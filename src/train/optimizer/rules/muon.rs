//! Muon: momentum made orthogonal by a Newton-Schulz iteration.

use candle_core::{D, Result, Tensor, Var};

use super::adam::Adam;
use super::sgd::Sgd;
use crate::train::optimizer::norm::norm;
use crate::train::optimizer::number::{Number, Whole};
use crate::train::optimizer::traits::{Buffer, Now, TensorRule};

/// timm's `Muon`. With [`Muon::ORIGINAL`], [`LrAdjustment::Original`] and Nesterov momentum,
/// `torch.optim.Muon`.
///
/// It updates the weights of convolutions, as matrices `[out, in * height * width]`, and of linear
/// layers. `fallback` updates all others: vectors, depthwise convolutions, and matrices with fewer
/// than 4 rows or columns or a ratio of sides above 128. timm and PyTorch iterate in bfloat16; this
/// code iterates in the type of the parameter, which is faster on a CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// The decay rate of the running mean of gradients.
    pub momentum: f64,
    /// Uses Nesterov momentum.
    pub nesterov: bool,
    /// The least norm to divide by.
    pub eps: f64,
    /// The coefficients of each Newton-Schulz iteration. Further iterations use the last ones.
    pub coefficients: &'static [[f64; 3]; 5],
    /// The number of Newton-Schulz iterations.
    pub ns_steps: usize,
    /// How the learning rate depends on the shape.
    pub adjust_lr: LrAdjustment,
    /// Scales each matrix to the norm `sqrt(rows)` before its update, as airbench94 does.
    pub normalize_weights: bool,
    /// Updates the other parameters.
    pub fallback: Fallback,
    /// Multiplies the learning rate of `fallback`.
    pub fallback_lr_scale: f64,
}

/// How Muon's learning rate depends on the shape of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LrAdjustment {
    /// Times `0.2 * sqrt(max(rows, columns))`, which makes the updates as large as AdamW's.
    MatchRmsAdamW,
    /// Times `sqrt(max(1, rows / columns))`.
    Original,
    /// Times `sqrt(rows / columns)`.
    RmsToRms,
}

/// The optimizer of the parameters that Muon does not update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    /// Adam. Its weight decay is decoupled, as Muon's.
    Adam(Adam),
    /// SGD. Its weight decay is decoupled, as Muon's.
    Sgd(Sgd),
}

impl Muon {
    /// The coefficients of Keller Jordan's first Muon, which PyTorch uses.
    pub const ORIGINAL: [[f64; 3]; 5] = [[3.4445, -4.7750, 2.0315]; 5];

    /// Coefficients that differ in each iteration, timm's default.
    pub const QUINTIC: [[f64; 3]; 5] = [
        [4.0848, -6.8946, 2.9270],
        [3.9505, -6.3029, 2.6377],
        [3.7418, -5.5913, 2.3037],
        [2.8769, -3.1427, 1.2046],
        [2.8366, -3.0525, 1.2012],
    ];

    /// The shortest side of a matrix that Muon updates.
    const MIN_SIDE: usize = 4;
    /// The largest ratio of the sides.
    const MAX_RATIO: usize = 128;

    /// Whether Muon updates this parameter.
    pub(in crate::train::optimizer) fn suits(var: &Var) -> bool {
        let [rows, inputs, rest @ ..] = var.dims() else {
            return false;
        };
        let columns = inputs * rest.iter().product::<usize>();
        let (short, long) = (*rows.min(&columns), *rows.max(&columns));
        *inputs > 1 && short >= Self::MIN_SIDE && long <= Self::MAX_RATIO * short
    }

    fn lr_scale(&self, rows: usize, columns: usize) -> f64 {
        let (rows, columns) = (rows as f64, columns as f64);
        match self.adjust_lr {
            LrAdjustment::MatchRmsAdamW => 0.2 * rows.max(columns).sqrt(),
            LrAdjustment::Original => (rows / columns).max(1.0).sqrt(),
            LrAdjustment::RmsToRms => (rows / columns).sqrt(),
        }
    }

    /// The nearest matrix with orthogonal rows or columns, approximately: all singular values move
    /// towards 1.
    fn orthogonal(&self, matrix: &Tensor) -> Result<Tensor> {
        let (rows, columns) = matrix.dims2()?;
        // The product of the matrix with its transpose has the shorter side.
        let wide = if rows > columns {
            matrix.t()?.contiguous()?
        } else {
            matrix.clone()
        };
        let mut x = (&wide / norm(&wide)?.max(self.eps))?;
        let [.., last] = self.coefficients;
        let coefficients = self.coefficients.iter().chain(std::iter::repeat(last));
        for &[a, b, c] in coefficients.take(self.ns_steps) {
            let gram = x.matmul(&x.transpose(D::Minus1, D::Minus2)?)?;
            let polynomial = ((&gram * b)? + (gram.matmul(&gram)? * c)?)?;
            x = ((&x * a)? + polynomial.matmul(&x)?)?;
        }
        if rows > columns { x.t() } else { Ok(x) }
    }
}

impl TensorRule for Muon {
    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::zeros("momentum_buffer")]
    }

    fn update(&self, now: Now, w: Whole, g: Whole, buffers: &mut [Whole]) -> Result<Whole> {
        let [mean] = buffers else { return Ok(w) };
        *mean = mean.clone().lerp(g.clone(), 1.0 - self.momentum);
        let direction = if self.nesterov {
            g.lerp(mean.clone(), self.momentum)
        } else {
            mean.clone()
        };
        let direction = direction.tensor()?;
        let matrix = direction.flatten_from(1)?;
        let (rows, columns) = matrix.dims2()?;
        let orthogonal = self.orthogonal(&matrix)?.reshape(direction.shape())?;
        let w = if self.normalize_weights {
            let norm = norm(&w.clone().tensor()?)?.max(self.eps);
            w * ((rows as f64).sqrt() / norm)
        } else {
            w
        };
        Ok(w - Whole::new(&orthogonal) * (now.lr * self.lr_scale(rows, columns)))
    }
}
