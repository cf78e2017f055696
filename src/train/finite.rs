//! Finds infinite and NaN values.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};

/// Whether every value of a tensor is finite. On the CPU this is one pass over its memory; tensors on
/// other devices are copied to the CPU.
pub(super) fn is_finite(tensor: &Tensor) -> Result<bool> {
    if !tensor.dtype().is_float() {
        return Ok(true);
    }
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let range = layout.contiguous_offsets();
    match (&*storage, range) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            Ok(all_finite(&values[start..end]))
        }
        _ => {
            drop(storage);
            let values = tensor.flatten_all()?.to_dtype(DType::F64)?;
            Ok(values.to_vec1::<f64>()?.iter().all(|x| x.is_finite()))
        }
    }
}

/// The exponent of an infinite or NaN f32 has all bits set. The largest pattern is found without
/// branches, so that the loop is vectorised.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let patterns = values.iter().map(|value| value.to_bits() & EXPONENT);
    patterns.fold(0, u32::max) < EXPONENT
}

/// The first of named tensors that has an infinite or NaN value.
pub(super) fn first_non_finite(
    tensors: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<Option<String>> {
    for (name, tensor) in tensors {
        if !is_finite(&tensor)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Result, Tensor};

    use super::is_finite;

    #[test]
    fn one_bad_value_is_found_in_every_type() -> Result<()> {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in [0, 5, 36] {
                let mut values = vec![-3e38; 37];
                let finite = Tensor::from_slice(&values, 37, &Device::Cpu)?;
                values[at] = bad;
                let not = Tensor::from_slice(&values, 37, &Device::Cpu)?;
                for dtype in [DType::F64, DType::F32] {
                    assert!(is_finite(&finite.to_dtype(dtype)?)?);
                    assert!(!is_finite(&not.to_dtype(dtype)?)?);
                }
                let small = (finite * 1e-36)?.to_dtype(DType::F16)?;
                assert!(is_finite(&small)?);
                assert!(!is_finite(&not.to_dtype(DType::BF16)?)?);
                // A part of a tensor.
                let part = not.to_dtype(DType::F32)?.narrow(0, 6, 30)?;
                assert!(is_finite(&part)?);
            }
        }
        Ok(())
    }
}
