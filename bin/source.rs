//! Where a command takes trained weights from: a file, or the Hugging Face Hub.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_mish::activation::Activation;
use candle_mish::hub::{HubError, ModelRepository, Patience};
use candle_mish_models::pretrained::{HubFile, Location, Named, Pretrained, named};
use candle_mish_models::{self as models, ModelError};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::Context;
use crate::failure::usage;
use crate::network::Weights;

/// The file beside the weights that says what they are of.
const DESCRIPTION: &str = "config.json";

/// Which weights; one of the two.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct WeightsArgs {
    /// A checkpoint: safetensors, or a file of PyTorch's (.pth, .bin)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Weights from the Hugging Face Hub: the network's default ones, those with this tag (`mish
    /// models NAME` lists them), or hf://owner/name[@revision][/file]; or a file of such weights
    #[arg(long, value_name = "TAG", num_args = 0..=1, default_missing_value = "")]
    pretrained: Option<String>,
}

impl WeightsArgs {
    /// Reads the weights; `model` is the network's name if the user gave it. With `offline` only
    /// what the Hub's cache has.
    pub fn read(
        &self,
        model: Option<&str>,
        offline: bool,
        context: &Context,
    ) -> anyhow::Result<Weights> {
        match (&self.weights, &self.pretrained) {
            (Some(path), _) => Weights::read(path),
            (None, Some(text)) => Ok(fetch(model, text, offline, context)?.weights),
            // clap asks for one of them.
            (None, None) => Err(usage("give --weights or --pretrained")),
        }
    }
}

/// Weights with their place.
pub struct Fetched {
    /// The weights; their header says what the table or the repository knows of them.
    pub weights: Weights,
    /// Where they are, with the commit if they are on the Hub.
    pub origin: String,
}

/// Finds, downloads and reads the weights that `text` names for `model`.
pub fn fetch(
    model: Option<&str>,
    text: &str,
    offline: bool,
    context: &Context,
) -> anyhow::Result<Fetched> {
    let entry = model.map(models::find).transpose().map_err(usage)?;
    let Named { location, row } = named(entry, text).map_err(|error: ModelError| match model {
        // `--pretrained cat.png` takes the image for the name of the weights.
        Some(_) if Path::new(text).is_file() => {
            usage(format!("{error}; files come before --pretrained"))
        }
        _ => usage(error),
    })?;
    let (path, origin, described) = match location {
        Location::File(path) => {
            let origin = path.display().to_string();
            (path, origin, None)
        }
        Location::Hub(file) => download(&file, row.is_none(), offline, context)?,
    };
    let mut weights = Weights::read(&path)?;
    let metadata = &mut weights.checkpoint.metadata;
    let mut note = |key: &str, value: String| {
        metadata.entry(key.to_string()).or_insert(value);
    };
    if let Some(row) = row {
        describe(row, &mut note);
    } else {
        if let Some(description) = &described {
            read_description(description, &mut note);
        }
        // Without a word about it, they are like the others of this network.
        let name = model.map(str::to_string).or_else(|| {
            let name = described.as_ref()?.get("architecture")?.as_str()?;
            Some(name.to_string())
        });
        if let Some(entry) = name.and_then(|name| models::find(&name).ok()) {
            let like = entry.pretrained().next();
            let activation = like.map_or(Activation::Relu, |row| row.activation);
            note("activation", activation.to_string());
        }
    }
    tracing::info!("weights from {origin}");
    Ok(Fetched { weights, origin })
}

/// What the table knows, in the words of a checkpoint's header.
fn describe(row: &Pretrained, note: &mut impl FnMut(&str, String)) {
    note("model", row.model.to_string());
    note("activation", row.activation.to_string());
    note("num_classes", row.num_classes.to_string());
    note("stem", row.stem.to_string());
    note("image_size", row.input_size.to_string());
    note("crop_pct", row.crop_pct.to_string());
    note("interpolation", row.interpolation.to_string());
    note("mean", format!("{:?}", row.mean));
    note("std", format!("{:?}", row.std));
}

/// What timm's description of a repository says, in the words of a checkpoint's header.
fn read_description(description: &Value, note: &mut impl FnMut(&str, String)) {
    // Older ones have everything at the top.
    let get = |key: &str| {
        let nested = description.get("pretrained_cfg").and_then(|c| c.get(key));
        nested.or_else(|| description.get(key))
    };
    let name = get("architecture").and_then(Value::as_str);
    if let Some(name) = name.filter(|name| models::find(name).is_ok()) {
        note("model", name.to_string());
    }
    if let Some(classes) = get("num_classes").and_then(Value::as_u64) {
        note("num_classes", classes.to_string());
    }
    let size = get("input_size").and_then(|size| size.get(1)?.as_u64());
    if let Some(size) = size {
        note("image_size", size.to_string());
    }
    if let Some(share) = get("crop_pct").and_then(Value::as_f64) {
        note("crop_pct", share.to_string());
    }
    let filter = get("interpolation").and_then(Value::as_str);
    if let Some(filter) = filter.filter(|name| ["bilinear", "bicubic"].contains(name)) {
        note("interpolation", filter.to_string());
    }
    for key in ["mean", "std"] {
        if let Some(values) = get(key).filter(|v| v.as_array().is_some_and(|v| v.len() == 3)) {
            note(key, values.to_string());
        }
    }
}

/// The path of a file of the Hub, its address with the commit, and the repository's description if
/// it is wanted and there is one.
fn download(
    file: &HubFile,
    describe: bool,
    offline: bool,
    context: &Context,
) -> anyhow::Result<(PathBuf, String, Option<Value>)> {
    let revision = file.revision.as_deref();
    let repository = ModelRepository::new(file.owner_and_name(), revision, Patience::default())?;
    let get = |name: &str| {
        if offline {
            let what = format!("{name} of {}", repository.location());
            return repository
                .cached_file(name)
                .ok_or(HubError::Offline { what });
        }
        let bar = bar(name, context);
        let path = repository.file(name, &mut |received, expected| {
            bar.set_length(expected);
            bar.set_position(received);
        });
        bar.finish_and_clear();
        path
    };
    let (name, path) = match &file.file {
        Some(name) => (name.clone(), get(name)?),
        None => usual(&get)?,
    };
    let description = match describe {
        true => get(DESCRIPTION)
            .ok()
            .and_then(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok()),
        false => None,
    };
    let exact = HubFile {
        revision: commit(&path, &name).or_else(|| file.revision.clone()),
        file: Some(name),
        ..file.clone()
    };
    Ok((path, exact.to_string(), description))
}

/// The first file with a usual name that the repository has.
fn usual(get: &dyn Fn(&str) -> Result<PathBuf, HubError>) -> anyhow::Result<(String, PathBuf)> {
    let mut first = None;
    for name in HubFile::USUAL {
        match get(name) {
            Ok(path) => return Ok((name.to_string(), path)),
            Err(error @ (HubError::NoFile { .. } | HubError::Offline { .. })) => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match first {
        Some(error) => Err(error.into()),
        None => bail!("no names of files to look for"),
    }
}

/// The commit that a file in the cache is of: the folder that its name begins below.
fn commit(path: &Path, name: &str) -> Option<String> {
    let above = path.ancestors().nth(name.split('/').count())?;
    above.file_name()?.to_str().map(str::to_string)
}

/// The bar of a download, on a terminal.
fn bar(name: &str, context: &Context) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = context.bars.add(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(name.to_string())
}
