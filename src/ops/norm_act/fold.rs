//! Batch normalisation as part of the convolution in front of it.

use candle_core::{DType, Device, Result, Tensor, bail};

/// Weight and bias of the convolution that gives what a convolution with `weight` `[O, ..]` and
/// `bias` `[O]` gives after batch normalisation with these running statistics `[O]`:
/// `w' = w gamma / sqrt(variance + eps)`, `b' = (b - mean) gamma / sqrt(variance + eps) + beta`.
///
/// They are computed in f64 and returned in the type of `weight`, without a graph: this is for
/// inference.
///
/// # Errors
/// Where shapes do not fit.
pub fn fold_batch_norm(
    weight: &Tensor,
    bias: Option<&Tensor>,
    (gamma, beta): (&Tensor, &Tensor),
    (mean, variance): (&Tensor, &Tensor),
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let Some(&outputs) = weight.dims().first() else {
        bail!("fold_batch_norm: the weight is a scalar");
    };
    let vector = |t: &Tensor| {
        if t.dims() != [outputs] {
            bail!(
                "fold_batch_norm: {:?} does not fit the {outputs} outputs of the weight",
                t.dims()
            );
        }
        on_cpu(t)
    };
    let (gamma, beta, mean) = (vector(gamma)?, vector(beta)?, vector(mean)?);
    let scale = (gamma / (vector(variance)? + eps)?.sqrt()?)?;
    let bias = match bias {
        None => mean.neg()?,
        Some(bias) => (vector(bias)? - mean)?,
    };
    let bias = ((bias * &scale)? + beta)?;
    let mut per_output = vec![1; weight.rank()];
    per_output[0] = outputs;
    let wide = on_cpu(weight)?;
    let folded = wide.broadcast_mul(&scale.reshape(per_output)?)?;
    let back = |t: Tensor| t.to_dtype(weight.dtype())?.to_device(weight.device());
    Ok((back(folded)?, back(bias)?))
}

/// The values in f64 on the CPU: not every device has that type.
fn on_cpu(t: &Tensor) -> Result<Tensor> {
    t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)
}
