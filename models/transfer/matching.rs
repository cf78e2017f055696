//! Finds the prefix and the style of a checkpoint's keys: those with which most tensors fit the
//! network.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use candle_core::{Shape, Tensor};

use crate::entry::Entry;
use crate::key_style::{self, KeyStyle, Renamer};
use crate::tensors::Tensors;

/// How many tensors of a checkpoint fit a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// Tensors whose name and shape fit.
    pub fits: usize,
    /// Tensors whose name fits.
    pub names: usize,
}

/// The correspondence of a checkpoint's keys to a network's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matching {
    /// The text before all keys that are not outside.
    pub prefix: String,
    /// Other prefixes with which as many tensors fit.
    pub alternatives: Vec<String>,
    /// The style of the keys, unless they are the network's own.
    pub style: Option<&'static KeyStyle>,
    /// Each key, and the network's name for it.
    pub names: Vec<(String, String)>,
    /// The keys of parts that the style ignores.
    pub ignored: Vec<String>,
    /// The keys without the prefix.
    pub outside: Vec<String>,
    /// The tensors that fit.
    #[cfg(feature = "checkpoint")]
    pub score: Score,
}

impl Matching {
    /// The best correspondence. Of equally good styles the first, of equally good prefixes the
    /// shortest, and then the last in alphabetical order: `encoder_q.`, not its copy `encoder_k.`.
    pub fn best(entry: &Entry, network: &Tensors, checkpoint: &HashMap<String, Tensor>) -> Self {
        let styles = std::iter::once(None).chain(key_style::of(entry).map(Some));
        let mut best = Found::default();
        for style in styles {
            let renamer = Renamer::new(style, &network.shapes);
            let found = Found::search(style, &renamer, network, checkpoint);
            if best.rank() < found.rank() {
                best = found;
            }
            if best.score.fits == checkpoint.len() {
                break;
            }
        }
        best.matching(network, checkpoint)
    }
}

/// The best prefix for a style.
#[derive(Default)]
struct Found {
    prefix: String,
    alternatives: Vec<String>,
    style: Option<&'static KeyStyle>,
    score: Score,
    /// The number of tensors that the style ignores.
    ignored: usize,
}

impl Found {
    fn rank(&self) -> (Score, usize) {
        (self.score, self.ignored)
    }

    /// Scores the prefixes of all keys in one pass: the rest of a key after each `.` counts for the
    /// prefix before it.
    fn search(
        style: Option<&'static KeyStyle>,
        renamer: &Renamer,
        network: &Tensors,
        checkpoint: &HashMap<String, Tensor>,
    ) -> Self {
        let mut names: HashMap<&str, Option<String>> = HashMap::new();
        let mut scores: BTreeMap<&str, (Score, usize)> = BTreeMap::new();
        for (key, tensor) in checkpoint {
            let dots = key.match_indices('.').map(|(place, _)| place + 1);
            for start in std::iter::once(0).chain(dots) {
                let (prefix, rest) = key.split_at(start);
                let name = names.entry(rest).or_insert_with(|| renamer.name(rest));
                let (score, ignored) = scores.entry(prefix).or_default();
                match name {
                    None => *ignored += 1,
                    Some(name) => {
                        score.names += usize::from(network.shapes.contains_key(name));
                        score.fits += usize::from(fits(network, name, tensor.shape()));
                    }
                }
            }
        }
        let rank = |(prefix, found): (&str, (Score, usize))| {
            (found.0, Reverse(prefix.len()), found.1, prefix.to_string())
        };
        let best = scores.iter().map(|(prefix, found)| (*prefix, *found));
        let Some((prefix, (score, ignored))) = best.max_by_key(|found| rank(*found)) else {
            return Self::default();
        };
        let equal = scores
            .iter()
            .filter(|(other, found)| found.0 == score && score.fits > 0 && **other != prefix);
        Self {
            prefix: prefix.to_string(),
            alternatives: equal.map(|(other, _)| (*other).to_string()).collect(),
            style,
            score,
            ignored,
        }
    }

    /// Applies the prefix and the style.
    fn matching(self, network: &Tensors, checkpoint: &HashMap<String, Tensor>) -> Matching {
        let renamer = Renamer::new(self.style, &network.shapes);
        let mut keys: Vec<&String> = checkpoint.keys().collect();
        keys.sort();
        let mut matching = Matching {
            prefix: self.prefix,
            alternatives: self.alternatives,
            style: self.style,
            #[cfg(feature = "checkpoint")]
            score: self.score,
            ..Matching::default()
        };
        for key in keys {
            let Some(rest) = key.strip_prefix(&*matching.prefix) else {
                matching.outside.push(key.clone());
                continue;
            };
            match renamer.name(rest) {
                None => matching.ignored.push(key.clone()),
                Some(name) => matching.names.push((key.clone(), name)),
            }
        }
        matching
    }
}

/// Whether a tensor of this name and shape can be loaded, perhaps after a reshape or an adaption of
/// the image channels.
fn fits(network: &Tensors, name: &str, shape: &Shape) -> bool {
    let Some(wanted) = network.shapes.get(name) else {
        return false;
    };
    let first = network.first_conv.as_deref() == Some(name);
    wanted == shape
        || is_reshaped(shape, wanted)
        || (first && differs_in_channels(shape.dims(), wanted.dims()))
}

/// Whether the shapes belong to a linear layer and to the same layer written as a convolution.
pub(super) fn is_reshaped(given: &Shape, wanted: &Shape) -> bool {
    let ranks = (given.rank(), wanted.rank());
    matches!(ranks, (2, 4) | (4, 2))
        && given.dims()[0] == wanted.dims()[0]
        && given.elem_count() == wanted.elem_count()
}

/// Whether the shapes of two convolutions differ in the input channels only.
pub(super) fn differs_in_channels(given: &[usize], wanted: &[usize]) -> bool {
    match (given, wanted) {
        ([o, i, kernel @ ..], [outputs, inputs, size @ ..]) => {
            kernel.len() == 2 && o == outputs && i != inputs && kernel == size
        }
        _ => false,
    }
}
