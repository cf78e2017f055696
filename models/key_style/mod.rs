//! Key styles: what other programs call the tensors of the registry's networks.
//!
//! A style is data: rules that rename a program's keys to the network's, which are timm's where timm
//! has the network. [`table`] lists them; [`refused`] lists the styles of networks that cannot be
//! loaded, with the reason.

mod cifar;
mod libraries;
#[cfg(feature = "checkpoint")]
mod refused;
mod table;

use std::collections::{BTreeSet, HashMap};

use candle_core::Shape;
use candle_mish::activation::Activation;
use candle_mish::pattern::matches;

use crate::entry::Entry;
use crate::pattern::{find, strip};
use crate::spec::Stem;

#[cfg(feature = "checkpoint")]
pub(crate) use refused::refused;
pub(crate) use table::of;

/// A pattern as in [`find`], and its replacement. In a replacement, `#` is the next number of the
/// pattern and `%` the path of the block with that number, if all blocks of the network are counted
/// in order. `+1` or `-1` after them shifts the number.
pub(crate) type Rule = (&'static str, &'static str);

/// The keys of a program for some networks.
#[derive(Debug)]
pub(crate) struct KeyStyle {
    /// The program, or the repository on GitHub.
    pub name: &'static str,
    /// The names or families of the networks. `*` matches any characters.
    pub models: &'static [&'static str],
    /// Applied in order, each at most once, until the network has the key.
    pub rules: &'static [Rule],
    /// Patterns of tensors of parts that the network does not have, such as auxiliary classifiers.
    pub ignored: &'static [&'static str],
    /// Convolutions with a bias that the network lacks, and the norms after them, as the last parts
    /// of their paths. The norm subtracts a bias, so its running mean takes it.
    pub biases: &'static [(&'static str, &'static str)],
    /// The activation of the program's networks, if the network's published weights have another
    /// one.
    #[cfg_attr(not(feature = "checkpoint"), expect(dead_code))]
    pub activation: Option<Activation>,
    /// The form of the program's networks, if it has only one.
    #[cfg_attr(not(feature = "checkpoint"), expect(dead_code))]
    pub stem: Option<Stem>,
}

impl KeyStyle {
    /// A style with only renames.
    const fn new(
        name: &'static str,
        models: &'static [&'static str],
        rules: &'static [Rule],
    ) -> Self {
        Self {
            name,
            models,
            rules,
            ignored: &[],
            biases: &[],
            activation: None,
            stem: None,
        }
    }

    /// A style of networks for 32x32 images.
    const fn cifar(
        name: &'static str,
        models: &'static [&'static str],
        rules: &'static [Rule],
    ) -> Self {
        Self {
            stem: Some(Stem::Cifar),
            ..Self::new(name, models, rules)
        }
    }

    /// With another activation than the published weights.
    const fn activation(self, activation: Activation) -> Self {
        Self {
            activation: Some(activation),
            ..self
        }
    }
}

/// Whether a style with these `models` has keys for the network of `entry`.
fn covers(models: &[&str], entry: &Entry) -> bool {
    let mut patterns = models.iter();
    patterns.any(|pattern| matches(pattern, entry.name) || matches(pattern, entry.family))
}

/// Applies a style to the keys of one network.
pub(crate) struct Renamer<'a> {
    style: Option<&'static KeyStyle>,
    wanted: &'a HashMap<String, Shape>,
    /// The path of each block below the text before a rule's `%`.
    blocks: HashMap<&'static str, Vec<String>>,
}

impl<'a> Renamer<'a> {
    /// For a network with these tensors. Without a style, keys stay.
    pub fn new(style: Option<&'static KeyStyle>, wanted: &'a HashMap<String, Shape>) -> Self {
        let rules = style.map_or(&[][..], |style| style.rules);
        let parents = rules
            .iter()
            .filter_map(|(_, replacement)| Some(replacement.split_once('%')?.0));
        Self {
            style,
            wanted,
            blocks: parents
                .map(|parent| (parent, blocks(parent, wanted)))
                .collect(),
        }
    }

    /// The network's name for a key; `None` if the style ignores it.
    pub fn name(&self, key: &str) -> Option<String> {
        let Some(style) = self.style else {
            return Some(key.to_string());
        };
        if style.ignored.iter().any(|part| find(part, key).is_some()) {
            return None;
        }
        let mut name = key.to_string();
        for (pattern, replacement) in style.rules {
            if self.wanted.contains_key(&name) {
                break;
            }
            if let Some((before, numbers, after)) = find(pattern, &name)
                && let Some(middle) = self.fill(replacement, &numbers)
            {
                name = format!("{before}{middle}{after}");
            }
        }
        Some(name)
    }

    /// The replacement with its numbers; `None` if the network has no such block.
    fn fill(&self, replacement: &'static str, numbers: &[usize]) -> Option<String> {
        let mut text = String::new();
        let mut numbers = numbers.iter();
        let mut rest = replacement;
        while let Some(place) = rest.find(['#', '%']) {
            let number = *numbers.next()?;
            let (literal, token) = rest.split_at(place);
            text.push_str(literal);
            let after = &token[1..];
            let (number, after) = match (after.strip_prefix("+1"), after.strip_prefix("-1")) {
                (Some(after), _) => (number.checked_add(1)?, after),
                (_, Some(after)) => (number.checked_sub(1)?, after),
                _ => (number, after),
            };
            if token.starts_with('%') {
                text.push_str(self.blocks.get(literal)?.get(number)?);
            } else {
                text.push_str(&number.to_string());
            }
            rest = after;
        }
        Some(text + rest)
    }
}

/// The paths of all blocks `parent#.#`, in order.
fn blocks(parent: &str, wanted: &HashMap<String, Shape>) -> Vec<String> {
    let pattern = format!("{parent}#.#.");
    let numbers = wanted
        .keys()
        .filter_map(|name| Some(strip(&pattern, name)?.0));
    let sorted: BTreeSet<Vec<usize>> = numbers.collect();
    let path = |numbers: Vec<usize>| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        numbers.join(".")
    };
    sorted.into_iter().map(path).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{KeyStyle, Renamer, table};

    static STYLE: KeyStyle = KeyStyle {
        ignored: &["aux."],
        ..KeyStyle::new(
            "a test",
            &["*"],
            &[
                ("layers.#.", "blocks.%."),
                ("features.#.", "blocks.%-1."),
                ("conv#_x.", "layer#-1."),
                (".layer.#.convolution.", ".conv#+1."),
            ],
        )
    };

    #[test]
    fn numbers_are_shifted_and_blocks_are_counted() {
        let names = [
            "blocks.0.0.x",
            "blocks.1.0.x",
            "blocks.1.1.x",
            "blocks.10.0.x",
            "stem.x",
        ];
        let wanted = names.map(|name| (name.to_string(), ().into()));
        let wanted = HashMap::from(wanted);
        let renamer = Renamer::new(Some(&STYLE), &wanted);
        for (key, name) in [
            ("layers.2.x", Some("blocks.1.1.x")),
            ("layers.3.x", Some("blocks.10.0.x")),
            ("layers.4.x", Some("layers.4.x")),
            ("features.1.x", Some("blocks.0.0.x")),
            ("features.0.x", Some("features.0.x")),
            ("conv2_x.0.layer.2.convolution.w", Some("layer1.0.conv3.w")),
            ("stem.x", Some("stem.x")),
            ("aux.x", None),
        ] {
            assert_eq!(renamer.name(key).as_deref(), name, "{key}");
        }
    }

    #[test]
    fn every_style_names_networks_that_exist() {
        for style in table::STYLES.iter().copied().flatten() {
            for models in style.models {
                let found = crate::registry::entries().any(|entry| super::covers(&[models], entry));
                assert!(found, "{}: {models}", style.name);
            }
        }
    }
}
