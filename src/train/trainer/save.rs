//! The files of a run: states, and the weights of epochs.
//!
//! A state holds everything that an exact resume needs, so it is saved first. Then come the weights
//! of the epoch: the best, the last and the ones that `checkpoint_hist` keeps. If the process dies
//! between two files, the next one writes the rest from the state. Weights that only the previous
//! state may need are kept until that state is replaced. Of several ranks, rank 0 writes.

use std::path::Path;
use std::time::Instant;

use candle_core::Tensor;

use super::Trainer;
use crate::checkpoint::{self, sync_folder};
use crate::rng::Generator;
use crate::train::error::TrainError;
use crate::train::finite::first_non_finite;
use crate::train::run_folder::{
    BEST, BEST_EMA, LAST, LAST_EMA, PREVIOUS_BEST, PREVIOUS_BEST_EMA, PREVIOUS_STATE, STATE,
};
use crate::train::state::RunState;

/// The best weights of one kind.
struct Best {
    /// Their epoch, counted from 1.
    epoch: usize,
    file: &'static str,
    /// The file of the weights before them.
    previous: &'static str,
    /// The present weights.
    tensors: Vec<(String, Tensor)>,
}

impl Trainer<'_> {
    /// Makes the run resumable, and makes the files match the state that it continues from.
    pub(super) fn start_saving(&mut self) -> Result<(), TrainError> {
        if !self.parallel.writes() {
            return Ok(());
        }
        if self.progress.step == 0 {
            self.save_state()?;
            // Of a process that was killed before its run could be resumed.
            let folder = self.run.folder;
            return folder.remove(&folder.file(PREVIOUS_STATE));
        }
        self.adopt_state()?;
        if self.run.options.time_limit.is_some() {
            // This measures the time of a save.
            self.save_state()?;
        }
        Ok(())
    }

    pub(super) fn save_weights(&self, name: &str) -> Result<(), TrainError> {
        self.save_tensors(&self.run.folder.file(name), &self.run.store.tensors())
    }

    pub(super) fn save_tensors(
        &self,
        path: &Path,
        tensors: &[(String, Tensor)],
    ) -> Result<(), TrainError> {
        if !self.parallel.writes() {
            return Ok(());
        }
        let mut metadata = self.run.metadata.clone();
        metadata.insert("epoch".to_string(), self.progress.epoch.to_string());
        Ok(checkpoint::write(path, tensors, &metadata)?)
    }

    /// Saves the state. The newest state so far becomes the previous one.
    pub(super) fn save_state(&mut self) -> Result<(), TrainError> {
        let started = Instant::now();
        if !self.parallel.writes() {
            self.clock.saved(started);
            return Ok(());
        }
        self.run.folder.check_held()?;
        let path = self.run.folder.file(STATE);
        if let Some(tensor) = first_non_finite(self.run.store.tensors())? {
            return Err(TrainError::NonFiniteWeight {
                tensor,
                epoch: self.progress.epoch + 1,
                step: self.progress.step,
            });
        }
        let state = |(name, generator): &(String, Generator)| {
            Ok((name.clone(), serde_json::to_string(&generator.state())?))
        };
        let states = self.run.generators.iter().map(state);
        let states = states.collect::<std::io::Result<_>>();
        self.progress.generators = states.map_err(TrainError::io(&path))?;
        RunState::write(
            &path,
            &self.run.folder.file(PREVIOUS_STATE),
            &self.progress,
            self.run.store,
            &self.optimizer,
            &self.averages,
            self.run.metadata,
        )?;
        self.clock.saved(started);
        Ok(())
    }

    /// Writes the weights of the epoch that just ended, and removes those that no state needs.
    pub(super) fn save_epoch(&self) -> Result<(), TrainError> {
        if !self.parallel.writes() {
            return Ok(());
        }
        for best in self.bests() {
            self.save_best(&best)?;
        }
        self.save_other_weights()
    }

    /// The best weights so far: of the network, and of its exponential moving average.
    fn bests(&self) -> Vec<Best> {
        let metric = self.run.recipe.eval_metric;
        let network = self.progress.best(metric).map(|record| Best {
            epoch: record.epoch,
            file: BEST,
            previous: PREVIOUS_BEST,
            tensors: self.run.store.tensors(),
        });
        let ema = self.averages.ema.as_ref();
        let ema = ema.zip(self.progress.best_ema(metric));
        let ema = ema.map(|(ema, record)| Best {
            epoch: record.epoch,
            file: BEST_EMA,
            previous: PREVIOUS_BEST_EMA,
            tensors: ema.tensors(),
        });
        network.into_iter().chain(ema).collect()
    }

    /// Writes weights if they are from the epoch that just ended.
    fn save_best(&self, best: &Best) -> Result<(), TrainError> {
        let folder = self.run.folder;
        if best.epoch == self.progress.epoch {
            folder.rename(best.file, best.previous)?;
            self.save_tensors(&folder.file(best.file), &best.tensors)
        } else {
            folder.remove(&folder.file(best.previous))
        }
    }

    fn save_other_weights(&self) -> Result<(), TrainError> {
        let folder = self.run.folder;
        let metric = self.run.recipe.eval_metric;
        let epoch = self.progress.epoch;
        if let Some(count) = self.run.options.checkpoint_hist {
            let best = self.progress.best_epochs(metric, epoch, count);
            if best.contains(&epoch) {
                self.save_tensors(&folder.checkpoint(epoch), &self.run.store.tensors())?;
            }
            let before = self.progress.best_epochs(metric, epoch - 1, count);
            for old in folder.checkpoints()? {
                if !best.contains(&old) && !before.contains(&old) {
                    folder.remove(&folder.checkpoint(old))?;
                }
            }
        }
        if let Some(ema) = &self.averages.ema {
            self.save_tensors(&folder.file(LAST_EMA), &ema.tensors())?;
        }
        self.save_weights(LAST)
    }

    /// Makes the files in the folder match the state that the run continues from. They may be
    /// newer, if it is the previous state, or older, if the process was killed while saving.
    fn adopt_state(&self) -> Result<(), TrainError> {
        let folder = self.run.folder;
        if self.resumed_from_previous {
            // From now on it is the newest one, and a damaged one is gone.
            folder.rename(PREVIOUS_STATE, STATE)?;
            sync_folder(folder.path()).map_err(TrainError::io(folder.path()))?;
        }
        let epoch = self.progress.epoch;
        for newer in folder.checkpoints()? {
            if newer > epoch {
                folder.remove(&folder.checkpoint(newer))?;
            }
        }
        if epoch == 0 {
            return Ok(());
        }
        let at_end = self.progress.batch == 0;
        for best in self.bests() {
            let has_best = |name: &str| {
                let file = checkpoint::read(&folder.file(name)).ok();
                file.is_some_and(|file| file.metadata.get("epoch") == Some(&best.epoch.to_string()))
            };
            match (has_best(best.file), at_end) {
                (false, true) if best.epoch == epoch => self.save_best(&best),
                (false, _) if has_best(best.previous) => folder.rename(best.previous, best.file),
                _ => Ok(()),
            }?;
        }
        if at_end {
            self.save_other_weights()?;
        }
        Ok(())
    }
}
