//! Checkpoints and the state of the run.

use candle_core::Tensor;

use super::Trainer;
use crate::checkpoint;
use crate::rng::Generator;
use crate::train::error::TrainError;
use crate::train::run_folder::STATE;
use crate::train::state::RunState;

impl Trainer<'_> {
    pub(super) fn save_weights(&self, name: &str) -> Result<(), TrainError> {
        self.save_tensors(name, &self.run.store.tensors())
    }

    pub(super) fn save_tensors(
        &self,
        name: &str,
        tensors: &[(String, Tensor)],
    ) -> Result<(), TrainError> {
        let path = self.run.folder.file(name);
        let mut metadata = self.run.metadata.clone();
        metadata.insert("epoch".to_string(), self.progress.epoch.to_string());
        Ok(checkpoint::write(&path, tensors, &metadata)?)
    }

    pub(super) fn save_state(&mut self) -> Result<(), TrainError> {
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
            &self.averages,
            self.run.metadata,
        )
    }
}
