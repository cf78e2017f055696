//! Weights inside of the program.

use std::path::PathBuf;

use candle_core::Device;
use candle_mish::activation::Activation;
use candle_mish::checkpoint;

use crate::embedded::{self, Embedded};
use crate::spec::ModelArgs;
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
use crate::weights::load::Loaded;

/// Builds the network called `name` on `device`, in f32, with its embedded weights: those with
/// `activation` if there are any, or else the network's default ones.
///
/// # Errors
/// If the network has no embedded weights.
pub fn from_embedded(
    name: &str,
    activation: Option<Activation>,
    device: &Device,
) -> Result<Loaded, LoadError> {
    let row = embedded::find(Some(name), activation)?;
    Weights::read_embedded(row)?.build(&ModelArgs::named(name), device)
}

impl Weights {
    /// Reads embedded weights.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint.
    pub fn read_embedded(row: &Embedded) -> Result<Self, LoadError> {
        let name = format!("{}-{}.safetensors", row.model, row.activation.name());
        // No folder has this name: nothing is read from it.
        let path = PathBuf::from("<embedded>").join(name);
        let checkpoint = checkpoint::read_bytes(&path, row.bytes)?;
        Ok(Self::of_checkpoint(&path, checkpoint))
    }
}
