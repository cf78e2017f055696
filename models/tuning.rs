//! What fine-tuning has to know of a network: its head, and its layers in their order.

use std::collections::{HashMap, HashSet};

use candle_core::{Result, Tensor};
use candle_mish::nn::ParamStore;
use candle_nn::ModuleT;

use crate::Model;

/// A network of which only the classifier is in training. Built on
/// [`ParamStore::frozen_except`] the classifier, it records no graph of the rest either.
pub struct HeadOnly(pub Box<dyn Model>);

impl ModuleT for HeadOnly {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.0.forward_parts(images, false, train)
    }
}

/// Names in front of the number of a stage, a block or a layer.
const NUMBERED: [&str; 9] = [
    "layer",
    "block",
    "blocks",
    "stages",
    "features",
    "denseblock",
    "denselayer",
    "repeat",
    "stage",
];

/// Modules behind the last block that go with it in timm's networks.
const WITH_LAST_BLOCK: [&str; 2] = ["conv_head", "bn2"];
/// Modules behind the last block that are a layer of their own.
const OWN_LAYER: [&str; 4] = ["conv3", "bn3", "conv4", "bn4"];

/// The layer of each parameter of `store` for layer-wise learning rates, 0 nearest to the images,
/// as timm's `group_matcher` puts them: all in front of the first block, each block, and the
/// classifier, which is the highest. What stands between two blocks goes with the first of them, a
/// stage's own parameters with its first block, and what comes behind the last block with the
/// classifier, except in EfficientNet, MobileNet and Xception. Networks without blocks have a layer
/// for each module, Inception for each module behind its stem, which is two.
pub fn layers(model: &dyn Model, store: &ParamStore) -> HashMap<String, usize> {
    let names: Vec<String> = store.params().into_iter().map(|(name, _)| name).collect();
    let is_inception = names.iter().any(|name| starts_with(name, "conv2d_1a"));
    let has_blocks = !is_inception && names.iter().any(|name| block(name).is_some());
    let unit = |name: &str| match (is_inception, has_blocks) {
        (true, _) => Some(inception(name)),
        (false, true) => block(name),
        (false, false) => name.split_once('.').map(|(module, _)| module.to_string()),
    };
    let classifier = |name: &str| {
        let rest = name.strip_prefix(model.classifier());
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let of_block = |name: &String| !classifier(name) && unit(name).is_some();
    let last = names.iter().rposition(of_block).unwrap_or(0);
    // What stands in front of the first block is a layer.
    let mut count = usize::from(has_blocks && names.first().is_some_and(|n| unit(n).is_none()));
    let mut units: HashSet<String> = HashSet::new();
    let mut layers = HashMap::with_capacity(names.len());
    let mut current = 0;
    // The unit that began last, which may be a stage whose first block is yet to come.
    let mut stage = String::new();
    let mut tail = 0;
    let mut head = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let module = name.split('.').next().unwrap_or_default();
        if classifier(&name) {
            head.push(name);
        } else if index <= last {
            if let Some(unit) = unit(&name)
                && units.insert(unit.clone())
            {
                let within = unit.strip_prefix(&*stage);
                if !stage.is_empty() && within.is_some_and(|rest| rest.starts_with('.')) {
                    stage.clear();
                } else {
                    current = count;
                    count += 1;
                    stage = unit;
                }
            }
            layers.insert(name, current);
        } else if WITH_LAST_BLOCK.contains(&module) {
            layers.insert(name, current);
        } else if OWN_LAYER.contains(&module) {
            tail = 1;
            layers.insert(name, count);
        } else {
            head.push(name);
        }
    }
    layers.extend(head.into_iter().map(|name| (name, count + tail)));
    layers
}

/// The part of an Inception network that a parameter is of: timm takes the convolutions in front of
/// the first two pools together, and what comes behind the last blocks.
fn inception(name: &str) -> String {
    const PARTS: [(&str, [&str; 2]); 3] = [
        ("stem", ["conv2d_1", "conv2d_2"]),
        ("second stem", ["conv2d_3", "conv2d_4"]),
        ("top", ["block8", "conv2d_7"]),
    ];
    let of_part = |(_, starts): &&(&str, [&str; 2])| starts.iter().any(|s| starts_with(name, s));
    if let Some((part, _)) = PARTS.iter().find(of_part) {
        return (*part).to_string();
    }
    let mut parts = name.splitn(3, '.');
    let module = parts.next().unwrap_or_default();
    match parts.next() {
        Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => format!("{module}.{number}"),
        _ => module.to_string(),
    }
}

/// Whether a name begins so, whatever its case.
fn starts_with(name: &str, start: &str) -> bool {
    let head = name.get(..start.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// The path of the block that a parameter is of: as far as it is made of numbered names.
fn block(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_numbered = |part: &&&str| {
        let plain = part.trim_end_matches(|c: char| c.is_ascii_digit());
        plain.is_empty() || NUMBERED.contains(&plain.trim_end_matches('_'))
    };
    let length = parts.iter().take_while(is_numbered).count();
    let has_number = |part: &&str| part.ends_with(|c: char| c.is_ascii_digit());
    let path = &parts[..length];
    let end = path.iter().rposition(has_number)?;
    Some(path[..=end].join("."))
}

#[cfg(test)]
mod tests {
    use super::block;

    #[test]
    fn blocks_are_known_by_their_paths() {
        let found = [
            "layer1.0.downsample.0.weight",
            "blocks.2.1.se.conv_reduce.bias",
            "features.denseblock1.denselayer2.conv1.weight",
            "stages.0.blocks.1.conv1.conv.weight",
            "features.3.weight",
            "repeat_1.4.branch0.conv.weight",
            "conv1.weight",
            "features.norm0.weight",
            "features.transition1.conv.weight",
        ]
        .map(block);
        let found = found.each_ref().map(Option::as_deref);
        let expected = [
            Some("layer1.0"),
            Some("blocks.2.1"),
            Some("features.denseblock1.denselayer2"),
            Some("stages.0.blocks.1"),
            Some("features.3"),
            Some("repeat_1.4"),
            None,
            None,
            None,
        ];
        assert_eq!(found, expected);
    }
}
