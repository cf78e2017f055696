//! Temporary: compares the layers with those before the change.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Result};
use candle_mish::nn::ParamStore;
use candle_mish_models::{Model, ModelSpec, Stem, create, entries};

#[test]
fn golden() -> Result<()> {
    for entry in entries() {
        for (_, stem) in Stem::ALL {
            if entry.form(stem).is_err() {
                continue;
            }
            for act in ["mish", "prelu"] {
                let spec = ModelSpec {
                    stem,
                    num_classes: 7,
                    activation: act.parse().expect("a"),
                    ..ModelSpec::new(entry.name)
                };
                let store = ParamStore::zeros(DType::F32, &Device::Cpu);
                let model = create(&spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
                let old = layers(&*model, &store);
                let new = entry.layer_groups(&store);
                let mut differ: Vec<_> = old.iter().filter(|(n, l)| new[*n] != **l).collect();
                differ.sort();
                if !differ.is_empty() {
                    println!(
                        "DIFF {} {stem} {act}: {:?}",
                        entry.name,
                        &differ[..differ.len().min(4)]
                    );
                    for (n, _) in differ.iter().take(4) {
                        println!("   {n} new {}", new[*n]);
                    }
                }
                if act == "mish" {
                    let highest = old.values().max().copied().unwrap_or(0);
                    println!(
                        "GOLD (\"{}\", Stem::{:?}, {}, {}),",
                        entry.name,
                        stem,
                        highest + 1,
                        crate::transfer::crc32(&old)
                    );
                }
            }
        }
    }
    Ok(())
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
