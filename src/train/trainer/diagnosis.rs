//! Steps whose loss or gradient is not finite: where the value came from, and how the run continues.

use candle_core::{Result, Tensor};

use super::Trainer;
use crate::autograd;
use crate::data::Batch;
use crate::nn::first_layer;
use crate::rng::GeneratorState;
use crate::train::error::TrainError;
use crate::train::finite::{first_non_finite, is_finite};
use crate::train::non_finite::NonFiniteOrigin;
use crate::train::options::NanAction;

/// What a step changes before its update.
pub(super) struct BeforeStep {
    generators: Vec<GeneratorState>,
    /// Copies of the running statistics, if steps can be skipped.
    buffers: Vec<Tensor>,
}

impl Trainer<'_> {
    /// Notes what is needed to repeat or to leave out the next step.
    pub(super) fn before_step(&self) -> Result<BeforeStep> {
        let generators = self.run.generators.iter();
        let buffers = match self.run.options.nan {
            NanAction::Stop => Vec::new(),
            NanAction::Skip => self.run.store.buffers(),
        };
        // Full copies: layers write into the memory of their buffers.
        let copies = buffers.iter().map(|(_, var)| var.copy());
        Ok(BeforeStep {
            generators: generators.map(|(_, generator)| generator.state()).collect(),
            buffers: copies.collect::<Result<_>>()?,
        })
    }

    /// Ends the run with `error`, or leaves out the update, as the options say. `error` gets the
    /// origin of the value.
    pub(super) fn not_finite(
        &mut self,
        batch: &Batch,
        before: &BeforeStep,
        error: impl FnOnce(Option<NonFiniteOrigin>) -> TrainError,
    ) -> std::result::Result<(), TrainError> {
        let first = self.progress.skipped == 0;
        let origin = match self.run.options.nan {
            // Later batches often fail for the same reason.
            NanAction::Skip if !first => None,
            _ => self.origin(batch, before)?,
        };
        let error = error(origin);
        if self.run.options.nan == NanAction::Stop {
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

    /// Repeats the step of `batch` and finds its first value that is not finite. `None` if the
    /// repetition has finite values.
    fn origin(&self, batch: &Batch, before: &BeforeStep) -> Result<Option<NonFiniteOrigin>> {
        if !is_finite(&batch.images)? {
            return Ok(Some(NonFiniteOrigin::Images));
        }
        let params = self.run.store.params();
        let values = params
            .iter()
            .map(|(n, var)| (n.clone(), var.as_detached_tensor()));
        if let Some(name) = first_non_finite(values)? {
            return Ok(Some(NonFiniteOrigin::Parameter(name)));
        }
        let after: Vec<_> = self.run.generators.iter().map(|(_, g)| g.state()).collect();
        self.restore_generators(&before.generators);
        let found = self.repeat(batch);
        self.restore_generators(&after);
        found
    }

    fn repeat(&self, batch: &Batch) -> Result<Option<NonFiniteOrigin>> {
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
