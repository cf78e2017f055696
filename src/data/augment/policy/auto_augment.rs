//! A policy with its notation.

use std::fmt;
use std::str::FromStr;

use super::augmix::{self, AugMix};
use super::level::Setting;
use super::notation::PolicyError;
use super::rand_augment::{self, RandAugment};
use super::sub_policies::{self, SubPolicies};
use super::vision;
use crate::data::image::Image;
use crate::data::random::Draw;
use crate::serde_text::serde_as_text;
use crate::suggest::suggest;

/// A policy of automatic augmentation, in timm's notation: a name and parameters joined by `-`, such
/// as `rand-m9-mstd0.5-inc1`.
///
/// | name | policy |
/// | --- | --- |
/// | `rand` | RandAugment as in timm: `m` `n` `p` `mstd` `mmax` `inc` `t` |
/// | `original`, `originalr`, `v0`, `v0r`, `3a` | timm's AutoAugment for ImageNet and 3-Augment: `mstd` |
/// | `augmix` | AugMix as in timm: `m` `w` `d` `a` `b` `mstd` |
/// | `cifar10` | torchvision's AutoAugment for CIFAR-10 |
/// | `trivial` | torchvision's TrivialAugmentWide |
#[derive(Debug, Clone, PartialEq)]
pub struct AutoAugment {
    text: String,
    policy: Policy,
}

/// What an [`AutoAugment`] does.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// RandAugment.
    Rand(RandAugment),
    /// AutoAugment with timm's policies.
    SubPolicies(SubPolicies),
    /// AugMix.
    AugMix(AugMix),
    /// torchvision's AutoAugment for CIFAR-10.
    Cifar10,
    /// torchvision's TrivialAugmentWide.
    Trivial,
}

/// All names.
fn names() -> impl Iterator<Item = &'static str> {
    [
        rand_augment::NAME,
        augmix::NAME,
        vision::TRIVIAL,
        vision::CIFAR10,
    ]
    .into_iter()
    .chain(sub_policies::NAMES)
}

impl AutoAugment {
    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the policy has operations of 3-Augment, which timm combines with colour jitter.
    pub fn is_three_augment(&self) -> bool {
        self.text.contains("3a")
    }

    /// Draws operations for `image` and applies them.
    pub(in crate::data::augment) fn apply(
        &self,
        image: &mut Image,
        fill: [u8; 3],
        draw: &mut Draw,
    ) {
        let setting = Setting {
            size: (image.height(), image.width()),
            fill,
        };
        let ops = match &self.policy {
            Policy::Rand(policy) => policy.draw(&setting, draw),
            Policy::SubPolicies(policy) => policy.draw(&setting, draw),
            Policy::AugMix(policy) => return policy.draw(&setting, draw).apply(image),
            Policy::Cifar10 => vision::draw_cifar10(&setting, draw),
            Policy::Trivial => vision::draw_trivial(&setting, draw),
        };
        for op in ops {
            op.apply(image);
        }
    }
}

impl FromStr for AutoAugment {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let (given, parameters) = match text.split_once('-') {
            Some((name, parameters)) => (name, Some(parameters)),
            None => (text, None),
        };
        let Some(name) = names().find(|name| *name == given) else {
            return Err(PolicyError::Unknown {
                name: given.to_owned(),
                suggestion: suggest(given, names()),
                known: names().collect::<Vec<_>>().join(", "),
            });
        };
        let policy = match name {
            rand_augment::NAME => Policy::Rand(RandAugment::parse(parameters)?),
            augmix::NAME => Policy::AugMix(AugMix::parse(parameters)?),
            vision::CIFAR10 => {
                vision::parse(name, parameters)?;
                Policy::Cifar10
            }
            vision::TRIVIAL => {
                vision::parse(name, parameters)?;
                Policy::Trivial
            }
            _ => Policy::SubPolicies(SubPolicies::parse(name, parameters)?),
        };
        Ok(Self {
            text: text.to_owned(),
            policy,
        })
    }
}

impl fmt::Display for AutoAugment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

serde_as_text!(AutoAugment);
