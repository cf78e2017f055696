//! The labels of a loss.

use candle_core::{DType, Device, Result, Tensor, bail};

/// The class of each row, checked to be below `classes`.
pub(super) fn read_labels(op: &str, labels: &Tensor, classes: usize) -> Result<Vec<usize>> {
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
