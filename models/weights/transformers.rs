//! transformers' description of ResNet weights, `config.json`, converted to entries of a
//! checkpoint's header.

use std::collections::BTreeMap;

use candle_mish::activation::Activation;
use serde_json::Value;

use crate::spec::Stem;
use crate::weights::described::{Described, FILE};
use crate::weights::note::Note;

/// The type of the blocks, the number of blocks and the output channels of each stage, of the
/// networks that the registry has.
type Form = (&'static str, [u64; 4], [u64; 4]);

const BASIC: [u64; 4] = [64, 128, 256, 512];
const BOTTLENECK: [u64; 4] = [256, 512, 1024, 2048];

const NETWORKS: [(&str, Form); 5] = [
    ("resnet18", ("basic", [2, 2, 2, 2], BASIC)),
    ("resnet34", ("basic", [3, 4, 6, 3], BASIC)),
    ("resnet50", ("bottleneck", [3, 4, 6, 3], BOTTLENECK)),
    ("resnet101", ("bottleneck", [3, 4, 23, 3], BOTTLENECK)),
    ("resnet152", ("bottleneck", [3, 8, 36, 3], BOTTLENECK)),
];

/// Whether a description is transformers' for a ResNet.
pub(super) fn is_resnet(description: &Value) -> bool {
    description.get("model_type").and_then(Value::as_str) == Some("resnet")
}

/// Converts the description of the weights at `origin`.
pub(super) fn read(origin: &str, description: &Value) -> Described {
    let mut described = Described::default();
    let get = |key: &str| description.get(key).filter(|value| !value.is_null());
    let equals = |key: &str, sizes: &[u64; 4]| get(key) == Some(&Value::from(sizes.as_slice()));
    let layer_type = get("layer_type").and_then(Value::as_str);
    let network = NETWORKS.iter().find(|(_, (kind, depths, sizes))| {
        layer_type == Some(*kind) && equals("depths", depths) && equals("hidden_sizes", sizes)
    });
    if let Some((name, _)) = network {
        described.set("model", name);
    }
    described.set("stem", Stem::ImageNet);
    if let Some(names) = get("id2label").and_then(Value::as_object).and_then(labels) {
        described.set("num_classes", names.len());
        described.set("classes", Value::from(names));
    }
    if let Some(channels) = get("num_channels").and_then(Value::as_u64) {
        described.set("in_chans", channels);
    }
    if let Some(name) = get("hidden_act") {
        match name.as_str().map(str::parse::<Activation>) {
            Some(Ok(activation)) => described.set("activation", activation),
            _ => described.notes.push(Note::new(
                format!("{origin}: {FILE}: hidden_act {name} is not supported"),
                &["activation"],
            )),
        }
    }
    described
}

/// The setting of a network that differs from the registry's, and how.
pub(super) fn difference(description: &Value) -> Option<&'static str> {
    let strided = description.get("downsample_in_bottleneck") == Some(&Value::Bool(true));
    (is_resnet(description) && strided).then_some(
        "with downsample_in_bottleneck, the stride is in the first convolution of a bottleneck",
    )
}

/// The names in the order of their numbers, if these are 0, 1, 2, ….
fn labels(names: &serde_json::Map<String, Value>) -> Option<Vec<String>> {
    let numbered = names
        .iter()
        .map(|(number, name)| Some((number.parse::<usize>().ok()?, name.as_str()?.to_string())));
    let sorted: BTreeMap<usize, String> = numbered.collect::<Option<_>>()?;
    let complete = sorted.keys().copied().eq(0..sorted.len());
    complete.then(|| sorted.into_values().collect())
}
