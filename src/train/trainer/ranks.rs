//! What the ranks of a data parallel run exchange in addition to gradients.
//!
//! Every decision depends on values that all ranks have, so that they make the same collective calls.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, Var, bail};

use super::{Stop, Trainer};
use crate::checkpoint;
use crate::data::Loader;
use crate::eval::{Evaluation, Totals};
use crate::rng::Generator;
use crate::train::error::TrainError;
use crate::train::non_finite::NonFiniteOrigin;
use crate::train::optimizer::Optimizer;
use crate::train::recipe::DistBn;
use crate::train::state::{Partial, Progress};

/// Named tensors.
type Tensors = Vec<(String, Tensor)>;

impl Trainer<'_> {
    /// The part of the images of `loader` for this rank.
    pub(super) fn shard(&self, loader: &Loader) -> Loader {
        let communicator = self.parallel.communicator;
        loader.shard(communicator.rank(), communicator.size())
    }

    /// Gives all ranks the progress, the weights, the optimizer and the averages of rank 0.
    pub(super) fn start_alike(&mut self) -> std::result::Result<(), TrainError> {
        if self.parallel.is_single() {
            return Ok(());
        }
        let text = toml::to_string(&self.progress).map_err(candle_core::Error::wrap)?;
        let mut text = text.into_bytes();
        self.parallel.communicator.broadcast(0, &mut text)?;
        if !self.parallel.writes() {
            let text = String::from_utf8_lossy(&text);
            self.progress = toml::from_str(&text).map_err(candle_core::Error::wrap)?;
        }
        let weights = self.broadcast(self.run.store.tensors())?;
        let buffers = self.broadcast(self.optimizer.state())?;
        let averages = self.broadcast(self.averages.tensors())?;
        if self.parallel.writes() {
            return Ok(());
        }
        let recipe = self.run.recipe;
        self.schedule = self.progress.schedule(recipe, self.steps_per_epoch);
        self.run.store.load_tensors(&weights)?;
        let Progress { step, skipped, .. } = self.progress;
        self.optimizer.restore(&buffers, step - skipped)?;
        Ok(self.averages.restore(&averages)?)
    }

    /// The values that rank 0 has of `tensors`.
    fn broadcast(&self, tensors: Tensors) -> Result<HashMap<String, Tensor>> {
        let from_rank_0 = |(name, tensor): (String, Tensor)| {
            let mut bytes = match self.parallel.writes() {
                true => to_bytes(&tensor)?,
                false => Vec::new(),
            };
            self.parallel.communicator.broadcast(0, &mut bytes)?;
            Ok((name, from_bytes(&bytes, &tensor)?))
        };
        tensors.into_iter().map(from_rank_0).collect()
    }

    /// The tensors of a file in the run folder, with the names and shapes of `like`. Rank 0 reads it.
    pub(super) fn read(
        &self,
        file: &str,
        like: Tensors,
    ) -> std::result::Result<HashMap<String, Tensor>, TrainError> {
        let read = || checkpoint::read(&self.run.folder.file(file));
        if self.parallel.is_single() {
            return Ok(read()?.tensors);
        }
        let mut saved = match self.parallel.writes() {
            true => read()?.tensors,
            false => HashMap::new(),
        };
        let of_rank_0 = |(name, tensor): (String, Tensor)| {
            let tensor = saved.remove(&name).unwrap_or(tensor);
            (name, tensor)
        };
        let tensors = like.into_iter().map(of_rank_0).collect();
        Ok(self.broadcast(tensors)?)
    }

    /// Why to end the process now, if there is a reason on any rank.
    ///
    /// # Errors
    /// If another process has taken over the run folder, or another rank has ended.
    pub(super) fn stop(&self) -> std::result::Result<Option<Stop>, TrainError> {
        self.run.folder.check_held()?;
        let own = self.own_stop();
        if self.parallel.is_single() {
            return Ok(own);
        }
        let mut reasons = match own {
            None => [0.0, 0.0],
            Some(Stop::Requested) => [1.0, 0.0],
            Some(Stop::TimeLimit) => [0.0, 1.0],
        };
        self.sum(&mut reasons)?;
        Ok(match reasons {
            [0.0, 0.0] => None,
            [0.0, _] => Some(Stop::TimeLimit),
            _ => Some(Stop::Requested),
        })
    }

    fn sum(&self, values: &mut [f64]) -> Result<()> {
        self.parallel.communicator.all_reduce_sum_f64(values)
    }

    /// The means over the images of all ranks.
    pub(super) fn mean(&self, mut totals: Totals) -> Result<Evaluation> {
        if !self.parallel.is_single() {
            let mut sums = totals.sums();
            self.sum(&mut sums)?;
            totals = Totals::from_sums(sums);
        }
        Ok(totals.mean())
    }

    /// Sets the sums over the images so far aside, so that `self.progress.partial` has the sums of the
    /// next update on this rank alone. [`Trainer::join_sums`] adds the sums of all ranks to them.
    pub(super) fn set_sums_aside(&mut self) -> Partial {
        let partial = &mut self.progress.partial;
        let before = *partial;
        if !self.parallel.is_single() {
            partial.totals = Totals::default();
            partial.loss = 0.0;
        }
        before
    }

    /// Adds the sums of an update on all ranks to those `before` it. Returns the sum of the losses of its
    /// batches, each the mean over all ranks, from the sum `loss` of this rank.
    pub(super) fn join_sums(&mut self, before: &Partial, loss: f64) -> Result<f64> {
        if self.parallel.is_single() {
            return Ok(loss);
        }
        let partial = &self.progress.partial;
        let [images, top1, top5, cross_entropy] = partial.totals.sums();
        let mut sums = [images, top1, top5, cross_entropy, partial.loss, loss];
        self.sum(&mut sums)?;
        let [images, top1, top5, cross_entropy, of_images, loss] = sums;
        let of_update = [images, top1, top5, cross_entropy];
        let partial = &mut self.progress.partial;
        partial.totals = before.totals.plus(Totals::from_sums(of_update));
        partial.loss = before.loss + of_images;
        Ok(loss / self.parallel.ranks() as f64)
    }

    /// Restarts the random generators of the network for a batch: each rank has numbers of its own,
    /// which depend on the seed and the place in the run only.
    pub(super) fn restart_generators(&self, batch: usize) {
        if self.parallel.is_single() {
            return;
        }
        let (seed, epoch) = (self.run.recipe.seed, self.progress.epoch);
        let rank = self.parallel.communicator.rank();
        for (name, generator) in self.run.generators {
            let name = format!("{name}, epoch {epoch}, batch {batch}, rank {rank}");
            generator.restore(&Generator::named(seed, &name).state());
        }
    }

    /// Makes the running statistics of batch norms equal on all ranks after an update, as `dist_bn` says.
    /// Then all ranks have the state of rank 0.
    pub(super) fn distribute_statistics(&self) -> Result<()> {
        match self.run.recipe.dist_bn.unwrap_or(DistBn::Reduce) {
            _ if self.parallel.is_single() || self.run.recipe.sync_bn => Ok(()),
            DistBn::Reduce => self.average_statistics(),
            DistBn::Broadcast => {
                let values = self.statistics();
                let named =
                    |(index, var): (usize, &Var)| (index.to_string(), var.as_detached_tensor());
                let sent = self.broadcast(values.iter().enumerate().map(named).collect())?;
                for (index, var) in values.iter().enumerate() {
                    if let Some(value) = sent.get(&index.to_string()) {
                        var.set(value)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Replaces running statistics by their means over all ranks.
    pub(super) fn average_statistics(&self) -> Result<()> {
        if self.parallel.is_single() {
            return Ok(());
        }
        let statistics = self.statistics();
        let mut values = Vec::new();
        for var in &statistics {
            values.extend(to_vec::<f32>(&var.as_detached_tensor(), DType::F32)?);
        }
        self.parallel.communicator.all_reduce_sum(&mut values)?;
        let ranks = self.parallel.ranks() as f32;
        let mut rest = &mut *values;
        for var in &statistics {
            let (own, after) = rest.split_at_mut(var.elem_count());
            rest = after;
            own.iter_mut().for_each(|value| *value /= ranks);
            let mean = Tensor::from_slice(own, var.shape(), &Device::Cpu)?;
            var.set(&mean.to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// The running statistics, without counts.
    fn statistics(&self) -> Vec<Var> {
        let buffers = self.run.store.buffers().into_iter();
        let buffers = buffers.map(|(_, var)| var);
        buffers.filter(|var| var.dtype().is_float()).collect()
    }

    /// Whether `own` is true on any rank.
    pub(super) fn on_any_rank(&self, own: bool) -> Result<bool> {
        let mut count = [f64::from(u8::from(own))];
        self.sum(&mut count)?;
        Ok(count[0] > 0.0)
    }

    /// What the first rank found that found something.
    pub(super) fn first_found(
        &self,
        own: Option<NonFiniteOrigin>,
    ) -> Result<Option<NonFiniteOrigin>> {
        if self.parallel.is_single() {
            return Ok(own);
        }
        let text = serde_json::to_vec(&own).map_err(candle_core::Error::wrap)?;
        for text in self.parallel.communicator.all_gather(&text)? {
            let found = serde_json::from_slice(&text).map_err(candle_core::Error::wrap)?;
            if let Some(found) = found {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The values of a tensor, row by row.
fn to_vec<T: candle_core::WithDType>(tensor: &Tensor, dtype: DType) -> Result<Vec<T>> {
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(dtype)?;
    tensor.flatten_all()?.to_vec1::<T>()
}

/// The values of a tensor as bytes. Halves become f32.
fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    Ok(match tensor.dtype() {
        DType::F64 => bytes_of(to_vec(tensor, DType::F64)?, f64::to_le_bytes),
        DType::I64 => bytes_of(to_vec(tensor, DType::I64)?, i64::to_le_bytes),
        dtype if dtype.is_float() => bytes_of(to_vec(tensor, DType::F32)?, f32::to_le_bytes),
        dtype => bail!("cannot send a tensor of {dtype:?} to other ranks"),
    })
}

/// The tensor of [`to_bytes`], in the shape and on the device of `like`.
fn from_bytes(bytes: &[u8], like: &Tensor) -> Result<Tensor> {
    let shape = like.shape();
    let values = match like.dtype() {
        DType::F64 => Tensor::from_vec(values_of(bytes, f64::from_le_bytes), shape, &Device::Cpu),
        DType::I64 => Tensor::from_vec(values_of(bytes, i64::from_le_bytes), shape, &Device::Cpu),
        _ => Tensor::from_vec(values_of(bytes, f32::from_le_bytes), shape, &Device::Cpu),
    };
    values?.to_dtype(like.dtype())?.to_device(like.device())
}

fn bytes_of<T, const N: usize>(values: Vec<T>, to_bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(to_bytes).collect()
}

fn values_of<T, const N: usize>(bytes: &[u8], from_bytes: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (values, _) = bytes.as_chunks::<N>();
    values.iter().map(|value| from_bytes(*value)).collect()
}
