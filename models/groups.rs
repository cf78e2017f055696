//! The layers of a network for layer-wise learning rates: timm's `group_matcher`, as data.

use std::collections::{BTreeMap, HashMap};

use crate::pattern::strip;

/// A family's layers. Each row is a pattern and the sort key of the layer that matching parameters
/// belong to. The first pattern that matches the beginning of a parameter's name counts; `#`
/// matches a number. Parameters that no pattern matches belong to the last layer, the classifier's.
pub(crate) type GroupMatcher = &'static [(&'static str, &'static [Place])];

/// Part of a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A fixed number.
    At(usize),
    /// The numbers that the pattern matched.
    Numbers,
    /// Sorts last, and the parameters join the layer before them.
    WithPrevious,
}

use Place::{At, Numbers, WithPrevious};

/// The first layer.
pub(crate) const STEM: &[Place] = &[At(0)];
/// A layer for each combination of numbers.
pub(crate) const BLOCK: &[Place] = &[At(1), Numbers];
/// The last block whose numbers begin with these.
pub(crate) const WITH_BLOCK: &[Place] = &[At(1), Numbers, WithPrevious];
/// The last of the blocks.
pub(crate) const WITH_LAST_BLOCK: &[Place] = &[At(1), WithPrevious];
/// A layer between the blocks and the classifier.
pub(crate) const TAIL: &[Place] = &[At(2)];

/// The classifier's layer.
pub(crate) const HEAD: &[Place] = &[At(LAST - 1)];

/// Sorts after every number.
const LAST: usize = usize::MAX;

/// The layer of each name, counted from 0 at the images.
pub(crate) fn layers(
    matcher: GroupMatcher,
    names: impl IntoIterator<Item = String>,
) -> HashMap<String, usize> {
    let mut groups: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
    for name in names {
        groups.entry(key(matcher, &name)).or_default().push(name);
    }
    let mut layers = HashMap::new();
    let mut count = 0;
    for (key, names) in groups {
        if count == 0 || key.last() != Some(&LAST) {
            count += 1;
        }
        layers.extend(names.into_iter().map(|name| (name, count - 1)));
    }
    layers
}

fn key(matcher: GroupMatcher, name: &str) -> Vec<usize> {
    let found = matcher
        .iter()
        .find_map(|(pattern, places)| Some((strip(pattern, name)?.0, *places)));
    let (numbers, places) = found.unwrap_or((Vec::new(), HEAD));
    let mut key = Vec::with_capacity(places.len() + numbers.len());
    for place in places {
        match place {
            At(number) => key.push(*number),
            Numbers => key.extend(&numbers),
            WithPrevious => key.push(LAST),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, GroupMatcher, STEM, WITH_BLOCK, layers};

    #[test]
    fn layers_are_numbered_in_order_and_the_rest_is_the_head() {
        const MATCHER: GroupMatcher = &[
            ("conv1.", STEM),
            ("block#.#.", BLOCK),
            ("transition#.", WITH_BLOCK),
        ];
        let names = [
            ("fc.weight", 4),
            ("block2.0.weight", 3),
            ("transition1.weight", 2),
            ("block1.10.weight", 2),
            ("block1.9.weight", 1),
            ("conv1.weight", 0),
        ];
        let found = layers(MATCHER, names.map(|(name, _)| name.to_string()));
        for (name, layer) in names {
            assert_eq!(found[name], layer, "{name}");
        }
    }
}
