//! What the tensors of a checkpoint say about their network.

use std::cmp::Reverse;
use std::collections::HashMap;

use candle_core::{Shape, Tensor};
use candle_mish::activation::Activation;

use crate::entry::Entry;
use crate::error::ModelError;
use crate::key_style::KeyStyle;
use crate::spec::{ModelArgs, ModelSpec, Shortcut, Stem};
use crate::tensors::Tensors;
use crate::transfer::{BASE_CHANNELS, Matching, Score, classes};

/// What the names and shapes of tensors decide. Values that they leave open are `None`.
#[derive(Debug, Clone, Default)]
pub(super) struct Inspection {
    /// The stem, if only one fits best, or the program with these keys has only one.
    pub stem: Option<Stem>,
    /// The shortcuts of a network that has a choice.
    pub shortcut: Option<Shortcut>,
    /// An activation whose learned parameters the tensors have.
    pub learned: Option<Activation>,
    /// The channels of the images.
    pub in_chans: Option<usize>,
    /// The number of classes.
    pub num_classes: Option<usize>,
    /// The style of the keys, unless they are the network's own.
    pub style: Option<&'static KeyStyle>,
    /// The path of the network's classifier.
    pub classifier: String,
}

/// A form of a network, and how well the tensors fit it.
struct Candidate {
    spec: ModelSpec,
    network: Tensors,
    matching: Matching,
}

impl Candidate {
    fn new(
        spec: ModelSpec,
        entry: &Entry,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Self, ModelError> {
        let network = Tensors::of(&spec)?;
        let matching = Matching::best(entry, &network, tensors);
        Ok(Self {
            spec,
            network,
            matching,
        })
    }

    /// The tensors that fit, then the network's tensors that are missing.
    fn rank(&self) -> (Score, Reverse<usize>) {
        let wanted = self.network.shapes.len();
        let missing = wanted.saturating_sub(self.matching.score.names);
        (self.matching.score, Reverse(missing))
    }

    /// Whether the checkpoint has tensors of this network's part that the network lacks.
    fn has_unexpected(&self) -> bool {
        let mut names = self.matching.names.iter();
        names.any(|(_, name)| !self.network.shapes.contains_key(name))
    }
}

impl Inspection {
    /// Compares the tensors with every form of the network of `entry`, except those that `known`
    /// values exclude.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn of(
        entry: &'static Entry,
        tensors: &HashMap<String, Tensor>,
        known: &ModelArgs,
    ) -> Result<Self, ModelError> {
        let stems = Stem::ALL.map(|(_, stem)| stem).into_iter();
        let stems = stems.filter(|stem| entry.form(*stem).is_ok());
        let stems: Vec<Stem> = stems
            .filter(|stem| known.stem.is_none_or(|known| known == *stem))
            .collect();
        let shortcuts: &[Shortcut] = match (entry.has_shortcuts, known.shortcut) {
            (true, None) => &[Shortcut::B, Shortcut::A],
            (_, Some(Shortcut::A)) => &[Shortcut::A],
            _ => &[Shortcut::B],
        };
        let mut candidates = Vec::new();
        for stem in &stems {
            for shortcut in shortcuts {
                let spec = ModelSpec {
                    activation: Activation::Identity,
                    num_classes: 1,
                    stem: *stem,
                    in_chans: BASE_CHANNELS,
                    shortcut: *shortcut,
                    cfg: known.cfg.clone(),
                    ..ModelSpec::new(entry.name)
                };
                candidates.push(Candidate::new(spec, entry, tensors)?);
            }
        }
        let rank = |candidate: &&Candidate| candidate.rank();
        // Of equally good ones the first.
        let Some(best) = candidates.iter().rev().max_by_key(rank) else {
            return Ok(Self::default());
        };
        let equal = candidates
            .iter()
            .filter(|other| other.rank() == best.rank());
        let decides = best.matching.score.fits > 0;
        let one_stem = decides && equal.clone().all(|other| other.spec.stem == best.spec.stem);
        let shapes = best.matching.names.iter().filter_map(|(key, name)| {
            let shape = tensors.get(key)?.shape();
            Some((name.as_str(), shape))
        });
        let first = best.network.first_conv.as_deref();
        let first = shapes.clone().find(|(name, _)| Some(*name) == first);
        Ok(Self {
            stem: if one_stem {
                Some(best.spec.stem)
            } else {
                best.matching.style.and_then(|style| style.stem)
            },
            shortcut: (decides && entry.has_shortcuts).then_some(best.spec.shortcut),
            learned: learned(best, entry, tensors)?,
            in_chans: first.and_then(|(_, shape)| channels(shape)),
            num_classes: classes(&best.network, shapes),
            style: best.matching.style,
            classifier: best.network.classifier.clone(),
        })
    }
}

/// The input channels of a convolution.
fn channels(shape: &Shape) -> Option<usize> {
    match shape.dims() {
        [_, channels, _, _] => Some(*channels),
        _ => None,
    }
}

/// The activation whose learned parameters the checkpoint has.
fn learned(
    best: &Candidate,
    entry: &Entry,
    tensors: &HashMap<String, Tensor>,
) -> Result<Option<Activation>, ModelError> {
    if !best.has_unexpected() {
        return Ok(None);
    }
    let mut found = (best.matching.score, None);
    for activation in Activation::all().filter(Activation::is_learnable) {
        let spec = ModelSpec {
            activation,
            ..best.spec.clone()
        };
        let score = Candidate::new(spec, entry, tensors)?.matching.score;
        if score > found.0 {
            found = (score, Some(activation));
        }
    }
    Ok(found.1)
}
