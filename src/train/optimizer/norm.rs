//! L2 norms of tensors.

use candle_core::{DType, Device, Result, Tensor};

use crate::ops::composed::{composes, wide};

/// The L2 norm of one tensor.
pub(super) fn norm(tensor: &Tensor) -> Result<f64> {
    global_norm(std::iter::once(tensor))
}

/// The L2 norm over all elements of all tensors. Sums in f64 on the CPU; on other devices sums each
/// tensor in its own type and copies one number per tensor.
pub(super) fn global_norm<'a>(gradients: impl Iterator<Item = &'a Tensor>) -> Result<f64> {
    let mut sum = 0.0;
    let mut squares = Vec::new();
    for gradient in gradients {
        if composes(gradient) {
            squares.push(wide("clipping", gradient)?.sqr()?.sum_all()?);
            continue;
        }
        let flat = gradient.flatten_all()?;
        sum += match flat.dtype() {
            DType::F64 => sum_of_squares(&flat.to_vec1::<f64>()?),
            _ => sum_of_squares(&flat.to_dtype(DType::F32)?.to_vec1::<f32>()?),
        };
    }
    if !squares.is_empty() {
        let squares = Tensor::stack(&squares, 0)?.to_device(&Device::Cpu)?;
        sum += squares
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()?
            .iter()
            .sum::<f64>();
    }
    Ok(sum.sqrt())
}

fn sum_of_squares<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    values
        .iter()
        .map(|value| {
            let value: f64 = (*value).into();
            value * value
        })
        .sum()
}
