//! Trained weights on the Hugging Face Hub: which there are, and how a user names them.

mod rows;

use std::fmt;
use std::path::PathBuf;

use candle_mish::activation::Activation;
#[cfg(feature = "data")]
use candle_mish::data::Preprocess;

use crate::entry::Entry;
use crate::error::ModelError;
use crate::spec::Stem;

/// Weights of one network on the Hub, with timm's names of what they need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pretrained {
    /// The network's name in the registry.
    pub model: &'static str,
    /// Which of its weights these are: in timm's way, by how and on what they were trained.
    pub tag: &'static str,
    /// The repository, `owner/name`.
    pub repo: &'static str,
    /// The file in it.
    pub file: &'static str,
    /// The form that they are of.
    pub stem: Stem,
    /// The activation that they were trained with.
    pub activation: Activation,
    /// The width of their logits.
    pub num_classes: usize,
    /// Height and width of the images, in pixels.
    pub input_size: usize,
    /// The share of a picture's shorter side that is kept.
    pub crop_pct: f64,
    /// The filter that pictures are scaled with: `bilinear` or `bicubic`.
    pub interpolation: &'static str,
    /// Subtracted from each channel of pixels in [0, 1].
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
    /// The licence, as SPDX names it.
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

    /// Where they are.
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

    /// The activation of weights that others publish and say nothing of: that of the default
    /// weights here, and ReLU where there are none, as in the papers of all these networks.
    pub fn published_activation(&self) -> Activation {
        let default = self.pretrained().next();
        default.map_or(Activation::Relu, |row| row.activation)
    }
}

/// All weights of the table.
pub fn pretrained() -> impl Iterator<Item = &'static Pretrained> {
    rows::ROWS.iter()
}

/// A file on the Hub: `hf://owner/name[@revision][/file]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: String,
    /// A branch, tag or commit; the branch `main` if none.
    pub revision: Option<String>,
    /// The file; [`HubFile::USUAL`] if none.
    pub file: Option<String>,
}

impl HubFile {
    /// What files of weights are called, the best first.
    pub const USUAL: [&'static str; 2] = ["model.safetensors", "pytorch_model.bin"];

    /// Owner and name of the repository.
    pub fn owner_and_name(&self) -> (&str, &str) {
        self.repo.split_once('/').unwrap_or(("", &self.repo))
    }

    /// Takes `owner/name[@revision][/file]` apart. A revision with a slash is written `%2F`.
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
        // What the Hub allows; it keeps such a name from leading out of the cache's folder.
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

/// Where weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On the Hub.
    Hub(HubFile),
    /// On this machine.
    File(PathBuf),
}

/// The weights that a user names: their place and, if the table has them, its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Their place.
    pub location: Location,
    /// What the table knows of them.
    pub row: Option<&'static Pretrained>,
}

/// Understands the name of weights: empty for the network's default, a tag of its, an address
/// `hf://owner/name[@revision][/file]`, or a file. Without a network only the last two.
///
/// # Errors
/// [`ModelError::Option`] if it is none of these, with those that there are. A file is known by
/// its ending: `.safetensors`, `.pth`, `.pt` or `.bin`.
pub fn named(entry: Option<&'static Entry>, text: &str) -> Result<Named, ModelError> {
    if let Some(address) = text.strip_prefix("hf://") {
        let file = HubFile::parse(address).ok_or_else(|| {
            ModelError::Option(format!(
                "'{text}' is no address on the Hub; expected hf://owner/name[@revision][/file]"
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
        let message = "name the network whose weights to take, or give their address or file";
        return Err(ModelError::Option(message.to_string()));
    };
    let mut rows = entry.pretrained();
    let row = match text {
        "" => rows.next(),
        // timm's full name has the network's in front.
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
