//! Parses the name of weights: a tag, an address on the Hub, or a file.

use std::path::PathBuf;

use candle_mish::activation::Activation;

use crate::entry::Entry;
use crate::error::ModelError;
use crate::pretrained::address::{HubFile, Location};
use crate::pretrained::row::Pretrained;
use crate::pretrained::rows;

impl Entry {
    /// The weights of this network on the Hub, timm's default first.
    pub fn pretrained(&self) -> impl Iterator<Item = &'static Pretrained> {
        let name = self.name;
        rows::ROWS.iter().filter(move |row| row.model == name)
    }

    /// The activation to assume for published weights that do not record theirs: the default
    /// weights' if the table has any, else ReLU, the activation of these networks' papers.
    pub fn published_activation(&self) -> Activation {
        let default = self.pretrained().next();
        default.map_or(Activation::Relu, |row| row.activation)
    }
}

/// All known weights.
pub fn pretrained() -> impl Iterator<Item = &'static Pretrained> {
    rows::ROWS.iter()
}

/// The result of [`named`].
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Their place.
    pub location: Location,
    /// Their row, if the table has them.
    pub row: Option<&'static Pretrained>,
}

/// The extensions of files with weights. The content decides the format.
const EXTENSIONS: [&str; 9] = [
    ".safetensors",
    ".safetensors.index.json",
    ".pth",
    ".pt",
    ".bin",
    ".th",
    ".tar",
    ".ckpt",
    ".weights",
];

/// Parses a name of weights: empty for the network's default, a tag, an address
/// `hf://owner/name[@revision][/file]`, or a file, recognised by its extension: `.safetensors`,
/// `.safetensors.index.json`, `.pth`, `.pt`, `.bin`, `.th`, `.tar`, `.ckpt` or `.weights`. Without an `entry`,
/// only an address or a file.
///
/// # Errors
/// [`ModelError::Option`] if it is none of these, with the tags that exist.
pub fn named(entry: Option<&'static Entry>, text: &str) -> Result<Named, ModelError> {
    if let Some(address) = text.strip_prefix("hf://") {
        let file = HubFile::parse(address).ok_or_else(|| {
            ModelError::Option(format!(
                "'{text}' is not an address on the Hub; expected hf://owner/name[@revision][/file]"
            ))
        })?;
        let same = |row: &&Pretrained| {
            row.repo == file.repo && file.file.as_deref().is_none_or(|name| name == row.file)
        };
        let mut rows = pretrained().filter(same);
        let row = match entry {
            Some(entry) => rows.find(|row| row.model == entry.name),
            None => rows.next(),
        };
        let file = HubFile {
            file: file.file.or(row.map(|row| row.file.to_string())),
            ..file
        };
        return Ok(Named {
            location: Location::Hub(file),
            row,
        });
    }
    let path = PathBuf::from(text);
    if EXTENSIONS.iter().any(|extension| text.ends_with(extension)) {
        return Ok(Named {
            location: Location::File(path),
            row: None,
        });
    }
    let Some(entry) = entry else {
        let message = "name the network, or give the address or file of the weights";
        return Err(ModelError::Option(message.to_string()));
    };
    let mut rows = entry.pretrained();
    let row = match text {
        "" => rows.next(),
        // timm's full names are `network.tag`.
        tag => rows.find(|row| tag == row.tag || tag == format!("{}.{}", row.model, row.tag)),
    };
    let row = row.ok_or_else(|| ModelError::Option(unknown(entry, text)))?;
    Ok(Named {
        location: row.location(),
        row: Some(row),
    })
}

fn unknown(entry: &Entry, text: &str) -> String {
    let tags: Vec<&str> = entry.pretrained().map(|row| row.tag).collect();
    match (tags.as_slice(), text) {
        ([], _) => format!(
            "no weights of {} are known on the Hub; give an address hf://owner/name or a file",
            entry.name
        ),
        (tags, text) => format!(
            "{} has no weights '{text}'; there are {}",
            entry.name,
            tags.join(", ")
        ),
    }
}
