//! Losses of logits with labels, each as one node of the graph.

mod composed;
mod cpu;
mod margin;
mod squared_error;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail,
};

use crate::ops::composed::{apply1, run2};
use crate::ops::storage::{Float, same_dtype, with_float};
use cpu::Coefficients;

pub use margin::{Margin, margin_loss};
pub use squared_error::squared_error;

const OP: &str = "cross_entropy";

/// What the logits are compared with.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The class of each row: `[N]` of u8, u32 or i64.
    Classes(&'a Tensor),
    /// The probability of each class in each row: `[N, K]` of any float type, as label mixing
    /// makes them. They are constants: no gradient flows to them.
    Probabilities(&'a Tensor),
}

/// How the losses of the rows become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean; with integer labels and class weights the mean weighted by these.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// The options of [`cross_entropy`].
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy {
    /// The share of each label that is spread evenly over all classes, from 0 to 1.
    pub label_smoothing: f64,
    /// The weight of each class, `[K]`.
    pub class_weights: Option<Tensor>,
    /// How the losses of the rows become one number.
    pub reduction: Reduction,
}

/// The cross-entropy of softmax(`logits`) and `target`, a scalar: `[N, K]` to `[]`.
///
/// Smoothing, weights and the mean are those of `torch.nn.functional.cross_entropy`. It is
/// correct at logits of any finite size. The mean over no rows is NaN.
///
/// # Errors
/// Where a label is not below K, shapes do not fit, types are not those named, or the smoothing
/// is not from 0 to 1.
pub fn cross_entropy(logits: &Tensor, target: &Target, options: &CrossEntropy) -> Result<Tensor> {
    let &[rows, classes] = logits.dims() else {
        bail!("{OP} takes logits [N, K], not {:?}", logits.dims());
    };
    let smoothing = options.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        bail!("{OP}: label smoothing must be from 0 to 1, not {smoothing}");
    }
    let weights = match &options.class_weights {
        None => None,
        Some(weights) if weights.dims() == [classes] => Some(to_f64(weights)?),
        Some(weights) => bail!(
            "{OP}: class weights {:?} do not fit {classes} classes",
            weights.dims()
        ),
    };
    let target = match target {
        Target::Classes(labels) => {
            if labels.dims() != [rows] {
                bail!("{OP}: labels {:?} do not fit {rows} rows", labels.dims());
            }
            cpu::Target::Classes(read_labels(OP, labels, classes)?)
        }
        Target::Probabilities(probabilities) => {
            if probabilities.dims() != [rows, classes] {
                bail!(
                    "{OP}: probabilities {:?} do not fit logits {:?}",
                    probabilities.dims(),
                    logits.dims()
                );
            }
            cpu::Target::Probabilities(to_f64(&probabilities.flatten_all()?)?)
        }
    };
    let coefficients = Coefficients::new(target, rows, classes, weights, smoothing);
    let divisor = match options.reduction {
        Reduction::Sum => 1.0,
        Reduction::Mean => coefficients.total_weight(),
    };
    apply1(
        FusedCrossEntropy {
            coefficients: coefficients.into(),
            divisor,
        },
        logits,
    )
}

fn to_f64(x: &Tensor) -> Result<Vec<f64>> {
    if !x.dtype().is_float() {
        bail!("{OP}: expected a float tensor, not {:?}", x.dtype());
    }
    // Not every device has f64.
    let x = x.detach().to_device(&Device::Cpu)?;
    x.to_dtype(DType::F64)?.to_vec1()
}

fn read_labels(op: &str, labels: &Tensor, classes: usize) -> Result<Vec<usize>> {
    let labels = labels.to_device(&Device::Cpu)?;
    let values: Vec<i64> = match labels.dtype() {
        DType::U8 | DType::U32 | DType::I64 => labels.to_dtype(DType::I64)?.to_vec1()?,
        dtype => bail!("{op} takes labels of u8, u32 or i64, not {dtype:?}"),
    };
    let label = |(row, value): (usize, i64)| match usize::try_from(value) {
        Ok(label) if label < classes => Ok(label),
        _ => bail!("{op}: label {value} of row {row} is not from 0 to {classes} - 1"),
    };
    values.into_iter().enumerate().map(label).collect()
}

/// The loss of the logits; the labels, which no gradient flows to, are part of the op.
struct FusedCrossEntropy {
    coefficients: std::sync::Arc<Coefficients>,
    divisor: f64,
}

/// The gradient of [`FusedCrossEntropy`] of the logits, given that of the loss.
struct FusedCrossEntropyGrad {
    coefficients: std::sync::Arc<Coefficients>,
    divisor: f64,
}

impl CustomOp1 for FusedCrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = logits.dtype();
        let loss = with_float!(dtype, OP, T => {
            let loss = self.coefficients.loss(&T::read(logits, layout)?) / self.divisor;
            T::into_storage(vec![T::from_f64(loss)], dtype)?
        });
        Ok((loss, Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let op = FusedCrossEntropyGrad {
            coefficients: self.coefficients.clone(),
            divisor: self.divisor,
        };
        run2(&op, logits, grad).map(Some)
    }
}

impl CustomOp2 for FusedCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = logits.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let dx = with_float!(dtype, OP, T => {
            let Some(grad) = T::read(grad, grad_layout)?.first().map(|g| g.to_f64()) else {
                bail!("{}: the gradient of the loss is empty", self.name());
            };
            let logits = T::read(logits, layout)?;
            T::into_storage(self.coefficients.gradient(&logits, grad / self.divisor), dtype)?
        });
        Ok((dx, layout.shape().clone()))
    }
}
