//! Why a network cannot be rebuilt from a file.

use std::ffi::OsString;
use std::path::PathBuf;

use candle_mish::checkpoint::CheckpointError;
#[cfg(feature = "hub")]
use candle_mish::hub::HubError;

use crate::darknet_cfg::DarknetCfgError;
use crate::error::ModelError;
use crate::spec::{MetadataError, ModelSpec};
use crate::transfer::Transfer;

/// Why a network cannot be rebuilt from a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The registry cannot build the network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The Hub does not provide a file.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The description of the weights cannot be downloaded. Without it, the network or its
    /// preprocessing could be wrong.
    #[cfg(feature = "hub")]
    #[error("cannot read {file} of {origin} (HF_HUB_OFFLINE=1 skips it)")]
    NoDescription {
        /// The weights.
        origin: String,
        /// The description.
        file: &'static str,
        /// What the Hub reports.
        source: HubError,
    },
    /// The description is not a JSON object, or cannot be read.
    #[error("{} is damaged: {reason}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The `.cfg` file of darknet weights does not describe a classifier.
    #[error("{}", path.display())]
    Cfg {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DarknetCfgError,
    },
    /// darknet weights without their `.cfg` file.
    #[error("{} is a darknet file, which needs its .cfg: cannot read {}", path.display(), cfg.display())]
    NoCfg {
        /// The weights.
        path: PathBuf,
        /// The name of the `.cfg` file.
        cfg: OsString,
        /// The system's error.
        source: std::io::Error,
    },
    /// An entry of the header is not valid.
    #[error("{}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The entry.
        source: MetadataError,
    },
    /// The file records another network than the caller names.
    #[error("{} holds {own}, not {given}", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The recorded network.
        own: String,
        /// The caller's network.
        given: String,
    },
    /// Neither the file nor the caller names the network.
    #[error("{} does not record its network: name the model", path.display())]
    Unnamed {
        /// The file.
        path: PathBuf,
    },
    /// The file has no tensor of the network's classifier.
    #[error("{} holds no {classifier}, the classifier of {model}", path.display())]
    NoClassifier {
        /// The file.
        path: PathBuf,
        /// The path of the classifier.
        classifier: String,
        /// The network.
        model: String,
    },
    /// The tensors belong to another form of the network.
    #[error("{origin} does not fit {spec}: according to its tensors, {}", differences.join(" and "))]
    OtherForm {
        /// Where the weights come from.
        origin: String,
        /// The network.
        spec: Box<ModelSpec>,
        /// The values that differ, as phrases with the names of arguments.
        differences: Vec<String>,
        /// What happened to each tensor.
        transfer: Box<Transfer>,
    },
    /// The weights belong to a network of another program that differs from the registry's.
    #[error("{origin} has the keys of {style}, which cannot be loaded as {model}: {reason}")]
    Refused {
        /// Where the weights come from.
        origin: String,
        /// The network.
        model: &'static str,
        /// The program, or its repository on GitHub.
        style: &'static str,
        /// How its network differs.
        reason: &'static str,
    },
    /// Tensors are missing, unexpected or of another shape.
    #[error("{origin} does not fit {spec}: {transfer}")]
    Mismatch {
        /// Where the weights come from.
        origin: String,
        /// The network.
        spec: Box<ModelSpec>,
        /// What happened to each tensor.
        transfer: Box<Transfer>,
    },
    /// A tensor cannot be converted or moved to the device.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
