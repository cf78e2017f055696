//! Weights from the Hugging Face Hub.

use std::path::PathBuf;

use candle_core::Device;
use candle_mish::activation::Activation;
use candle_mish::checkpoint::ReadOptions;
use candle_mish::hub::{self, HubError, ModelRepository, RetryPolicy};
use serde_json::Value;

#[cfg(feature = "embedded")]
use crate::embedded;
use crate::pretrained::{HubFile, Location, Named, named};
use crate::registry::find;
use crate::spec::ModelArgs;
use crate::weights::described;
use crate::weights::description;
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
use crate::weights::load::Loaded;

/// Which weights of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tag {
    /// timm's default weights of the network.
    #[default]
    Default,
    /// The weights with this tag, such as `a1_in1k` or `resnet50.a1_in1k`.
    Named(String),
    /// A file on the Hub.
    Hub(HubFile),
}

/// How to fetch weights.
pub struct FetchOptions<'a> {
    /// Uses only the cache.
    pub offline: bool,
    /// Of several embedded weights of a network, takes those with this activation. Others are not
    /// concerned.
    pub activation: Option<Activation>,
    /// As [`ReadOptions::state_dict_key`].
    pub state_dict_key: Option<String>,
    /// Called during a download with the file, the bytes received, and the bytes expected, or 0 if
    /// they are unknown.
    pub progress: &'a mut dyn FnMut(&str, u64, u64),
}

/// Builds the network called `name` on `device`, in f32, with trained weights from the Hub or its
/// cache: timm's `create_model(name, pretrained=True)`. With HF_HUB_OFFLINE=1 only the cache is
/// used.
///
/// ```no_run
/// use candle_core::Device;
/// use candle_mish_models::{Tag, create_pretrained};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = create_pretrained("resnet50", Tag::Default, &Device::Cpu)?;
/// let other = create_pretrained("resnet50", Tag::Named("a1_in1k".into()), &Device::Cpu)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If there are no such weights, the Hub does not provide them, or they do not fit.
pub fn create_pretrained(name: &str, tag: Tag, device: &Device) -> Result<Loaded, LoadError> {
    let options = FetchOptions {
        offline: false,
        activation: None,
        state_dict_key: None,
        progress: &mut |_, _, _| {},
    };
    create_pretrained_with(&ModelArgs::named(name), tag, options, device)
}

/// As [`create_pretrained`], with arguments that override what the weights record, and with
/// options for the download. `args` must name the network unless `tag` is [`Tag::Hub`].
///
/// # Errors
/// As [`create_pretrained`], or if the name is missing.
pub fn create_pretrained_with(
    args: &ModelArgs,
    tag: Tag,
    options: FetchOptions,
    device: &Device,
) -> Result<Loaded, LoadError> {
    let text = match tag {
        Tag::Default => String::new(),
        Tag::Named(tag) => tag,
        Tag::Hub(file) => file.to_string(),
    };
    fetch(args.model.as_deref(), &text, options)?.build(args, device)
}

/// Reads the weights that `text` names for `model`, in the syntax of [`named`], from a file, the
/// Hub or its cache. With the feature `embedded`, `embedded` names the weights inside of the library.
/// The header is completed from the table of weights or from the repository's
/// description.
///
/// # Errors
/// If there are no such weights or the Hub does not provide them.
pub fn fetch(
    model: Option<&str>,
    text: &str,
    mut options: FetchOptions,
) -> Result<Weights, LoadError> {
    let entry = model.map(find).transpose()?;
    #[cfg(feature = "embedded")]
    if text == embedded::NAME {
        return Weights::read_embedded(embedded::find(model, options.activation)?);
    }
    let Named { location, row } = named(entry, text)?;
    let read = ReadOptions {
        state_dict_key: options.state_dict_key.take(),
    };
    let mut weights = match location {
        Location::File(path) => Weights::read_with(&path, &read)?,
        Location::Hub(file) => {
            let download = Download::new(&file, row.is_none(), &mut options)?;
            let mut weights = Weights::read_alone(&download.path, &read)?;
            weights.origin = download.origin;
            if let Some(description) = &download.description {
                weights.describe(description, model);
            }
            weights
        }
    };
    if let Some(row) = row {
        weights.describe_row(row);
    }
    weights.assume_model(model);
    Ok(weights)
}

/// A file of the Hub in the cache.
struct Download {
    path: PathBuf,
    /// Its address with the commit.
    origin: String,
    /// The repository's description, if it was asked for and there is one.
    description: Option<Value>,
}

impl Download {
    fn new(file: &HubFile, describe: bool, options: &mut FetchOptions) -> Result<Self, LoadError> {
        let open = |revision: Option<&str>| {
            ModelRepository::new(file.owner_and_name(), revision, RetryPolicy::default())
        };
        let repository = open(file.revision.as_deref())?;
        let (name, path) = match &file.file {
            Some(name) => (name.clone(), get(&repository, name, options)?),
            None => usual(&repository, options)?,
        };
        let commit = hub::commit(&path, &name);
        let origin = HubFile {
            revision: commit.clone().or_else(|| file.revision.clone()),
            file: Some(name),
            ..file.clone()
        };
        let origin = origin.to_string();
        let description = if describe {
            // Of the same commit, even if the branch moves.
            let repository = open(commit.as_deref().or(file.revision.as_deref()))?;
            describe_repository(&repository, &origin, options)?
        } else {
            None
        };
        Ok(Self {
            path,
            origin,
            description,
        })
    }
}

/// The path of a file of a repository.
fn get(
    repository: &ModelRepository,
    name: &str,
    options: &mut FetchOptions,
) -> Result<PathBuf, HubError> {
    if options.offline {
        let what = format!("{name} of {}", repository.location());
        return repository
            .cached_file(name)
            .ok_or(HubError::Offline { what });
    }
    repository.file(name, &mut |received, expected| {
        (options.progress)(name, received, expected);
    })
}

/// A repository's description; `None` if it has none, or none in the cache without a network.
fn describe_repository(
    repository: &ModelRepository,
    origin: &str,
    options: &mut FetchOptions,
) -> Result<Option<Value>, LoadError> {
    match get(repository, described::FILE, options) {
        Ok(path) => description::read_file(&path).map(Some),
        Err(HubError::NoFile { .. } | HubError::Offline { .. }) => Ok(None),
        Err(source) => Err(LoadError::NoDescription {
            origin: origin.to_string(),
            file: described::FILE,
            source,
        }),
    }
}

/// The first file with a usual name that the repository has, or that the cache has if the Hub
/// cannot be reached.
fn usual(
    repository: &ModelRepository,
    options: &mut FetchOptions,
) -> Result<(String, PathBuf), HubError> {
    let mut first = None;
    for name in HubFile::USUAL {
        match get(repository, name, options) {
            Ok(path) => return Ok((name.to_string(), path)),
            Err(error @ (HubError::NoFile { .. } | HubError::Offline { .. })) => {
                first.get_or_insert(error);
            }
            Err(error) => {
                let cached = |name: &str| Some((name.to_string(), repository.cached_file(name)?));
                let found = HubFile::USUAL.iter().find_map(|name| cached(name));
                return found.ok_or(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| HubError::Offline {
        what: repository.location(),
    }))
}
