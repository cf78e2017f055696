//! timm's AutoAugment: one of several short lists of operations for each image.

use super::entry::{Common, Entry, Spread};
use super::level::{OpKind as K, Setting};
use super::notation::{Parameter, Parameters, PolicyError};
use crate::data::augment::op::Op;
use crate::data::random::Draw;

/// AutoAugment (Cubuk et al., 2018) with timm's policies for ImageNet.
#[derive(Debug, Clone, PartialEq)]
pub struct SubPolicies {
    /// The sub-policies. One is drawn for each image; all are equally likely.
    pub policies: Vec<Vec<Entry>>,
    /// How the magnitude varies.
    pub spread: Spread,
}

pub(super) const NAMES: [&str; 5] = ["original", "originalr", "v0", "v0r", "3a"];
const PARAMETERS: &[Parameter] = &[("mstd", "standard deviation of the magnitudes, default 0")];

/// An operation with its probability and magnitude.
type Row = (K, f64, u8);

/// The policy of the TPU's EfficientNet.
const V0: [[Row; 2]; 25] = [
    [(K::Equalize, 0.8, 1), (K::ShearY, 0.8, 4)],
    [(K::Color, 0.4, 9), (K::Equalize, 0.6, 3)],
    [(K::Color, 0.4, 1), (K::Rotate, 0.6, 8)],
    [(K::Solarize, 0.8, 3), (K::Equalize, 0.4, 7)],
    [(K::Solarize, 0.4, 2), (K::Solarize, 0.6, 2)],
    [(K::Color, 0.2, 0), (K::Equalize, 0.8, 8)],
    [(K::Equalize, 0.4, 8), (K::SolarizeAdd, 0.8, 3)],
    [(K::ShearX, 0.2, 9), (K::Rotate, 0.6, 8)],
    [(K::Color, 0.6, 1), (K::Equalize, 1.0, 2)],
    [(K::Invert, 0.4, 9), (K::Rotate, 0.6, 0)],
    [(K::Equalize, 1.0, 9), (K::ShearY, 0.6, 3)],
    [(K::Color, 0.4, 7), (K::Equalize, 0.6, 0)],
    [(K::Posterize, 0.4, 6), (K::AutoContrast, 0.4, 7)],
    [(K::Solarize, 0.6, 8), (K::Color, 0.6, 9)],
    [(K::Solarize, 0.2, 4), (K::Rotate, 0.8, 9)],
    [(K::Rotate, 1.0, 7), (K::TranslateYRel, 0.8, 9)],
    [(K::ShearX, 0.0, 0), (K::Solarize, 0.8, 4)],
    [(K::ShearY, 0.8, 0), (K::Color, 0.6, 4)],
    [(K::Color, 1.0, 0), (K::Rotate, 0.6, 2)],
    [(K::Equalize, 0.8, 4), (K::Equalize, 0.0, 8)],
    [(K::Equalize, 1.0, 4), (K::AutoContrast, 0.6, 2)],
    [(K::ShearY, 0.4, 7), (K::SolarizeAdd, 0.6, 7)],
    [(K::Posterize, 0.8, 2), (K::Solarize, 0.6, 10)],
    [(K::Solarize, 0.6, 8), (K::Equalize, 0.6, 1)],
    [(K::Color, 0.8, 6), (K::Rotate, 0.4, 5)],
];

/// The policy of the paper.
const ORIGINAL: [[Row; 2]; 25] = [
    [(K::PosterizeOriginal, 0.4, 8), (K::Rotate, 0.6, 9)],
    [(K::Solarize, 0.6, 5), (K::AutoContrast, 0.6, 5)],
    [(K::Equalize, 0.8, 8), (K::Equalize, 0.6, 3)],
    [
        (K::PosterizeOriginal, 0.6, 7),
        (K::PosterizeOriginal, 0.6, 6),
    ],
    [(K::Equalize, 0.4, 7), (K::Solarize, 0.2, 4)],
    [(K::Equalize, 0.4, 4), (K::Rotate, 0.8, 8)],
    [(K::Solarize, 0.6, 3), (K::Equalize, 0.6, 7)],
    [(K::PosterizeOriginal, 0.8, 5), (K::Equalize, 1.0, 2)],
    [(K::Rotate, 0.2, 3), (K::Solarize, 0.6, 8)],
    [(K::Equalize, 0.6, 8), (K::PosterizeOriginal, 0.4, 6)],
    [(K::Rotate, 0.8, 8), (K::Color, 0.4, 0)],
    [(K::Rotate, 0.4, 9), (K::Equalize, 0.6, 2)],
    [(K::Equalize, 0.0, 7), (K::Equalize, 0.8, 8)],
    [(K::Invert, 0.6, 4), (K::Equalize, 1.0, 8)],
    [(K::Color, 0.6, 4), (K::Contrast, 1.0, 8)],
    [(K::Rotate, 0.8, 8), (K::Color, 1.0, 2)],
    [(K::Color, 0.8, 8), (K::Solarize, 0.8, 7)],
    [(K::Sharpness, 0.4, 7), (K::Invert, 0.6, 8)],
    [(K::ShearX, 0.6, 5), (K::Equalize, 1.0, 9)],
    [(K::Color, 0.4, 0), (K::Equalize, 0.6, 3)],
    [(K::Equalize, 0.4, 7), (K::Solarize, 0.2, 4)],
    [(K::Solarize, 0.6, 5), (K::AutoContrast, 0.6, 5)],
    [(K::Invert, 0.6, 4), (K::Equalize, 1.0, 8)],
    [(K::Color, 0.6, 4), (K::Contrast, 1.0, 8)],
    [(K::Equalize, 0.8, 8), (K::Equalize, 0.6, 3)],
];

/// 3-Augment (Touvron et al., "DeiT III", 2022).
const THREE: [[Row; 1]; 3] = [
    [(K::Solarize, 1.0, 5)],
    [(K::Desaturate, 1.0, 10)],
    [(K::GaussianBlurRand, 1.0, 10)],
];

impl SubPolicies {
    /// Reads the parameters after the name of a policy.
    pub(super) fn parse(name: &'static str, text: Option<&str>) -> Result<Self, PolicyError> {
        let given = Parameters::parse(name, text, PARAMETERS)?;
        let std = given.number("mstd", 0.0..=f64::MAX)?.unwrap_or(0.0);
        let policies = match name {
            "v0" | "v0r" => rows(&V0),
            "3a" => rows(&THREE),
            _ => rows(&ORIGINAL),
        };
        let mut policies: Vec<Vec<Entry>> = policies;
        if name.ends_with('r') {
            // The variants of Google's research code: stronger with a larger magnitude.
            for entry in policies.iter_mut().flatten() {
                if matches!(entry.kind, K::Posterize | K::PosterizeOriginal) {
                    entry.kind = K::PosterizeIncreasing;
                }
            }
        }
        Ok(Self {
            policies,
            spread: if std > 0.0 {
                Spread::Normal(std)
            } else {
                Spread::None
            },
        })
    }

    pub(super) fn draw(&self, setting: &Setting, draw: &mut Draw) -> Vec<Op> {
        let common = Common {
            spread: self.spread,
            ..Common::default()
        };
        let entries = &self.policies[draw.below(self.policies.len())];
        let ops = entries
            .iter()
            .filter_map(|entry| entry.draw(&common, setting, draw));
        ops.collect()
    }
}

fn rows<const N: usize>(table: &[[Row; N]]) -> Vec<Vec<Entry>> {
    let entry = |&(kind, probability, magnitude): &Row| Entry {
        kind,
        probability,
        magnitude: f64::from(magnitude),
    };
    let list = |row: &[Row; N]| row.iter().map(entry).collect();
    table.iter().map(list).collect()
}
