//! Moving averages of tensors, with the numbers and the threads of the update rules.

use candle_core::{DType, Result, Tensor, Var, bail};

use super::elements;
use super::number::{Number, Whole};
use super::traits::ElementStep;
use super::update::Prepare;

/// Moves `average` towards `value` by `weight` of their difference, in place, as `torch.lerp` does.
/// On the CPU it is one pass over both. Integers are copied.
///
/// # Errors
/// If the tensors differ in shape, dtype or device, or are f16 or bf16.
pub(in crate::train) fn move_towards(average: &Var, value: &Tensor, weight: f64) -> Result<()> {
    if average.dims() != value.dims() {
        bail!(
            "an average is {:?}, the new value {:?}",
            average.dims(),
            value.dims()
        );
    }
    let step = Towards(weight);
    match average.dtype() {
        DType::F32 | DType::F64 if average.device().is_cpu() => {
            elements::apply_prepared(&Unchanged, &step, average, value, &[])
        }
        DType::F32 | DType::F64 => {
            let old = Whole::new(&average.as_detached_tensor());
            let new = step.update(old, Whole::new(value), &mut []);
            average.set(&new.tensor()?)
        }
        DType::F16 | DType::BF16 => bail!("averages are f32 or f64, not {:?}", average.dtype()),
        _ => average.set(value),
    }
}

/// The fraction of the distance from the average to the new value.
struct Towards(f64);

impl ElementStep for Towards {
    #[inline(always)]
    fn update<N: Number>(&self, average: N, value: N, _: &mut [N]) -> N {
        // From the nearer end, so that a weight of 1 gives exactly the value.
        if self.0 < 0.5 {
            average.lerp(value, self.0)
        } else {
            value.clone() - (value - average) * (1.0 - self.0)
        }
    }
}

/// Neither clipping nor weight decay.
struct Unchanged;

impl Prepare for Unchanged {
    #[inline(always)]
    fn prepare<N: Number>(&self, average: N, value: N) -> (N, N) {
        (average, value)
    }
}
