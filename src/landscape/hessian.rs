//! The curvature of the loss: products with its Hessian, and the largest eigenvalues.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::lanczos::{Eigenvalue, LanczosOptions, lanczos};

/// The largest eigenvalues of the Hessian of a loss with respect to `params`, in decreasing order.
///
/// `gradient` returns the exact gradient at the parameters' values at the time of the call, a tensor for
/// each of `params`. A product with the Hessian is a central difference of two gradients, at `step` times
/// the norm of all parameters to both sides. Its relative error falls with the square of `step` until
/// rounding dominates: 1e-3 suits single precision, 1e-5 double. The parameters have their values again
/// afterwards, also if a call fails.
///
/// # Errors
/// The errors of `gradient`, or a gradient that is not finite.
pub fn hessian_eigenvalues(
    params: &[(String, Var)],
    step: f64,
    options: &LanczosOptions,
    mut gradient: impl FnMut() -> Result<Vec<Tensor>>,
) -> Result<Vec<Eigenvalue>> {
    let copies = params
        .iter()
        .map(|(_, param)| param.as_detached_tensor().copy());
    let weights: Vec<Tensor> = copies.collect::<Result<_>>()?;
    let start = flat(&weights)?;
    let norm = start.iter().map(|value| value * value).sum::<f64>().sqrt();
    let step = if norm > 0.0 { step * norm } else { step };
    let mut at = |distance: f64, direction: &[f64]| {
        let moved = start.iter().zip(direction).map(|(w, d)| w + distance * d);
        set(params, &moved.collect::<Vec<f64>>())?;
        flat(&gradient()?)
    };
    let product = |direction: &[f64]| {
        let (ahead, behind) = (at(step, direction)?, at(-step, direction)?);
        let difference = ahead
            .iter()
            .zip(&behind)
            .map(|(a, b)| (a - b) / (2.0 * step));
        Ok(difference.collect())
    };
    let found = lanczos(start.len(), options, product);
    for ((_, param), weight) in params.iter().zip(&weights) {
        param.set(weight)?;
    }
    found
}

/// The values of all tensors in one vector.
fn flat(tensors: &[Tensor]) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for tensor in tensors {
        values.extend(
            tensor
                .flatten_all()?
                .to_dtype(DType::F64)?
                .to_vec1::<f64>()?,
        );
    }
    Ok(values)
}

/// Sets the parameters to consecutive values.
fn set(params: &[(String, Var)], mut values: &[f64]) -> Result<()> {
    for (_, param) in params {
        let (own, rest) = values.split_at(param.elem_count());
        let tensor = Tensor::from_slice(own, param.shape(), &Device::Cpu)?;
        param.set(&tensor.to_dtype(param.dtype())?.to_device(param.device())?)?;
        values = rest;
    }
    Ok(())
}
