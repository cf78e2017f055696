//! A second set of a network's parameters and buffers.

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var, bail};

use crate::nn::ParamStore;
use crate::train::optimizer::move_towards;

/// A copy of all parameters and buffers of a network, which follows them.
pub(in crate::train) struct Shadow {
    params: Vec<Entry>,
    buffers: Vec<Entry>,
}

struct Entry {
    name: String,
    /// The network's tensor.
    source: Var,
    copy: Var,
}

impl Entry {
    fn new((name, source): (String, Var)) -> Result<Self> {
        Ok(Self {
            copy: Var::from_tensor(&source.as_detached_tensor().force_contiguous()?)?,
            name,
            source,
        })
    }

    fn follow(&self, weight: f64) -> Result<()> {
        move_towards(&self.copy, &self.source.as_detached_tensor(), weight)
    }
}

impl Shadow {
    /// A copy of the present values.
    pub fn of(store: &ParamStore) -> Result<Self> {
        let copies =
            |vars: Vec<(String, Var)>| vars.into_iter().map(Entry::new).collect::<Result<_>>();
        Ok(Self {
            params: copies(store.params())?,
            buffers: copies(store.buffers())?,
        })
    }

    /// Moves the parameters by `weight` of the difference to the network's, as `torch.lerp` does.
    pub fn follow_params(&self, weight: f64) -> Result<()> {
        self.params.iter().try_for_each(|e| e.follow(weight))
    }

    /// Moves the buffers as [`Shadow::follow_params`] moves the parameters. Counts are copied.
    pub fn follow_buffers(&self, weight: f64) -> Result<()> {
        self.buffers.iter().try_for_each(|e| e.follow(weight))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.params.iter().chain(&self.buffers)
    }

    /// Name and value of each tensor: the content of a checkpoint.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let named = |e: &Entry| (e.name.clone(), e.copy.as_detached_tensor());
        self.entries().map(named).collect()
    }

    /// Restores saved [`Shadow::tensors`].
    ///
    /// # Errors
    /// If a tensor is missing or has another shape or dtype.
    pub fn restore(&self, saved: &HashMap<String, Tensor>) -> Result<()> {
        for Entry { name, copy, .. } in self.entries() {
            let Some(tensor) = saved.get(name) else {
                bail!("it has no average of {name}")
            };
            if tensor.shape() != copy.shape() || tensor.dtype() != copy.dtype() {
                bail!(
                    "the average of {name} is {:?} {:?}, expected {:?} {:?}",
                    tensor.dtype(),
                    tensor.shape(),
                    copy.dtype(),
                    copy.shape()
                );
            }
            copy.set(&tensor.to_device(copy.device())?.force_contiguous()?)?;
        }
        Ok(())
    }

    /// Exchanges the values with the network's. A second call undoes the first, bit for bit.
    pub fn exchange(&self) -> Result<()> {
        for Entry { source, copy, .. } in self.entries() {
            let old = source.as_detached_tensor().force_contiguous()?;
            source.set(&copy.as_detached_tensor())?;
            copy.set(&old)?;
        }
        Ok(())
    }
}
