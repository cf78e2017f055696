//! Descriptions of weights, converted to entries of a checkpoint's header: `config.json` of timm or
//! transformers, and rows of the table of weights.

#[cfg(feature = "hub")]
use std::collections::BTreeMap;
use std::path::Path;

use candle_mish::activation::Activation;
use serde_json::Value;

#[cfg(feature = "hub")]
use crate::pretrained::Pretrained;
use crate::registry::find;
#[cfg(feature = "hub")]
use crate::spec::Stem;
use crate::weights::described::{Described, FILE};
use crate::weights::error::LoadError;
use crate::weights::known_classes::Known;
use crate::weights::note::Note;
use crate::weights::transformers;

/// The supported interpolations.
const INTERPOLATIONS: [&str; 2] = ["bilinear", "bicubic"];
/// The one that replaces any other, as in timm.
const DEFAULT_INTERPOLATION: &str = "bicubic";

/// Converts a row of the table of weights.
#[cfg(feature = "hub")]
pub(super) fn of_row(row: &Pretrained) -> BTreeMap<String, String> {
    let mut described = Described::default();
    described.set("model", row.model);
    described.set("activation", row.activation);
    described.set("num_classes", row.num_classes);
    described.set("stem", row.stem);
    described.set("image_size", row.input_size);
    described.set("crop_pct", row.crop_pct);
    described.set("interpolation", row.interpolation);
    described.set("mean", format!("{:?}", row.mean));
    described.set("std", format!("{:?}", row.std));
    described.entries
}

/// The data set whose classes the weights of a row have.
#[cfg(feature = "hub")]
pub(super) fn classes_of_row(row: &Pretrained) -> Option<Known> {
    match (row.stem, row.num_classes) {
        (Stem::ImageNet, Known::IMAGENET) => Some(Known::ImageNet),
        (Stem::Cifar, 10) => Some(Known::Cifar10),
        (Stem::Cifar, 100) => Some(Known::Cifar100),
        _ => None,
    }
}

/// The JSON object in a description.
///
/// # Errors
/// If the file cannot be read or holds no JSON object.
pub(super) fn read_file(path: &Path) -> Result<Value, LoadError> {
    let damaged = |reason: String| LoadError::Description {
        path: path.to_path_buf(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| damaged(error.to_string()))?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if !value.is_object() {
        return Err(damaged("it is not a JSON object".to_string()));
    }
    Ok(value)
}

/// The JSON object in timm's description, or in transformers' of a ResNet; `None` for a
/// `config.json` of another program.
///
/// # Errors
/// As [`read_file`].
pub(super) fn read_known(path: &Path) -> Result<Option<Value>, LoadError> {
    let value = read_file(path)?;
    let is_timm = value.get("architecture").is_some() || value.get("pretrained_cfg").is_some();
    let known = is_timm || transformers::is_resnet(&value);
    Ok(known.then_some(value))
}

/// Converts the description of the weights at `origin`, timm's unless it is transformers'. `model`
/// is the name from the caller.
pub(super) fn read(origin: &str, description: &Value, model: Option<&str>) -> Described {
    if transformers::is_resnet(description) {
        return transformers::read(origin, description);
    }
    let mut described = Described::default();
    let mut notes = Vec::new();
    let mut warn = |what: String, arguments| {
        notes.push(Note::new(format!("{origin}: {FILE}: {what}"), arguments));
    };
    // Older descriptions have everything at the top level.
    let get = |key: &str| {
        let nested = description.get("pretrained_cfg").and_then(|c| c.get(key));
        nested
            .or_else(|| description.get(key))
            .filter(|v| !v.is_null())
    };
    // What timm builds the network with overrides what it was first published with.
    let arguments = description.get("model_args");
    let argument = |key: &str| arguments.and_then(|a| a.get(key)).filter(|v| !v.is_null());
    let first = |key: &str| {
        argument(key)
            .or_else(|| description.get(key))
            .or_else(|| get(key))
    };
    let name = get("architecture").and_then(Value::as_str);
    if let Some(name) = name.filter(|name| find(name).is_ok()) {
        described.set("model", name);
    }
    let classes = first("num_classes").and_then(Value::as_u64);
    if let Some(classes) = classes {
        described.set("num_classes", classes);
    }
    // timm's tags name the data set last.
    let tag = get("tag").and_then(Value::as_str).unwrap_or_default();
    let imagenet = classes == Some(Known::IMAGENET as u64) && tag.ends_with("in1k");
    described.known_classes = imagenet.then_some(Known::ImageNet);
    let names = description
        .get("label_names")
        .or_else(|| get("label_names"));
    if let Some(names) = names
        .or_else(|| get("labels"))
        .filter(|names| names.is_array())
    {
        described.set("classes", names);
    }
    let entry = model.or(name).and_then(|name| find(name).ok());
    match argument("act_layer").map(|name| (name, name.as_str().map(str::parse::<Activation>))) {
        Some((_, Some(Ok(activation)))) => {
            described.set("activation", activation);
            let others = entry.map_or("", |entry| entry.without_act_layer);
            if !others.is_empty() {
                described.set("layer_activations", others);
            }
        }
        Some((name, _)) => warn(
            format!("act_layer {name} is not supported"),
            &["activation"],
        ),
        None => {
            if let Some(entry) = entry {
                described.set("activation", entry.published_activation());
            }
        }
    }
    const KNOWN: [&str; 3] = ["num_classes", "in_chans", "act_layer"];
    let others = arguments.and_then(Value::as_object).into_iter().flatten();
    for (key, value) in others.filter(|(key, _)| !KNOWN.contains(&key.as_str())) {
        warn(format!("model_args: {key} = {value} is ignored"), &[]);
    }
    let size = |axis: usize| get("input_size").and_then(|size| size.get(axis)?.as_u64());
    let channels = argument("in_chans").and_then(Value::as_u64).or(size(0));
    if let Some(channels) = channels {
        described.set("in_chans", channels);
    }
    if let Some(height) = size(1) {
        described.set("image_size", height);
        if let Some(width) = size(2).filter(|width| *width != height) {
            let what = format!("images of {height}x{width} are treated as {height}x{height}");
            warn(what, &["img_size"]);
        }
    }
    if let Some(share) = get("crop_pct").and_then(Value::as_f64) {
        described.set("crop_pct", share);
    }
    if let Some(mode) = get("crop_mode").filter(|mode| *mode != "center") {
        let what = format!("crop_mode {mode} is not supported: cropping the center");
        warn(what, &[]);
    }
    if let Some(filter) = get("interpolation") {
        let known = filter.as_str().filter(|name| INTERPOLATIONS.contains(name));
        if known.is_none() {
            let what =
                format!("interpolation {filter} is not supported: using {DEFAULT_INTERPOLATION}");
            warn(what, &["interpolation"]);
        }
        described.set("interpolation", known.unwrap_or(DEFAULT_INTERPOLATION));
    }
    for key in ["mean", "std"] {
        match get(key).and_then(Value::as_array).map(Vec::as_slice) {
            Some([red, green, blue]) => described.set(key, format!("[{red},{green},{blue}]")),
            // Grayscale.
            Some([grey]) => described.set(key, format!("[{grey},{grey},{grey}]")),
            _ => {}
        }
    }
    described.notes = notes;
    described
}

#[cfg(all(test, feature = "data"))]
mod tests {
    use candle_mish::data::Interpolation;

    use super::{DEFAULT_INTERPOLATION, INTERPOLATIONS};

    #[test]
    fn interpolations_are_those_of_the_data_module() {
        for name in INTERPOLATIONS {
            assert!(name.parse::<Interpolation>().is_ok(), "{name}");
        }
        assert_eq!(Interpolation::default().to_string(), DEFAULT_INTERPOLATION);
    }
}
