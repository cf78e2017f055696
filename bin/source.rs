//! Where a command takes trained weights from: a file, or the Hugging Face Hub.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use candle_mish::activation::Activation;
use candle_mish::data::Interpolation;
use candle_mish::hub::{self, HubError, ModelRepository, RetryPolicy};
use candle_mish_models::pretrained::{HubFile, Location, Named, Pretrained, named};
use candle_mish_models::{self as models, ModelError};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::context::Context;
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
            (Some(path), _) => {
                let mut weights = Weights::read(path)?;
                weights.suppose(model);
                Ok(weights)
            }
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
    } else if let Some(description) = &described {
        read_description(&origin, description, model, &mut note);
    }
    weights.suppose(model);
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

/// What timm's description of a repository says, in the words of a checkpoint's header; `model` is
/// the network's name if the user gave it. What it asks for and cannot be had is told.
fn read_description(
    origin: &str,
    description: &Value,
    model: Option<&str>,
    note: &mut impl FnMut(&str, String),
) {
    let warn = |what: String| tracing::warn!("{origin}: {DESCRIPTION}: {what}");
    // Older ones have everything at the top.
    let get = |key: &str| {
        let nested = description.get("pretrained_cfg").and_then(|c| c.get(key));
        nested
            .or_else(|| description.get(key))
            .filter(|v| !v.is_null())
    };
    // What timm builds the network with goes before what it was first published with.
    let arguments = description.get("model_args");
    let argument = |key: &str| arguments.and_then(|a| a.get(key)).filter(|v| !v.is_null());
    let first = |key: &str| {
        argument(key)
            .or_else(|| description.get(key))
            .or_else(|| get(key))
    };
    let name = get("architecture").and_then(Value::as_str);
    if let Some(name) = name.filter(|name| models::find(name).is_ok()) {
        note("model", name.to_string());
    }
    if let Some(classes) = first("num_classes").and_then(Value::as_u64) {
        note("num_classes", classes.to_string());
    }
    let names = description
        .get("label_names")
        .or_else(|| get("label_names"));
    if let Some(names) = names
        .or_else(|| get("labels"))
        .filter(|names| names.is_array())
    {
        note("classes", names.to_string());
    }
    match argument("act_layer").map(|name| (name, name.as_str().map(str::parse::<Activation>))) {
        Some((_, Some(Ok(activation)))) => note("activation", activation.to_string()),
        Some((name, _)) => warn(format!(
            "act_layer {name} is not known here; see --activation"
        )),
        None => {
            let entry = model.or(name).and_then(|name| models::find(name).ok());
            if let Some(entry) = entry {
                note("activation", entry.published_activation().to_string());
            }
        }
    }
    const KNOWN: [&str; 3] = ["num_classes", "in_chans", "act_layer"];
    let others = arguments.and_then(Value::as_object).into_iter().flatten();
    for (key, value) in others.filter(|(key, _)| !KNOWN.contains(&key.as_str())) {
        warn(format!("model_args: {key} = {value} is passed over"));
    }
    let size = |axis: usize| get("input_size").and_then(|size| size.get(axis)?.as_u64());
    let channels = argument("in_chans").and_then(Value::as_u64).or(size(0));
    if let Some(channels) = channels {
        note("in_chans", channels.to_string());
    }
    if let Some(height) = size(1) {
        note("image_size", height.to_string());
        if let Some(width) = size(2).filter(|width| *width != height) {
            warn(format!(
                "images of {height} x {width} are taken as squares of {height}; see --img-size"
            ));
        }
    }
    if let Some(share) = get("crop_pct").and_then(Value::as_f64) {
        note("crop_pct", share.to_string());
    }
    if let Some(mode) = get("crop_mode").filter(|mode| *mode != "center") {
        warn(format!(
            "crop_mode {mode} is not known here: the middle is cropped"
        ));
    }
    if let Some(filter) = get("interpolation") {
        match filter.as_str().map(str::parse::<Interpolation>) {
            Some(Ok(filter)) => note("interpolation", filter.to_string()),
            _ => {
                let default = Interpolation::default();
                warn(format!(
                    "interpolation {filter} is not known here: taken for {default}; see \
                     --interpolation"
                ));
                note("interpolation", default.to_string());
            }
        }
    }
    for key in ["mean", "std"] {
        match get(key).and_then(Value::as_array).map(Vec::as_slice) {
            Some([red, green, blue]) => note(key, format!("[{red},{green},{blue}]")),
            // Of grey images.
            Some([grey]) => note(key, format!("[{grey},{grey},{grey}]")),
            _ => {}
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
    let open = |revision: Option<&str>| {
        ModelRepository::new(file.owner_and_name(), revision, RetryPolicy::default())
    };
    let repository = open(file.revision.as_deref())?;
    let get = |repository: &ModelRepository, name: &str| {
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
        Some(name) => (name.clone(), get(&repository, name)?),
        None => usual(&repository, &get)?,
    };
    let commit = hub::commit(&path, &name);
    let description = if describe {
        // Of the same commit, should the branch go on.
        description(&get, &open(commit.as_deref().or(file.revision.as_deref()))?)?
    } else {
        None
    };
    let exact = HubFile {
        revision: commit.or_else(|| file.revision.clone()),
        file: Some(name),
        ..file.clone()
    };
    Ok((path, exact.to_string(), description))
}

/// How a file of a repository is got.
type Get<'a> = dyn Fn(&ModelRepository, &str) -> Result<PathBuf, HubError> + 'a;

/// What a repository says about itself; nothing if it has no such file, or none in the cache
/// without a network. Anything else is an error: without their description the weights would be
/// taken for what they are not.
fn description(get: &Get, repository: &ModelRepository) -> anyhow::Result<Option<Value>> {
    let path = match get(repository, DESCRIPTION) {
        Ok(path) => path,
        Err(HubError::NoFile { .. } | HubError::Offline { .. }) => return Ok(None),
        Err(error) => {
            let what = format!("{DESCRIPTION} (HF_HUB_OFFLINE=1 does without)");
            return Err(anyhow::Error::from(error).context(what));
        }
    };
    let read = || -> anyhow::Result<Value> {
        let value: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        match value.is_object() {
            true => Ok(value),
            false => bail!("it is no table"),
        }
    };
    read()
        .map(Some)
        .with_context(|| format!("{} is damaged", path.display()))
}

/// The first file with a usual name that the repository has; if it cannot be asked, that the cache
/// has.
fn usual(repository: &ModelRepository, get: &Get) -> anyhow::Result<(String, PathBuf)> {
    let mut first = None;
    for name in HubFile::USUAL {
        match get(repository, name) {
            Ok(path) => return Ok((name.to_string(), path)),
            Err(error @ (HubError::NoFile { .. } | HubError::Offline { .. })) => {
                first.get_or_insert(error);
            }
            Err(error) => {
                let cached = |name: &str| Some((name.to_string(), repository.cached_file(name)?));
                let found = HubFile::USUAL.iter().find_map(|name| cached(name));
                return found.ok_or_else(|| error.into());
            }
        }
    }
    match first {
        Some(error) => Err(error.into()),
        None => bail!("no names of files to look for"),
    }
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
