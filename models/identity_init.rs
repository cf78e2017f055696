//! Initial weights of the airbench networks, which do not only draw them.

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::nn::ParamStore;

use crate::whitening::patch_whitening;

/// Makes the convolution at the path `whiten` whiten the patches of `images`, with each filter followed
/// by its negative, and the first filters of each other convolution the identity.
///
/// # Errors
/// If there is no patch, or a tensor cannot be read.
pub(crate) fn whiten_and_pass(
    store: &ParamStore,
    whiten: &str,
    images: &dyn Fn() -> Result<Tensor>,
) -> Result<()> {
    for (name, var) in store.params() {
        let &[_, _, side, _] = var.dims() else {
            continue;
        };
        let weight = if name.strip_suffix(".weight") == Some(whiten) {
            let filters = patch_whitening(&images()?, side)?;
            Tensor::cat(&[&filters, &filters.neg()?], 0)?
        } else {
            with_identity(var.as_detached_tensor())?
        };
        var.set(&weight.to_dtype(var.dtype())?.to_device(var.device())?)?;
    }
    Ok(())
}

/// `weight` with the identity as its first filters, one for each input channel, as far as there are filters:
/// PyTorch's `dirac_`.
fn with_identity(weight: Tensor) -> Result<Tensor> {
    let (outputs, inputs, height, width) = weight.dims4()?;
    // On the CPU: Metal has no f64.
    let values = weight.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let mut filters = values.flatten_all()?.to_vec1::<f64>()?;
    let taps = height * width;
    for (input, filter) in filters.chunks_mut(inputs * taps).take(inputs).enumerate() {
        filter.fill(0.0);
        filter[input * taps + (height / 2) * width + width / 2] = 1.0;
    }
    Tensor::from_vec(filters, (outputs, inputs, height, width), &Device::Cpu)
}
