//! Batch normalisation folded into the convolution before it.

use candle_core::{DType, Device, Result, Tensor, bail};

/// Weight and bias of one convolution that replaces a convolution and the batch normalisation after
/// it, for inference: `w' = w gamma / sqrt(variance + eps)`,
/// `b' = (b - mean) gamma / sqrt(variance + eps) + beta`.
///
/// The computation is in f64; the results have the type of `weight` and no graph.
///
/// # Shapes
/// - `weight`: `[O, ..]`
/// - `bias`, `gamma`, `beta`, `mean` and `variance`: `[O]`
///
/// # Errors
/// If shapes do not fit.
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

/// The values in f64, on the CPU: not every device has f64.
fn on_cpu(t: &Tensor) -> Result<Tensor> {
    t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)
}
