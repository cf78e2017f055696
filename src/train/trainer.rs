//! The training loop.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Tensor;
use candle_nn::ModuleT;

use super::error::TrainError;
use super::images::RunImages;
use super::observer::{Observer, RunStart, StepReport};
use super::optimizer::{ParameterGroup, RuleOptimizer};
use super::parts::Parts;
use super::recipe::Recipe;
use super::record::{EpochRecord, EvaluationSet, Record};
use super::run_folder::{BEST, LAST, RunFolder, STATE};
use super::schedule::Schedule;
use super::state::{Partial, Progress, RunState};
use super::step::{Step, StepError, step};
use crate::checkpoint;
use crate::data::{Batch, Loader};
use crate::eval::{self, Evaluation};
use crate::nn::{AuxiliaryLoss, ParamStore};
use crate::rng::Generator;

/// A network, its data and its recipe.
pub struct Run<'a> {
    /// The network, built on `store`.
    pub model: &'a dyn ModuleT,
    /// The loss that `model` adds to the loss of its logits, if it has one.
    pub auxiliary: Option<&'a dyn AuxiliaryLoss>,
    /// The same network, built on [`ParamStore::frozen`] of `store`.
    pub frozen: &'a dyn ModuleT,
    /// The parts of the network, for recipes that treat them differently.
    pub parts: Option<Parts<'a>>,
    /// Weights and buffers.
    pub store: &'a ParamStore,
    /// The training images, shuffled and augmented.
    pub train: &'a Loader,
    /// The images that choose the best epoch; the test images if none.
    pub validation: Option<&'a Loader>,
    /// The images of the final figures.
    pub test: &'a Loader,
    /// The hyperparameters.
    pub recipe: &'a Recipe,
    /// The folder for checkpoints.
    pub folder: &'a RunFolder,
    /// Key-value pairs for the header of every checkpoint, such as the name of the model.
    pub metadata: &'a BTreeMap<String, String>,
    /// The random generators of the network, by name.
    pub generators: &'a [(String, Generator)],
    /// If set, the run saves its state after the current step and ends.
    pub stop: &'a AtomicBool,
}

impl<'a> Run<'a> {
    /// The images that evaluate each epoch.
    fn evaluation(&self) -> &'a Loader {
        self.validation.unwrap_or(self.test)
    }

    fn evaluated_on(&self) -> EvaluationSet {
        match self.validation {
            Some(_) => EvaluationSet::Validation,
            None => EvaluationSet::Test,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Record),
    /// The run was stopped. Its state is saved and it can be resumed.
    Interrupted {
        /// Steps taken so far.
        step: u64,
    },
}

/// Trains from the start, or continues from `resume`, and reports to `observers`.
///
/// # Errors
/// A recipe out of range, an empty training set, a state of another run or of other
/// images, a loss that is not finite, a file that cannot be written, or the error of an op.
pub fn train(
    run: &Run<'_>,
    resume: Option<RunState>,
    observers: &mut [Box<dyn Observer>],
) -> Result<Outcome, TrainError> {
    Trainer::new(run, resume)?.run(observers)
}

struct Trainer<'a> {
    run: &'a Run<'a>,
    optimizer: RuleOptimizer,
    schedule: Schedule,
    progress: Progress,
    steps_per_epoch: usize,
    /// Steps at the start that train only the head.
    head_warmup: u64,
}

impl<'a> Trainer<'a> {
    fn new(run: &'a Run<'a>, resume: Option<RunState>) -> Result<Self, TrainError> {
        let recipe = run.recipe;
        recipe.validate()?;
        let steps_per_epoch = run.train.batches_per_epoch();
        if steps_per_epoch == 0 {
            return Err(TrainError::NoImages);
        }
        let head_warmup = (recipe.head_warmup_epochs * steps_per_epoch as f64).round() as u64;
        let groups = match &run.parts {
            Some(parts) if recipe.tells_parts_apart() => {
                parts.groups(run.store, recipe, head_warmup)
            }
            None if recipe.tells_parts_apart() => return Err(TrainError::NoParts),
            _ => ParameterGroup::split(run.store.params(), recipe.weight_decay),
        };
        let mut optimizer = RuleOptimizer::new(recipe.optimizer(), groups)?;
        if let Some(parts) = &run.parts {
            optimizer = optimizer.with_head(parts.head);
        }
        let images = RunImages::of(run.train, run.evaluation());
        let mut progress = match resume {
            None => Progress::default(),
            Some(state) => {
                let path = run.folder.file(STATE);
                state.check(&path, recipe, &images, steps_per_epoch)?;
                state.restore(&path, run.store, &mut optimizer, run.generators)?
            }
        };
        progress.threads = Some(rayon::current_num_threads());
        progress.images = Some(images);
        Ok(Self {
            run,
            optimizer,
            schedule: recipe.schedule(steps_per_epoch),
            progress,
            steps_per_epoch,
            head_warmup,
        })
    }

    /// The network to train in the next step if only the head learns.
    fn head_only(&self) -> Option<&'a dyn ModuleT> {
        let alone = self.run.recipe.freeze_backbone || self.progress.step < self.head_warmup;
        self.run
            .parts
            .as_ref()
            .filter(|_| alone)
            .map(|parts| parts.head_only)
    }

    fn run(mut self, observers: &mut [Box<dyn Observer>]) -> Result<Outcome, TrainError> {
        for observer in &mut *observers {
            observer.start(&RunStart {
                records: &self.progress.records,
                epochs: self.run.recipe.epochs,
                evaluated_on: self.run.evaluated_on(),
            })?;
        }
        if self.progress.step == 0 {
            // From now on the run can be resumed.
            self.save_state()?;
        }
        while self.progress.epoch < self.run.recipe.epochs {
            if !self.epoch(observers)? {
                self.save_weights(LAST)?;
                self.save_state()?;
                let step = self.progress.step;
                return Ok(Outcome::Interrupted { step });
            }
            let record = self.finish_epoch()?;
            for observer in &mut *observers {
                observer.epoch(&record)?;
            }
        }
        self.record().map(Outcome::Finished)
    }

    /// Trains the rest of the current epoch. Returns false if the run was stopped.
    fn epoch(&mut self, observers: &mut [Box<dyn Observer>]) -> Result<bool, TrainError> {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        let mut clock = Instant::now();
        for batch in self.run.train.epoch(epoch as u64, first) {
            if self.run.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let (loss, lr) = self.step(&batch?)?;
            self.progress.partial.seconds += clock.elapsed().as_secs_f64();
            clock = Instant::now();
            let partial = &self.progress.partial;
            let report = StepReport {
                epoch: epoch + 1,
                batch: self.progress.batch,
                batches: self.steps_per_epoch,
                step: self.progress.step,
                lr,
                loss,
                images_per_second: partial.totals.images() as f64 / partial.seconds,
            };
            for observer in &mut *observers {
                observer.step(&report)?;
            }
        }
        Ok(true)
    }

    fn step(&mut self, batch: &Batch) -> Result<(f64, f64), TrainError> {
        let Batch { images, labels, .. } = batch;
        let lr = self.schedule.lr(self.progress.step);
        let (run, head) = (self.run, self.head_only());
        let forward = || match (head, run.auxiliary) {
            (Some(head), _) => Ok((head.forward_t(images, true)?, None)),
            (None, None) => Ok((run.model.forward_t(images, true)?, None)),
            (None, Some(network)) => {
                let (logits, own) = network.forward_with_loss(images, labels)?;
                Ok((logits, Some(own)))
            }
        };
        let result = step(forward, labels, run.recipe, &mut self.optimizer, lr);
        let Step { loss, logits } = result.map_err(|error| match error {
            StepError::NonFiniteLoss(loss) => TrainError::NonFiniteLoss {
                loss,
                epoch: self.progress.epoch + 1,
                step: self.progress.step + 1,
                lr,
            },
            StepError::Candle(error) => TrainError::Candle(error),
        })?;
        let partial = &mut self.progress.partial;
        partial.totals.add(&logits, labels)?;
        partial.loss += loss * labels.elem_count() as f64;
        self.progress.step += 1;
        self.progress.batch += 1;
        Ok((loss, lr))
    }

    /// Evaluates the epoch and saves weights and state.
    fn finish_epoch(&mut self) -> Result<EpochRecord, TrainError> {
        let clock = Instant::now();
        let evaluation = self.evaluate(self.run.evaluation())?;
        let Partial {
            totals,
            loss,
            seconds,
        } = std::mem::take(&mut self.progress.partial);
        let mean = totals.mean();
        let lr = self.schedule.lr(self.progress.step - 1);
        let record = EpochRecord {
            epoch: self.progress.epoch + 1,
            step: self.progress.step,
            lr,
            train_loss: loss / mean.images as f64,
            train_top1: mean.top1,
            loss: evaluation.loss,
            top1: evaluation.top1,
            top5: evaluation.top5,
            images_per_second: mean.images as f64 / seconds,
            seconds: seconds + clock.elapsed().as_secs_f64(),
        };
        if !evaluation.loss.is_finite() {
            return Err(TrainError::NonFiniteLoss {
                loss: evaluation.loss,
                epoch: record.epoch,
                step: record.step,
                lr,
            });
        }
        let progress = &mut self.progress;
        progress.epoch += 1;
        progress.batch = 0;
        progress.train_seconds += seconds;
        progress.train_images += mean.images;
        progress.records.push(record.clone());
        if progress
            .best()
            .is_some_and(|best| best.epoch == record.epoch)
        {
            self.save_weights(BEST)?;
        }
        self.save_weights(LAST)?;
        self.save_state()?;
        Ok(record)
    }

    fn evaluate(&self, loader: &Loader) -> Result<Evaluation, TrainError> {
        let batches = loader.epoch(0, 0);
        let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.labels)));
        Ok(eval::evaluate(self.run.frozen, batches)?)
    }

    fn save_weights(&self, name: &str) -> Result<(), TrainError> {
        let path = self.run.folder.file(name);
        let mut metadata = self.run.metadata.clone();
        metadata.insert("epoch".to_string(), self.progress.epoch.to_string());
        Ok(checkpoint::write(
            &path,
            &self.run.store.tensors(),
            &metadata,
        )?)
    }

    fn save_state(&mut self) -> Result<(), TrainError> {
        let path = self.run.folder.file(STATE);
        let state = |(name, generator): &(String, Generator)| {
            Ok((name.clone(), serde_json::to_string(&generator.state())?))
        };
        let states = self.run.generators.iter().map(state);
        let states = states.collect::<std::io::Result<_>>();
        self.progress.generators = states.map_err(TrainError::io(&path))?;
        RunState::write(
            &path,
            &self.progress,
            self.run.store,
            &self.optimizer,
            self.run.metadata,
        )
    }

    /// The figures of the finished run. If validation images chose the best epoch, evaluates the best
    /// and the last weights on the test images.
    fn record(&self) -> Result<Record, TrainError> {
        let progress = &self.progress;
        let measured = |record: &EpochRecord| Evaluation {
            images: self.run.test.images().len(),
            top1: record.top1,
            top5: record.top5,
            loss: record.loss,
        };
        let last = progress.records.last().map(measured).unwrap_or_default();
        let best = progress.best();
        let best_epoch = best.map_or(0, |record| record.epoch);
        let best = best.map(measured).unwrap_or_default();
        let (best, last) = match self.run.validation {
            None => (best, last),
            Some(_) => {
                let last = self.evaluate(self.run.test)?;
                (self.evaluate_best()?, last)
            }
        };
        Ok(Record {
            epochs: progress.records.clone(),
            best_epoch,
            best_chosen_on: self.run.evaluated_on(),
            best,
            last,
            images_per_second: progress.train_images as f64 / progress.train_seconds,
            seconds: progress.records.iter().map(|record| record.seconds).sum(),
        })
    }

    /// Evaluates the best weights, then restores the last ones.
    fn evaluate_best(&self) -> Result<Evaluation, TrainError> {
        // A full copy: on Metal, Candle's copy shares the memory of a variable.
        let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.force_contiguous()?));
        let last = self.run.store.tensors().into_iter().map(copy);
        let last = last.collect::<candle_core::Result<HashMap<_, _>>>()?;
        self.run
            .store
            .load_tensors(&checkpoint::read(&self.run.folder.file(BEST))?.tensors)?;
        let evaluation = self.evaluate(self.run.test);
        self.run.store.load_tensors(&last)?;
        evaluation
    }
}
