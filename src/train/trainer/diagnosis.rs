//! Updates whose loss or gradient is not finite: where the value came from, and how the run continues.

use candle_core::{Result, Tensor};

use super::Trainer;
use super::epoch::Update;
use crate::autograd;
use crate::data::Batch;
use crate::nn::first_layer;
use crate::rng::GeneratorState;
use crate::train::error::TrainError;
use crate::train::finite::{first_non_finite, is_finite};
use crate::train::non_finite::NonFiniteOrigin;
use crate::train::options::NanAction;

/// What the batches of an update change before the update itself.
pub(super) struct BeforeUpdate {
    /// The position of the first batch in the epoch.
    batch: usize,
    generators: Vec<GeneratorState>,
    /// Copies of the running statistics, if updates can be left out.
    buffers: Vec<Tensor>,
}

impl Trainer<'_> {
    /// Notes what is needed to repeat the batches of the next update or to leave it out.
    pub(super) fn before_update(&self) -> Result<BeforeUpdate> {
        let generators = self.run.generators.iter();
        let buffers = match self.run.options.nan {
            NanAction::Stop => Vec::new(),
            NanAction::Skip => self.run.store.buffers(),
        };
        // Full copies: layers write into the memory of their buffers.
        let copies = buffers.iter().map(|(_, var)| var.copy());
        Ok(BeforeUpdate {
            batch: self.progress.batch,
            generators: generators.map(|(_, generator)| generator.state()).collect(),
            buffers: copies.collect::<Result<_>>()?,
        })
    }

    /// Leaves out an update whose loss or gradient is not finite, or ends the run with an error, as the
    /// options say.
    pub(super) fn leave_out(
        &mut self,
        before: &BeforeUpdate,
        update: &Update,
    ) -> std::result::Result<(), TrainError> {
        let skips = self.run.options.nan == NanAction::Skip;
        let origin = match (skips, self.progress.skipped) {
            // Later updates often fail for the same reason.
            (true, 1..) => None,
            _ => self.origin(before)?,
        };
        let (epoch, step) = (self.progress.epoch + 1, self.progress.step + 1);
        let Update { loss, lr, .. } = *update;
        let error = if loss.is_finite() {
            TrainError::NonFiniteGradient {
                epoch,
                step,
                lr,
                origin,
            }
        } else {
            TrainError::NonFiniteLoss {
                loss,
                epoch,
                step,
                lr,
                origin,
            }
        };
        if !skips {
            return Err(error);
        }
        tracing::warn!("{error}; the update is skipped");
        for ((_, buffer), value) in self.run.store.buffers().iter().zip(&before.buffers) {
            buffer.set(value)?;
        }
        self.progress.skipped += 1;
        self.progress.partial.skipped += 1;
        Ok(())
    }

    /// Repeats the batches of an update that was not taken and finds their first value that is not
    /// finite. `None` if the repetition has finite values.
    fn origin(&self, before: &BeforeUpdate) -> Result<Option<NonFiniteOrigin>> {
        let params = self.run.store.params();
        let values = params
            .iter()
            .map(|(name, var)| (name.clone(), var.as_detached_tensor()));
        if let Some(name) = first_non_finite(values)? {
            return Ok(Some(NonFiniteOrigin::Parameter(name)));
        }
        let after: Vec<_> = self.run.generators.iter().map(|(_, g)| g.state()).collect();
        self.restore_generators(&before.generators);
        let count = self.progress.batch - before.batch;
        let batches = self.train.epoch(self.progress.epoch as u64, before.batch);
        let mut found = Ok(None);
        for batch in batches.take(count) {
            found = batch.and_then(|batch| self.first_found(self.repeat(&batch)?));
            if !matches!(found, Ok(None)) {
                break;
            }
        }
        self.restore_generators(&after);
        found
    }

    fn repeat(&self, batch: &Batch) -> Result<Option<NonFiniteOrigin>> {
        if self.on_any_rank(!is_finite(&batch.images)?)? {
            return Ok(Some(NonFiniteOrigin::Images));
        }
        self.restart_generators(batch.index);
        // An output that cannot be read is found in the loss.
        let not_finite = |output: &Tensor| !is_finite(output).unwrap_or(true);
        let step = || autograd::value_and_grad(|| Ok((self.loss(batch)?, ())));
        let ((loss, (), gradients), layer) = first_layer(not_finite, step)?;
        if let Some((layer, kind)) = layer {
            let kind = kind.to_string();
            return Ok(Some(NonFiniteOrigin::Forward { layer, kind }));
        }
        if !is_finite(&loss)? {
            return Ok(Some(NonFiniteOrigin::Loss));
        }
        // The backward pass goes from the last parameter to the first.
        let params = self.run.store.params().into_iter().rev();
        let gradients = params.filter_map(|(name, var)| {
            let gradient = gradients.get(var.as_tensor())?;
            Some((name, gradient.clone()))
        });
        Ok(first_non_finite(gradients)?.map(NonFiniteOrigin::Backward))
    }

    fn restore_generators(&self, states: &[GeneratorState]) {
        for ((_, generator), state) in self.run.generators.iter().zip(states) {
            generator.restore(state);
        }
    }
}
