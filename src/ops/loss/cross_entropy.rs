//! Cross-entropy with PyTorch's options.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::cpu::{self, Coefficients};
use super::labels::read_labels;
use crate::ops::composed::{apply1, run2};
use crate::ops::storage::{Float, same_dtype, with_float};

pub(super) const OP: &str = "cross_entropy";

/// The target of [`cross_entropy`].
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The class of each row: `[N]` of u8, u32 or i64.
    Classes(&'a Tensor),
    /// The probability of each class in each row, as from mixup: `[N, K]` of any float type. They
    /// receive no gradient.
    Probabilities(&'a Tensor),
}

/// The reduction of the losses of all rows to one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// The mean; with integer labels and class weights, the weighted mean.
    #[default]
    Mean,
    /// The sum.
    Sum,
}

/// The options of [`cross_entropy`].
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy {
    /// The share of each label that is distributed evenly over all classes, from 0 to 1.
    pub label_smoothing: f64,
    /// The weight of each class, `[K]`.
    pub class_weights: Option<Tensor>,
    /// The reduction of the losses of all rows to one number.
    pub reduction: Reduction,
}

/// The cross-entropy of softmax(`logits`) and `target`.
///
/// Smoothing, weights and mean are as in `torch.nn.functional.cross_entropy`. Logits may have any
/// finite size. The mean over no rows is NaN.
///
/// # Shapes
/// - `logits`: `[N, K]`
/// - result: `[]`
///
/// # Errors
/// If a label is not below K, shapes or types do not fit, or the smoothing is not from 0 to 1.
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

/// The loss of the logits. The labels receive no gradient and are part of the op.
pub(super) struct FusedCrossEntropy {
    pub coefficients: std::sync::Arc<Coefficients>,
    pub divisor: f64,
}

/// The gradient of [`FusedCrossEntropy`] with respect to the logits, given the gradient of the
/// loss.
pub(super) struct FusedCrossEntropyGrad {
    pub coefficients: std::sync::Arc<Coefficients>,
    pub divisor: f64,
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
