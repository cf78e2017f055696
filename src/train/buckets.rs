//! Gradients of several parameters in one buffer, to sum them over all ranks at once.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::communicator::Communicator;
use crate::autograd::Gradients;

/// The parameters of a network in buckets, the last parameters first: the backward pass computes their
/// gradients first. As in PyTorch's `DistributedDataParallel`, the buckets do not depend on the run.
#[derive(Debug)]
pub struct Buckets(Vec<Vec<Var>>);

impl Buckets {
    /// Buckets of at most `bytes` bytes in f32, or of one parameter that is larger.
    pub fn new(params: Vec<Var>, bytes: usize) -> Self {
        let mut buckets: Vec<Vec<Var>> = Vec::new();
        let mut room = 0;
        for var in params.into_iter().rev() {
            let size = var.elem_count() * size_of::<f32>();
            match buckets.last_mut() {
                Some(bucket) if size <= room => bucket.push(var),
                _ => {
                    buckets.push(vec![var]);
                    room = bytes;
                }
            }
            room = room.saturating_sub(size);
        }
        Self(buckets)
    }

    /// Replaces each gradient by its sum over all ranks. Parameters without a gradient must be the same
    /// on all ranks.
    ///
    /// # Errors
    /// If another rank has ended, or a tensor cannot be read.
    pub fn all_reduce(
        &self,
        communicator: &dyn Communicator,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let local = &*gradients;
        let sums = communicator.all_reduce_during(self.0.len(), &mut |hand_over| {
            for bucket in &self.0 {
                hand_over(packed(bucket, local)?)?;
            }
            Ok(())
        })?;
        for (bucket, sums) in self.0.iter().zip(sums) {
            unpack(bucket, &sums, gradients)?;
        }
        Ok(())
    }
}

/// The gradients of a bucket, one after the other.
fn packed(bucket: &[Var], gradients: &Gradients) -> Result<Vec<f32>> {
    let count = bucket.iter().map(|var| var.elem_count()).sum();
    let mut values = Vec::with_capacity(count);
    for gradient in bucket.iter().filter_map(|var| gradients.get(var)) {
        let gradient = gradient.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        values.extend(gradient.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(values)
}

/// Replaces the gradients of a bucket by `values`.
fn unpack(bucket: &[Var], values: &[f32], gradients: &mut Gradients) -> Result<()> {
    let mut rest = values;
    for var in bucket {
        if gradients.get(var).is_none() {
            continue;
        }
        let (own, after) = rest.split_at(var.elem_count());
        rest = after;
        let sum = Tensor::from_slice(own, var.shape(), &Device::Cpu)?;
        let sum = sum.to_dtype(var.dtype())?.to_device(var.device())?;
        gradients.insert(var, sum);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Result, Var};

    use super::Buckets;

    #[test]
    fn the_last_parameters_come_first_and_large_ones_alone() -> Result<()> {
        let var = |count: usize| Var::zeros(count, DType::F32, &Device::Cpu);
        let params = [3, 2, 10, 1, 1]
            .map(var)
            .into_iter()
            .collect::<Result<_>>()?;
        let Buckets(buckets) = Buckets::new(params, 4 * 4);
        let sizes: Vec<Vec<usize>> = buckets
            .iter()
            .map(|bucket| bucket.iter().map(|var| var.elem_count()).collect())
            .collect();
        assert_eq!(sizes, [vec![1, 1], vec![10], vec![2], vec![3]]);
        Ok(())
    }
}
