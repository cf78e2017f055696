//! Sums of gradients over all ranks, while the backward pass runs.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, TensorId, Var};

use super::communicator::{Communicator, HandOver};
use super::data_parallel::DataParallel;
use crate::autograd::{Gradients, Ready};

/// Sums gradients over all ranks in buckets, as the reducer of PyTorch's `DistributedDataParallel`.
///
/// A bucket is summed as soon as the backward pass has computed its gradients and all buckets before it
/// have started. The last parameters come first, as in the backward pass. The buckets and their order
/// do not depend on the run.
#[derive(Debug)]
pub struct Reducer<'a> {
    communicator: &'a dyn Communicator,
    buckets: Vec<Vec<Var>>,
    bucket_of: HashMap<TensorId, usize>,
}

impl<'a> Reducer<'a> {
    /// A reducer of the gradients of `params`.
    pub fn new(params: Vec<Var>, parallel: DataParallel<'a>) -> Self {
        let bytes = (parallel.bucket_cap_mb * f64::from(1 << 20)) as usize;
        let buckets = buckets(params, bytes);
        let numbered = buckets.iter().enumerate();
        let bucket_of = numbered.flat_map(|(number, bucket)| {
            let numbered = move |var: &Var| (var.id(), number);
            bucket.iter().map(numbered)
        });
        Self {
            communicator: parallel.communicator,
            bucket_of: bucket_of.collect(),
            buckets,
        }
    }

    /// The number of ranks.
    pub fn ranks(&self) -> usize {
        self.communicator.size()
    }

    /// The number of values in each bucket, in the order of their sums.
    pub fn bucket_sizes(&self) -> Vec<usize> {
        let size = |bucket: &Vec<Var>| bucket.iter().map(|var| var.elem_count()).sum();
        self.buckets.iter().map(size).collect()
    }

    /// Runs a backward pass, adds `earlier` gradients of this rank to its gradients and replaces the
    /// sums of this rank by those over all ranks. `backward` reports each gradient that is complete
    /// before the end. Gradients are summed in f32.
    ///
    /// The parameters with a gradient must be the same on all ranks.
    ///
    /// # Errors
    /// If another rank has ended, or the error of `backward`.
    pub fn all_reduce<T>(
        &self,
        earlier: &mut Gradients,
        backward: impl FnOnce(Ready<'_>) -> Result<(T, Gradients)>,
    ) -> Result<T> {
        let mut backward = Some(backward);
        let mut result = None;
        let so_far = &*earlier;
        let sums = self
            .communicator
            .all_reduce_during(self.buckets.len(), &mut |hand_over| {
                let mut sending = Sending::new(self, so_far);
                if let Some(backward) = backward.take() {
                    let ready = &mut |var: &Tensor, gradient: &Tensor| {
                        sending.add(var, gradient, &mut *hand_over)
                    };
                    let (extra, gradients) = backward(ready)?;
                    let sent = sending.finish(&gradients, &mut *hand_over)?;
                    result = Some((extra, gradients, sent));
                }
                Ok(())
            })?;
        let Some((extra, gradients, sent)) = result else {
            candle_core::bail!("the sums over all ranks ran without a backward pass");
        };
        earlier.add(gradients)?;
        for (bucket, sums) in sent.into_iter().zip(sums) {
            unpack(&self.buckets[bucket], &sums, earlier)?;
        }
        Ok(extra)
    }
}

/// The buckets of parameters, from the last: of at most `bytes` bytes in f32, or of one parameter that
/// is larger.
fn buckets(params: Vec<Var>, bytes: usize) -> Vec<Vec<Var>> {
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
    buckets
}

/// The buckets of one backward pass.
struct Sending<'a> {
    reducer: &'a Reducer<'a>,
    /// Gradients of earlier batches.
    earlier: &'a Gradients,
    /// Gradients that are complete.
    complete: HashMap<TensorId, Tensor>,
    /// The parameters of each bucket whose gradient is missing.
    missing: Vec<usize>,
    /// Buckets that are complete.
    done: usize,
    /// The ones that have a gradient. They have been handed over.
    sent: Vec<usize>,
}

impl<'a> Sending<'a> {
    fn new(reducer: &'a Reducer<'a>, earlier: &'a Gradients) -> Self {
        Self {
            reducer,
            earlier,
            complete: HashMap::new(),
            missing: reducer.buckets.iter().map(Vec::len).collect(),
            done: 0,
            sent: Vec::new(),
        }
    }

    /// Notes a complete gradient and hands over the buckets that are now complete.
    fn add(&mut self, var: &Tensor, gradient: &Tensor, hand_over: HandOver<'_>) -> Result<()> {
        let Some(&bucket) = self.reducer.bucket_of.get(&var.id()) else {
            return Ok(());
        };
        self.complete.insert(var.id(), gradient.clone());
        self.missing[bucket] -= 1;
        while self.missing.get(self.done) == Some(&0) {
            self.hand_over(&mut *hand_over)?;
        }
        Ok(())
    }

    /// Hands over the other buckets after the backward pass. Returns all buckets that were handed over.
    fn finish(mut self, gradients: &Gradients, hand_over: HandOver<'_>) -> Result<Vec<usize>> {
        for var in self.reducer.buckets[self.done..].iter().flatten() {
            if let Some(gradient) = gradients.get(var) {
                self.complete.insert(var.id(), gradient.clone());
            }
        }
        while self.done < self.reducer.buckets.len() {
            self.hand_over(&mut *hand_over)?;
        }
        Ok(self.sent)
    }

    /// Hands over the next bucket: its gradients, one after the other.
    fn hand_over(&mut self, hand_over: HandOver<'_>) -> Result<()> {
        let bucket = self.done;
        self.done += 1;
        let mut parts = Vec::new();
        for var in &self.reducer.buckets[bucket] {
            let gradient = match (self.earlier.get(var), self.complete.remove(&var.id())) {
                (Some(earlier), Some(gradient)) => (earlier + gradient)?.detach(),
                (Some(earlier), None) => earlier.clone(),
                (None, Some(gradient)) => gradient,
                (None, None) => continue,
            };
            parts.push(gradient.to_dtype(DType::F32)?.flatten_all()?);
        }
        let buffer = match &parts[..] {
            [] => return Ok(()),
            // The buffer must not share the memory of the gradient.
            [only] => only.copy()?,
            _ => Tensor::cat(&parts, 0)?,
        };
        self.sent.push(bucket);
        hand_over(buffer)
    }
}

/// Replaces the gradients of a bucket by `sums`, one after the other.
fn unpack(bucket: &[Var], sums: &Tensor, gradients: &mut Gradients) -> Result<()> {
    let mut start = 0;
    for var in bucket {
        if gradients.get(var).is_none() {
            continue;
        }
        let count = var.elem_count();
        let sum = sums.narrow(0, start, count)?.reshape(var.shape())?;
        start += count;
        gradients.insert(var, sum.to_dtype(var.dtype())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Result, Var};

    use super::buckets;

    #[test]
    fn the_last_parameters_come_first_and_large_ones_alone() -> Result<()> {
        let var = |count: usize| Var::zeros(count, DType::F32, &Device::Cpu);
        let params = [3, 2, 10, 1, 1]
            .map(var)
            .into_iter()
            .collect::<Result<_>>()?;
        let sizes: Vec<Vec<usize>> = buckets(params, 4 * 4)
            .iter()
            .map(|bucket| bucket.iter().map(|var| var.elem_count()).collect())
            .collect();
        assert_eq!(sizes, [vec![1, 1], vec![10], vec![2], vec![3]]);
        Ok(())
    }
}
