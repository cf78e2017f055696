//! What fine-tuning has to know of a network: its head, and its layers in their order.

use std::collections::HashMap;

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

/// The layer of each parameter of `store` for layer-wise learning rates, 0 nearest to the images,
/// as timm groups them: all in front of the first block, each block, and what comes behind the
/// last block with the classifier, which is the highest. What stands between two blocks goes with
/// the first of them. Networks without blocks have a layer for each module.
pub fn layers(model: &dyn Model, store: &ParamStore) -> HashMap<String, usize> {
    let names: Vec<String> = store.params().into_iter().map(|(name, _)| name).collect();
    let has_blocks = names.iter().any(|name| block(name).is_some());
    let unit = |name: &str| match has_blocks {
        true => block(name),
        false => name.split_once('.').map(|(module, _)| module.to_string()),
    };
    let classifier = |name: &str| {
        let rest = name.strip_prefix(model.classifier());
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let of_block = |name: &String| !classifier(name) && unit(name).is_some();
    let last = names.iter().rposition(of_block).unwrap_or(0);
    // What stands in front of the first block is a layer.
    let mut count = usize::from(has_blocks && names.first().is_some_and(|n| unit(n).is_none()));
    let mut units = HashMap::new();
    let mut layers = HashMap::with_capacity(names.len());
    let mut current = 0;
    let mut head = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        if classifier(&name) || index > last {
            head.push(name);
            continue;
        }
        if let Some(unit) = unit(&name) {
            current = *units.entry(unit).or_insert_with(|| {
                count += 1;
                count - 1
            });
        }
        layers.insert(name, current);
    }
    layers.extend(head.into_iter().map(|name| (name, count)));
    layers
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
