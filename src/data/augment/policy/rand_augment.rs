//! RandAugment: a number of operations drawn for each image, all of one magnitude.

use super::entry::{Common, Entry, Spread};
use super::level::{FULL, OpKind as K, Setting};
use super::notation::{Parameter, Parameters, PolicyError};
use crate::data::augment::op::Op;
use crate::data::random::Draw;

/// RandAugment (Cubuk et al., 2019) with timm's operations, parameters and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct RandAugment {
    /// The operations to choose from.
    pub entries: Vec<Entry>,
    /// The weight of each operation, with sum 1: operations are then chosen without repetition.
    /// Otherwise all are equally likely, with repetition.
    pub weights: Option<Vec<f64>>,
    /// The number of operations chosen for an image.
    pub layers: usize,
    /// How the magnitude varies.
    pub spread: Spread,
    /// The largest magnitude.
    pub max: f64,
}

pub(super) const NAME: &str = "rand";
const PARAMETERS: &[Parameter] = &[
    ("m", "magnitude, default 10"),
    ("n", "operations for an image, default 2"),
    ("p", "probability of each chosen operation, default 0.5"),
    (
        "mstd",
        "standard deviation of the magnitude, above 100 for uniform, default 0",
    ),
    ("mmax", "largest magnitude, default 10"),
    (
        "inc",
        "1 for operations that change more with the magnitude, default 0",
    ),
    ("t", "set of operations: 3a, 3aw or weights"),
];

/// The operations by default.
const PLAIN: [K; 15] = [
    K::AutoContrast,
    K::Equalize,
    K::Invert,
    K::Rotate,
    K::Posterize,
    K::Solarize,
    K::SolarizeAdd,
    K::Color,
    K::Contrast,
    K::Brightness,
    K::Sharpness,
    K::ShearX,
    K::ShearY,
    K::TranslateXRel,
    K::TranslateYRel,
];

/// The operations with `inc1`.
const INCREASING: [K; 15] = [
    K::AutoContrast,
    K::Equalize,
    K::Invert,
    K::Rotate,
    K::PosterizeIncreasing,
    K::SolarizeIncreasing,
    K::SolarizeAdd,
    K::ColorIncreasing,
    K::ContrastIncreasing,
    K::BrightnessIncreasing,
    K::SharpnessIncreasing,
    K::ShearX,
    K::ShearY,
    K::TranslateXRel,
    K::TranslateYRel,
];

/// `t3a`: the operations of 3-Augment (Touvron et al., "DeiT III", 2022).
const THREE: [K; 3] = [K::SolarizeIncreasing, K::Desaturate, K::GaussianBlur];

/// `t3aw`.
const THREE_WEIGHTED: [(K, f64); 14] = [
    (K::SolarizeIncreasing, 6.0),
    (K::Desaturate, 6.0),
    (K::GaussianBlur, 6.0),
    (K::Rotate, 3.0),
    (K::ShearX, 2.0),
    (K::ShearY, 2.0),
    (K::PosterizeIncreasing, 1.0),
    (K::AutoContrast, 1.0),
    (K::ColorIncreasing, 1.0),
    (K::SharpnessIncreasing, 1.0),
    (K::ContrastIncreasing, 1.0),
    (K::BrightnessIncreasing, 1.0),
    (K::Equalize, 1.0),
    (K::Invert, 1.0),
];

/// `tweights`.
const WEIGHTED: [(K, f64); 15] = [
    (K::Rotate, 3.0),
    (K::ShearX, 2.0),
    (K::ShearY, 2.0),
    (K::TranslateXRel, 1.0),
    (K::TranslateYRel, 1.0),
    (K::ColorIncreasing, 0.25),
    (K::SharpnessIncreasing, 0.25),
    (K::AutoContrast, 0.25),
    (K::SolarizeIncreasing, 0.05),
    (K::SolarizeAdd, 0.05),
    (K::ContrastIncreasing, 0.05),
    (K::BrightnessIncreasing, 0.05),
    (K::Equalize, 0.05),
    (K::PosterizeIncreasing, 0.05),
    (K::Invert, 0.05),
];

impl RandAugment {
    /// Reads the parameters after `rand-`.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, PolicyError> {
        let given = Parameters::parse(NAME, text, PARAMETERS)?;
        let magnitude = given.number("m", 0..=100)?.unwrap_or(FULL as usize);
        let probability = given.number("p", 0.0..=1.0)?.unwrap_or(0.5);
        let std = given.number("mstd", 0.0..=f64::MAX)?.unwrap_or(0.0);
        let increasing = given.number("inc", 0..=1)?.unwrap_or(0) == 1;
        let (kinds, weights): (Vec<K>, _) = match given.text("t") {
            None if increasing => (INCREASING.to_vec(), None),
            None => (PLAIN.to_vec(), None),
            Some("3a") => (THREE.to_vec(), None),
            Some("3aw") => weighted(&THREE_WEIGHTED),
            Some("weights") => weighted(&WEIGHTED),
            Some(_) => return Err(given.wrong("t", "3a, 3aw or weights".to_owned())),
        };
        let most = match weights {
            Some(_) => kinds.len(),
            None => 100,
        };
        let entry = |kind| Entry {
            kind,
            probability,
            magnitude: magnitude as f64,
        };
        Ok(Self {
            entries: kinds.into_iter().map(entry).collect(),
            weights,
            layers: given.number("n", 1..=most)?.unwrap_or(2),
            spread: if std == 0.0 {
                Spread::None
            } else if std > 100.0 {
                Spread::Uniform
            } else {
                Spread::Normal(std)
            },
            max: given.number("mmax", 1..=100)?.unwrap_or(FULL as usize) as f64,
        })
    }

    pub(super) fn draw(&self, setting: &Setting, draw: &mut Draw) -> Vec<Op> {
        let common = Common {
            spread: self.spread,
            max: self.max,
            ..Common::default()
        };
        let chosen: Vec<usize> = match &self.weights {
            None => (0..self.layers)
                .map(|_| draw.below(self.entries.len()))
                .collect(),
            Some(weights) => without_repetition(weights, self.layers, draw),
        };
        let ops = chosen
            .into_iter()
            .filter_map(|i| self.entries[i].draw(&common, setting, draw));
        ops.collect()
    }
}

fn weighted(table: &[(K, f64)]) -> (Vec<K>, Option<Vec<f64>>) {
    let sum: f64 = table.iter().map(|(_, weight)| weight).sum();
    let (kinds, weights) = table.iter().map(|(kind, w)| (*kind, w / sum)).unzip();
    (kinds, Some(weights))
}

/// Draws `count` different indices, each in proportion to its weight among those left.
fn without_repetition(weights: &[f64], count: usize, draw: &mut Draw) -> Vec<usize> {
    let mut left = weights.to_vec();
    let mut chosen = Vec::with_capacity(count);
    for _ in 0..count {
        let mut at = f64::from(draw.unit()) * left.iter().sum::<f64>();
        let mut positive = (0..left.len()).filter(|i| left[*i] > 0.0);
        let mut last = positive.next();
        for i in last.into_iter().chain(positive) {
            last = Some(i);
            at -= left[i];
            if at < 0.0 {
                break;
            }
        }
        if let Some(i) = last {
            left[i] = 0.0;
            chosen.push(i);
        }
    }
    chosen
}
