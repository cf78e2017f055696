//! Stochastic weight averaging (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
//! Generalization", 2018).

use std::f64::consts::PI;

use candle_core::{Result, Tensor};

use super::shadow::Shadow;
use crate::nn::ParamStore;

/// The mean of the weights at the end of several epochs: `torch.optim.swa_utils.AveragedModel` with
/// the rates of `SWALR`. Buffers are the network's latest.
pub struct Swa {
    /// The mean and the buffers.
    pub(in crate::train) shadow: Shadow,
    start: usize,
    anneal: Option<Anneal>,
}

/// `SWALR`: half a cosine from the schedule's rate to `lr` over `epochs` epochs.
struct Anneal {
    lr: f64,
    epochs: usize,
}

impl Swa {
    /// Averages the weights at the end of epoch `start`, counted from 1, and of all later epochs.
    /// With `lr` the learning rate anneals to that value over `anneal_epochs`.
    ///
    /// # Errors
    /// If memory cannot be allocated.
    pub fn new(
        store: &ParamStore,
        start: usize,
        lr: Option<f64>,
        anneal_epochs: usize,
    ) -> Result<Self> {
        Ok(Self {
            shadow: Shadow::of(store)?,
            start,
            anneal: lr.map(|lr| Anneal {
                lr,
                epochs: anneal_epochs,
            }),
        })
    }

    /// Whether epoch `epoch`, counted from 1, is averaged.
    pub fn includes(&self, epoch: usize) -> bool {
        epoch >= self.start
    }

    /// Adds the weights at the end of epoch `epoch`, counted from 1, if it is averaged.
    ///
    /// # Errors
    /// If a tensor is f16 or bf16.
    pub fn add(&self, epoch: usize) -> Result<()> {
        if !self.includes(epoch) {
            return Ok(());
        }
        let count = epoch - self.start + 1;
        self.shadow.follow_params(1.0 / count as f64)?;
        self.shadow.follow_buffers(1.0)
    }

    /// Name and value of each tensor. The statistics of batch norms are from the last epoch, not
    /// from the mean.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.shadow.tensors()
    }

    /// Exchanges the values of the mean and of the network, to calibrate and evaluate the mean. A
    /// second call undoes the first, bit for bit.
    ///
    /// # Errors
    /// If a tensor cannot be written.
    pub fn exchange(&self) -> Result<()> {
        self.shadow.exchange()
    }

    /// The learning rate of `step`, counted from 0, if it differs from the schedule `lr`.
    pub fn lr(&self, step: u64, steps_per_epoch: usize, lr: impl Fn(u64) -> f64) -> Option<f64> {
        let anneal = self.anneal.as_ref()?;
        let steps = steps_per_epoch.max(1) as u64;
        let first = self.start.saturating_sub(1) as u64 * steps;
        let past = (step.checked_sub(first)? / steps) as f64;
        let share = match anneal.epochs {
            0 => 1.0,
            epochs => (past / epochs as f64).min(1.0),
        };
        let share = (1.0 - (PI * share).cos()) / 2.0;
        Some(anneal.lr * share + lr(first) * (1.0 - share))
    }
}
