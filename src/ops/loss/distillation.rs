//! The loss of knowledge distillation.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

use crate::ops::composed::{apply2, run3};
use crate::ops::storage::{Float, same_dtype, with_float};

const OP: &str = "distillation_loss";

/// T² KL(softmax(teacher / T) ‖ softmax(student / T)) for the temperature T, averaged over the rows
/// (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015). T² keeps the size of the
/// gradients when T changes. The teacher receives no gradient.
///
/// Equals `torch.nn.functional.kl_div` with `reduction="batchmean"`, times T².
///
/// # Shapes
/// - `student` and `teacher`: logits `[N, K]`
/// - result: `[]`
///
/// # Errors
/// If shapes or types differ, or the temperature is not positive.
pub fn distillation_loss(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let (rows, _) = student.dims2()?;
    if student.dims() != teacher.dims() {
        bail!(
            "{OP} takes logits of one shape, not {:?} and {:?}",
            student.dims(),
            teacher.dims()
        );
    }
    if !(temperature.is_finite() && temperature > 0.0) {
        bail!("{OP}: temperature must be positive, not {temperature}");
    }
    let scale = temperature * temperature / rows as f64;
    let op = Distillation { temperature, scale };
    apply2(op, student, &teacher.detach())
}

#[derive(Clone, Copy)]
pub(super) struct Distillation {
    pub temperature: f64,
    /// The factor of the sum over the rows.
    pub scale: f64,
}

/// The gradient of [`Distillation`] with respect to the student, given the gradient of the loss.
pub(super) struct DistillationGrad(pub Distillation);

impl Distillation {
    /// The logarithms of the probabilities of a row of logits at the temperature.
    fn log_probabilities<T: Float>(&self, logits: &[T]) -> Vec<f64> {
        let logits = logits.iter().map(|x| x.to_f64() / self.temperature);
        let logits: Vec<f64> = logits.collect();
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - highest).exp()).sum();
        let shift = highest + sum.ln();
        logits.into_iter().map(|x| x - shift).collect()
    }
}

/// The number of logits in a row.
fn classes(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(0).max(1)
}

impl CustomOp2 for Distillation {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        student: &CpuStorage,
        student_layout: &Layout,
        teacher: &CpuStorage,
        teacher_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = student.dtype();
        same_dtype(OP, dtype, teacher.dtype())?;
        let classes = classes(student_layout);
        let loss = with_float!(dtype, OP, T => {
            let student = T::read(student, student_layout)?;
            let teacher = T::read(teacher, teacher_layout)?;
            let rows = student.chunks_exact(classes).zip(teacher.chunks_exact(classes));
            let divergence = |(student, teacher): (&[T], &[T])| {
                let (q, p) = (self.log_probabilities(student), self.log_probabilities(teacher));
                let terms = p.iter().zip(&q).map(|(p, q)| (p.exp(), p - q));
                // A class that the teacher rules out adds nothing: its logarithm is minus infinity.
                let terms = terms.filter(|(share, _)| *share != 0.0);
                terms.map(|(share, distance)| share * distance).sum::<f64>()
            };
            let sum: f64 = rows.map(divergence).sum();
            T::into_storage(vec![T::from_f64(self.scale * sum)], dtype)?
        });
        Ok((loss, Shape::from(())))
    }

    fn bwd(
        &self,
        student: &Tensor,
        teacher: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let op = DistillationGrad(*self);
        Ok((Some(run3(&op, student, teacher, grad)?), None))
    }
}

impl CustomOp3 for DistillationGrad {
    fn name(&self) -> &'static str {
        "distillation_loss_grad"
    }

    fn cpu_fwd(
        &self,
        student: &CpuStorage,
        student_layout: &Layout,
        teacher: &CpuStorage,
        teacher_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = student.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let classes = classes(student_layout);
        let gradient = with_float!(dtype, OP, T => {
            let student = T::read(student, student_layout)?;
            let teacher = T::read(teacher, teacher_layout)?;
            let Some(grad) = T::read(grad, grad_layout)?.first().map(|g| g.to_f64()) else {
                bail!("{}: the gradient of the loss is empty", self.name());
            };
            let factor = grad * self.0.scale / self.0.temperature;
            let rows = student.chunks_exact(classes).zip(teacher.chunks_exact(classes));
            let slopes = rows.flat_map(|(student, teacher)| {
                let q = self.0.log_probabilities(student);
                let p = self.0.log_probabilities(teacher);
                let slope = |(q, p): (f64, f64)| T::from_f64(factor * (q.exp() - p.exp()));
                q.into_iter().zip(p).map(slope).collect::<Vec<T>>()
            });
            T::into_storage(slopes.collect(), dtype)?
        });
        Ok((gradient, student_layout.shape().clone()))
    }
}
