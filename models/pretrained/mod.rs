//! Trained weights on the Hugging Face Hub: the table of known ones, and how to name them.

mod rows;

use std::fmt;
use std::path::PathBuf;

use candle_mish::activation::Activation;
#[cfg(feature = "data")]
use candle_mish::data::Preprocess;

use crate::entry::Entry;
use crate::error::ModelError;
use crate::spec::Stem;

/// Weights of one network on the Hub. Names are timm's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pretrained {
    /// The network's name in the registry.
    pub model: &'static str,
    /// timm's tag, which names the training and its data.
    pub tag: &'static str,
    /// The repository, `owner/name`.
    pub repo: &'static str,
    /// The file in it.
    pub file: &'static str,
    /// The network's stem.
    pub stem: Stem,
    /// The activation in training.
    pub activation: Activation,
    /// The number of classes.
    pub num_classes: usize,
    /// Height and width of the images, in pixels.
    pub input_size: usize,
    /// The share of the image's shorter side that the center crop keeps.
    pub crop_pct: f64,
    /// The resize filter: `bilinear` or `bicubic`.
    pub interpolation: &'static str,
    /// The mean of each channel of pixels in [0, 1].
    pub mean: [f32; 3],
    /// The standard deviation of each channel.
    pub std: [f32; 3],
    /// The SPDX name of the licence.
    pub license: &'static str,
}

impl Pretrained {
    /// How to prepare images.
    #[cfg(feature = "data")]
    pub fn preprocess(&self) -> Preprocess {
        Preprocess {
            input_size: self.input_size,
            crop_pct: self.crop_pct,
            // Every row has one that is known.
            interpolation: self.interpolation.parse().unwrap_or_default(),
            mean: self.mean,
            std: self.std,
        }
    }

    /// Their file on the Hub.
    pub fn location(&self) -> Location {
        Location::Hub(HubFile {
            repo: self.repo.to_string(),
            revision: None,
            file: Some(self.file.to_string()),
        })
    }
}

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

/// A file on the Hub: `hf://owner/name[@revision][/file]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: String,
    /// A branch, tag or commit. `None` is the branch `main`.
    pub revision: Option<String>,
    /// The file. `None` is the first of [`HubFile::USUAL`] that exists.
    pub file: Option<String>,
}

impl HubFile {
    /// The usual names of weights, the preferred one first.
    pub const USUAL: [&'static str; 2] = ["model.safetensors", "pytorch_model.bin"];

    /// Owner and name of the repository.
    pub fn owner_and_name(&self) -> (&str, &str) {
        self.repo.split_once('/').unwrap_or(("", &self.repo))
    }

    /// Parses `owner/name[@revision][/file]`. A slash in a revision is written `%2F`.
    fn parse(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let (place, file) = match rest.split_once('/') {
            Some((place, file)) => (place, Some(file)),
            None => (rest, None),
        };
        let (name, revision) = match place.split_once('@') {
            Some((name, revision)) => (name, Some(revision.replace("%2F", "/"))),
            None => (place, None),
        };
        // The characters that the Hub allows. A path cannot leave the cache's folder.
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part.chars().all(known) && !part.starts_with('.')
        };
        let inside = |path: &str| {
            let mut parts = path.split('/');
            parts.all(|part| !part.is_empty() && part != "." && part != "..")
        };
        let good = plain(owner)
            && plain(name)
            && file.is_none_or(inside)
            && revision.as_deref().is_none_or(inside);
        good.then(|| Self {
            repo: format!("{owner}/{name}"),
            revision,
            file: file.map(str::to_string),
        })
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{}", revision.replace('/', "%2F"))?;
        }
        match &self.file {
            Some(file) => write!(f, "/{file}"),
            None => Ok(()),
        }
    }
}

/// The place of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On the Hub.
    Hub(HubFile),
    /// On this machine.
    File(PathBuf),
}

/// Weights that a caller names.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Their place.
    pub location: Location,
    /// Their row, if the table has them.
    pub row: Option<&'static Pretrained>,
}

/// Parses a name of weights: empty for the network's default, a tag, an address
/// `hf://owner/name[@revision][/file]`, or a file, recognised by its extension `.safetensors`,
/// `.pth`, `.pt` or `.bin`. Without a network only the last two.
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
    let weights = ["safetensors", "pth", "pt", "bin"];
    let extension = path.extension().and_then(|e| e.to_str());
    if extension.is_some_and(|e| weights.contains(&e)) {
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
