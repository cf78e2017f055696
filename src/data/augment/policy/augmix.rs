//! AugMix: a weighted mean of several chains of operations, mixed with the image.

use rand_distr::{Beta, Distribution, Gamma};

use super::entry::{Common, Entry, Spread};
use super::level::{OpKind as K, Setting};
use super::notation::{Parameter, Parameters, PolicyError};
use crate::data::augment::colour::blend_all;
use crate::data::augment::op::Op;
use crate::data::image::Image;
use crate::data::random::Draw;

/// AugMix (Hendrycks et al., 2019) with timm's operations, parameters and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct AugMix {
    /// The operations of the chains.
    pub entries: Vec<Entry>,
    /// How the magnitude varies.
    pub spread: Spread,
    /// The number of chains.
    pub width: usize,
    /// The number of operations in a chain; `None` for 1 to 3, drawn for each chain.
    pub depth: Option<usize>,
    /// The parameter of the Dirichlet distribution of the chains' weights and of the Beta
    /// distribution of the share of the mixture.
    pub alpha: f64,
    /// Whether to blend the chains one after the other instead of adding them up.
    pub blended: bool,
}

pub(super) const NAME: &str = "augmix";
const PARAMETERS: &[Parameter] = &[
    ("m", "magnitude, default 3"),
    ("w", "number of chains, default 3"),
    ("d", "operations in a chain, random 1 to 3 if left out"),
    ("a", "alpha of the mixture, default 1"),
    ("b", "1 to blend the chains one after the other, default 0"),
    (
        "mstd",
        "standard deviation of the magnitude, uniform if left out",
    ),
];

/// The most operations of a random chain.
const DEPTH: usize = 3;
/// The largest translation as a share of the image.
const TRANSLATE_PCT: f64 = 0.3;

const OPS: [K; 13] = [
    K::AutoContrast,
    K::ColorIncreasing,
    K::ContrastIncreasing,
    K::BrightnessIncreasing,
    K::SharpnessIncreasing,
    K::Equalize,
    K::Rotate,
    K::PosterizeIncreasing,
    K::SolarizeIncreasing,
    K::ShearX,
    K::ShearY,
    K::TranslateXRel,
    K::TranslateYRel,
];

impl AugMix {
    /// Reads the parameters after `augmix-`.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, PolicyError> {
        let given = Parameters::parse(NAME, text, PARAMETERS)?;
        let magnitude = given.number("m", 0..=100)?.unwrap_or(3);
        let entry = |kind| Entry {
            kind,
            probability: 1.0,
            magnitude: magnitude as f64,
        };
        Ok(Self {
            entries: OPS.map(entry).to_vec(),
            spread: match given.number("mstd", 0.0..=f64::MAX)? {
                None => Spread::Uniform,
                Some(std) if std > 0.0 => Spread::Normal(std),
                Some(_) => Spread::None,
            },
            width: given.number("w", 1..=100)?.unwrap_or(3),
            depth: given.number("d", 1..=100)?,
            alpha: given.number("a", 0.01..=100.0)?.unwrap_or(1.0),
            blended: given.number("b", 0..=1)?.unwrap_or(0) == 1,
        })
    }

    pub(super) fn draw(&self, setting: &Setting, draw: &mut Draw) -> Mix {
        let common = Common {
            spread: self.spread,
            translate_pct: TRANSLATE_PCT,
            ..Common::default()
        };
        let weights = dirichlet(self.alpha, self.width, draw);
        let share = sample(Beta::new(self.alpha, self.alpha), draw).unwrap_or(0.5);
        let chain = |draw: &mut Draw| {
            let depth = self.depth.unwrap_or_else(|| 1 + draw.below(DEPTH));
            let chosen: Vec<usize> = (0..depth).map(|_| draw.below(self.entries.len())).collect();
            let ops = chosen
                .into_iter()
                .filter_map(|i| self.entries[i].draw(&common, setting, draw));
            ops.collect()
        };
        Mix {
            weights: weights.into_iter().map(|weight| weight as f32).collect(),
            share: share as f32,
            blended: self.blended,
            chains: (0..self.width).map(|_| chain(draw)).collect(),
        }
    }
}

/// `count` numbers with sum 1 from the symmetric Dirichlet distribution.
fn dirichlet(alpha: f64, count: usize, draw: &mut Draw) -> Vec<f64> {
    let parts = (0..count).map(|_| sample(Gamma::new(alpha, 1.0), draw).unwrap_or(0.0));
    let parts: Vec<f64> = parts.collect();
    let sum: f64 = parts.iter().sum();
    if sum > 0.0 {
        parts.into_iter().map(|part| part / sum).collect()
    } else {
        // All parts of a small alpha may be too small for a float.
        vec![1.0 / count as f64; count]
    }
}

/// A draw of a distribution; `None` if its parameters are out of range, which [`AugMix::parse`]
/// excludes.
fn sample<D: Distribution<f64>, E>(distribution: Result<D, E>, draw: &mut Draw) -> Option<f64> {
    let value = draw.sample(&distribution.ok()?);
    value.is_finite().then_some(value)
}

/// One draw of [`AugMix`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// The weight of each chain.
    pub weights: Vec<f32>,
    /// The share of the chains in the result.
    pub share: f32,
    /// Whether to blend the chains one after the other.
    pub blended: bool,
    /// The operations of each chain.
    pub chains: Vec<Vec<Op>>,
}

impl Mix {
    /// Replaces `image` by the mixture, with the arithmetic of timm.
    pub fn apply(&self, image: &mut Image) {
        if self.blended {
            self.apply_blended(image);
            return;
        }
        let mut mixed = vec![0.0_f32; image.pixels().len()];
        for (chain, weight) in self.chains.iter().zip(&self.weights) {
            let changed = chained(image, chain);
            for (sum, byte) in mixed.iter_mut().zip(changed.pixels()) {
                *sum += weight * f32::from(*byte);
            }
        }
        // The conversion truncates and clamps.
        let mut mixed: Vec<u8> = mixed.into_iter().map(|sum| sum as u8).collect();
        blend_all(image.pixels(), &mut mixed, self.share);
        image.pixels_mut().copy_from_slice(&mixed);
    }

    fn apply_blended(&self, image: &mut Image) {
        // From the last chain to the first: what each takes of what the later ones leave.
        let mut left = 1.0_f32;
        let mut shares = vec![0.0; self.weights.len()];
        for (share, weight) in shares.iter_mut().zip(&self.weights).rev() {
            *share = weight * self.share / left;
            left *= 1.0 - *share;
        }
        let original = image.clone();
        for (chain, share) in self.chains.iter().zip(shares) {
            let mut changed = chained(&original, chain);
            blend_all(image.pixels(), changed.pixels_mut(), share);
            *image = changed;
        }
    }
}

/// `image` after the operations of a chain.
fn chained(image: &Image, chain: &[Op]) -> Image {
    let mut changed = image.clone();
    for op in chain {
        op.apply(&mut changed);
    }
    changed
}
