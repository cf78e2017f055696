//! All averages of a run, and their part of its state.

use std::collections::HashMap;

use candle_core::{Result, Tensor};

use super::ema::Ema;
use super::shadow::Shadow;
use super::swa::Swa;
use crate::nn::ParamStore;
use crate::train::recipe::Recipe;

/// The averages that a recipe asks for.
pub(in crate::train) struct Averages {
    /// The exponential moving average.
    pub ema: Option<Ema>,
    /// Stochastic weight averaging.
    pub swa: Option<Swa>,
}

/// Prefixes of the averages in the state file.
const EMA: &str = "ema.";
const SWA: &str = "swa.";

impl Averages {
    pub fn new(recipe: &Recipe, store: &ParamStore) -> Result<Self> {
        let ema = recipe.model_ema.then(|| {
            let decay = recipe.model_ema_decay.unwrap_or(Recipe::EMA_DECAY);
            Ema::new(store, decay, recipe.model_ema_warmup)
        });
        let swa = recipe.swa_start.map(|start| {
            let epochs = recipe.swa_anneal_epochs;
            let epochs = epochs.unwrap_or(Recipe::SWA_ANNEAL_EPOCHS);
            Swa::new(store, start, recipe.swa_lr, epochs)
        });
        Ok(Self {
            ema: ema.transpose()?,
            swa: swa.transpose()?,
        })
    }

    /// The averages as named tensors.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let ema = self.ema.as_ref().map(|ema| (EMA, &ema.shadow));
        let swa = self.swa.as_ref().map(|swa| (SWA, &swa.shadow));
        let prefixed = |(prefix, shadow): (&'static str, &Shadow)| {
            let tensors = shadow.tensors().into_iter();
            tensors.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
        };
        ema.into_iter().chain(swa).flat_map(prefixed).collect()
    }

    /// Restores saved [`Averages::tensors`]. Other tensors are ignored.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape or dtype.
    pub fn restore(&self, saved: &HashMap<String, Tensor>) -> Result<()> {
        let of = |prefix: &str| {
            let own = saved.iter().filter_map(|(key, tensor)| {
                let name = key.strip_prefix(prefix)?;
                Some((name.to_string(), tensor.clone()))
            });
            own.collect::<HashMap<_, _>>()
        };
        if let Some(ema) = &self.ema {
            ema.shadow.restore(&of(EMA))?;
        }
        if let Some(swa) = &self.swa {
            swa.shadow.restore(&of(SWA))?;
        }
        Ok(())
    }
}
