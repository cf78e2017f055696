//! The margin loss of capsules.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::labels::read_labels;
use crate::ops::composed::{apply1, run2};
use crate::ops::storage::{Float, same_dtype, with_float};

const OP: &str = "margin_loss";

/// The options of [`margin_loss`]; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// The length that the capsule of the correct class should reach.
    pub upper: f64,
    /// The length that the other capsules should stay below.
    pub lower: f64,
    /// The weight of the other capsules.
    pub others: f64,
}

impl Default for Margin {
    fn default() -> Self {
        Self {
            upper: 0.9,
            lower: 0.1,
            others: 0.5,
        }
    }
}

/// The margin loss of capsule lengths (Sabour et al., "Dynamic Routing Between Capsules", 2017,
/// equation 4): max(0, upper - length)² for the class of a row, and `others` max(0, length -
/// lower)² for each other class, summed over the classes and averaged over the rows.
///
/// # Shapes
/// - `lengths`: `[N, K]`
/// - `labels`: `[N]` of u8, u32 or i64, the class of each row
/// - result: `[]`
///
/// # Errors
/// If a label is not below K, or shapes or types do not fit.
pub fn margin_loss(lengths: &Tensor, labels: &Tensor, options: &Margin) -> Result<Tensor> {
    let &[rows, classes] = lengths.dims() else {
        bail!("{OP} takes lengths [N, K], not {:?}", lengths.dims());
    };
    if labels.dims() != [rows] {
        bail!("{OP}: labels {:?} do not fit {rows} rows", labels.dims());
    }
    let op = MarginLoss {
        labels: read_labels(OP, labels, classes)?.into(),
        classes,
        options: *options,
    };
    apply1(op, lengths)
}

/// The labels receive no gradient and are part of the op.
#[derive(Clone)]
pub(super) struct MarginLoss {
    pub labels: std::sync::Arc<[usize]>,
    classes: usize,
    pub options: Margin,
}

/// The gradient of [`MarginLoss`] with respect to the lengths, given the gradient of the loss.
pub(super) struct MarginLossGrad(pub MarginLoss);

impl MarginLoss {
    /// The signed distance of each length from its margin, and its weight, row by row.
    fn misses<'a, T: Float>(&'a self, lengths: &'a [T]) -> impl Iterator<Item = (f64, f64)> + 'a {
        let Margin {
            upper,
            lower,
            others,
        } = self.options;
        let rows = lengths
            .chunks_exact(self.classes.max(1))
            .zip(self.labels.iter());
        rows.flat_map(move |(row, label)| {
            row.iter().enumerate().map(move |(class, length)| {
                let length = length.to_f64();
                // Not `min` and `max`, which would turn NaN into 0.
                if class == *label {
                    let miss = length - upper;
                    (if miss > 0.0 { 0.0 } else { miss }, 1.0)
                } else {
                    let miss = length - lower;
                    (if miss < 0.0 { 0.0 } else { miss }, others)
                }
            })
        })
    }
}

impl CustomOp1 for MarginLoss {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, lengths: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = lengths.dtype();
        let loss = with_float!(dtype, OP, T => {
            let lengths = T::read(lengths, layout)?;
            let losses = self.misses(&lengths).map(|(miss, weight)| weight * miss * miss);
            let loss = losses.sum::<f64>() / self.labels.len() as f64;
            T::into_storage(vec![T::from_f64(loss)], dtype)?
        });
        Ok((loss, Shape::from(())))
    }

    fn bwd(&self, lengths: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let op = MarginLossGrad(self.clone());
        run2(&op, lengths, grad).map(Some)
    }
}

impl CustomOp2 for MarginLossGrad {
    fn name(&self) -> &'static str {
        "margin_loss_grad"
    }

    fn cpu_fwd(
        &self,
        lengths: &CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = lengths.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let gradient = with_float!(dtype, OP, T => {
            let lengths = T::read(lengths, layout)?;
            let Some(grad) = T::read(grad, grad_layout)?.first().map(|g| g.to_f64()) else {
                bail!("{}: the gradient of the loss is empty", self.name());
            };
            let scale = 2.0 * grad / self.0.labels.len() as f64;
            let slopes = self.0.misses(&lengths);
            let slopes = slopes.map(|(miss, weight)| T::from_f64(scale * weight * miss));
            T::into_storage(slopes.collect(), dtype)?
        });
        Ok((gradient, layout.shape().clone()))
    }
}
