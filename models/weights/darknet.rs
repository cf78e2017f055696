//! Weights of darknet: a `.weights` file with its `.cfg`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_mish::checkpoint::{Checkpoint, darknet};

use crate::darknet_cfg::DarknetCfg;
use crate::spec::ModelSpec;
#[cfg(feature = "data")]
use crate::weights::devkit;
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
#[cfg(feature = "data")]
use crate::weights::known_classes::Known;
use crate::weights::note::Note;

/// The limit of the length of a `.cfg` file. darknet's longest have 100 KB.
const LONGEST: u64 = 1 << 20;

impl Weights {
    /// Reads a `.weights` file of darknet with the `.cfg` file of its network.
    ///
    /// darknet gives pixels from 0 to 1 to its classifiers, without another normalisation, and crops
    /// the center of the image after resizing its shorter side. Weights with 1000 classes get the
    /// names of ImageNet-1k's in darknet's order, which differs from other programs' order.
    ///
    /// # Errors
    /// If a file cannot be read, or the `.cfg` describes no classifier or another network.
    pub fn read_darknet(path: &Path, cfg: &Path) -> Result<Self, LoadError> {
        let cfg = read_cfg(path, cfg)?;
        let spec = ModelSpec::of_cfg(&cfg);
        let tensors = darknet::read(path, &cfg.tensors())?;
        let mut metadata = spec.to_metadata();
        let mut set = |key: &str, value: String| metadata.insert(key.to_string(), value);
        set("image_size", cfg.image_size().to_string());
        set("crop_pct", "1".to_string());
        set("interpolation", "bilinear".to_string());
        set("mean", "[0,0,0]".to_string());
        set("std", "[1,1,1]".to_string());
        let mut weights = Self::of_checkpoint(path, Checkpoint::default());
        let mut note = |note: fn(&str) -> Note| weights.notes.push(note(&weights.origin));
        if cfg.has_strided_shortcuts() {
            note(Note::strided_shortcuts);
        }
        #[cfg(feature = "data")]
        if spec.num_classes == Known::IMAGENET {
            let names = devkit::names();
            set("classes", serde_json::Value::from(names).to_string());
            note(Note::devkit_classes);
        }
        weights.checkpoint = Checkpoint {
            tensors,
            metadata,
            notes: Vec::new(),
        };
        Ok(weights)
    }
}

/// Reads the `.cfg` file of the weights at `weights`.
fn read_cfg(weights: &Path, path: &Path) -> Result<DarknetCfg, LoadError> {
    let missing = |source| LoadError::NoCfg {
        path: weights.to_path_buf(),
        cfg: path.file_name().unwrap_or_default().to_os_string(),
        source,
    };
    let file = File::open(path).map_err(missing)?;
    let mut text = String::new();
    file.take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(missing)?;
    if text.len() as u64 > LONGEST {
        let long = std::io::Error::other(format!("it has more than {LONGEST} bytes"));
        return Err(missing(long));
    }
    text.parse().map_err(|source| LoadError::Cfg {
        path: path.to_path_buf(),
        source,
    })
}
