//! PyTorch's files of all ages: a pickle, and the bytes of the tensors that it refers to.
//!
//! | written by | container |
//! | --- | --- |
//! | PyTorch 1.6 and newer | a zip archive |
//! | PyTorch 0.2 to 1.5 | pickles, then the storages |
//! | PyTorch 0.1 | a tar archive |
//! | Python's pickle module | one pickle, also of NumPy arrays |
//!
//! Nothing in a file is executed: [`crate::pickle`] keeps the calls of a pickle as values, and
//! [`tensor`] interprets those that rebuild a tensor. [`state_dict`] finds the weights among the values,
//! [`weights`] loads them.

mod legacy;
mod limits;
mod module;
mod state_dict;
mod storage;
mod storages;
mod tar;
mod tensor;
mod weights;
mod zip;

use std::path::Path;

use super::content::Checkpoint;
use super::error::one_line;
use crate::pickle::{self, Limits};
use limits::Budget;
use storages::Memory;

pub(super) use legacy::is_magic;
pub(super) use state_dict::Problem;

/// A container of PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PytorchFormat {
    /// PyTorch 1.6 and newer.
    Zip,
    /// PyTorch 0.2 to 1.5.
    Legacy,
    /// PyTorch 0.1.
    Tar,
    /// A pickle without PyTorch.
    Pickle,
}

/// Reads the table of weights: the one that `key` names, or else the one that [`state_dict`] chooses.
pub(super) fn read(
    path: &Path,
    format: PytorchFormat,
    key: Option<&str>,
) -> Result<Checkpoint, Problem> {
    let limits = Limits::default();
    let whole = || std::fs::read(path).map_err(|e| one_line(&e));
    match format {
        PytorchFormat::Zip => {
            let (mut archive, bytes) = zip::Zip::open(path)?;
            let pickle = pickle::read(&bytes, &limits).map_err(|e| e.to_string())?;
            let budget = Budget::of(archive.length());
            weights::load(&pickle, &mut archive, budget, key)
        }
        PytorchFormat::Legacy => {
            let bytes = whole()?;
            let mut file = legacy::Legacy::read(&bytes, &limits)?;
            weights::load(
                &file.pickle,
                &mut file.storages,
                Budget::of(bytes.len()),
                key,
            )
        }
        PytorchFormat::Tar => {
            let bytes = whole()?;
            let mut file = tar::Tar::read(&bytes, &limits)?;
            weights::load(
                &file.pickle,
                &mut file.storages,
                Budget::of(bytes.len()),
                key,
            )
        }
        PytorchFormat::Pickle => {
            let bytes = whole()?;
            let pickle = pickle::read(&bytes, &limits).map_err(|e| e.to_string())?;
            let mut none = Memory::default();
            weights::load(&pickle, &mut none, Budget::of(bytes.len()), key)
        }
    }
}
