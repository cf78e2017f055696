//! What policies draw, and how often.

use std::collections::BTreeMap;

use super::augmix::{AugMix, Mix};
use super::auto_augment::{AutoAugment, Policy};
use super::level::Setting;
use super::rand_augment::RandAugment;
use super::vision;
use crate::data::augment::affine::Resampling;
use crate::data::augment::op::Op;
use crate::data::random::Draw;

const IMAGES: u64 = 4000;

fn setting() -> Setting {
    Setting {
        size: (32, 32),
        fill: [9; 3],
    }
}

/// The lists of operations of many images.
fn lists(ops: impl Fn(&Setting, &mut Draw) -> Vec<Op>) -> Vec<Vec<Op>> {
    let draws = (0..IMAGES).map(|i| ops(&setting(), &mut Draw::new(&[17, i])));
    draws.collect()
}

fn rand(text: &str) -> RandAugment {
    match text.parse::<AutoAugment>().unwrap().policy() {
        Policy::Rand(policy) => policy.clone(),
        other => panic!("{other:?}"),
    }
}

fn rand_lists(text: &str) -> Vec<Vec<Op>> {
    let policy = rand(text);
    lists(|setting, draw| policy.draw(setting, draw))
}

fn name(op: &Op) -> String {
    let text = format!("{op:?}");
    text.split('(').next().unwrap_or_default().to_owned()
}

/// How often each operation occurs.
fn counts<'a>(ops: impl IntoIterator<Item = &'a Op>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for op in ops {
        *counts.entry(name(op)).or_insert(0) += 1;
    }
    counts
}

/// Whether `count` of `total` draws has the given probability, within 5 standard errors.
fn likely(count: usize, total: usize, probability: f64) -> bool {
    let (total, mean) = (total as f64, total as f64 * probability);
    (count as f64 - mean).abs() < 5.0 * (total * probability * (1.0 - probability)).sqrt()
}

#[test]
fn rand_augment_draws_each_operation_equally_often() {
    let lists = rand_lists("rand-n3-p0.25");
    let ops: Vec<&Op> = lists.iter().flatten().collect();
    let chosen = 3 * IMAGES as usize;
    assert!(likely(ops.len(), chosen, 0.25), "{}", ops.len());
    let counts = counts(ops.iter().copied());
    assert_eq!(counts.len(), 15);
    for (op, count) in counts {
        assert!(likely(count, ops.len(), 1.0 / 15.0), "{op} {count}");
    }
    let affine = ops.iter().filter_map(|op| match op {
        Op::Rotate(x, s) | Op::ShearX(x, s) | Op::ShearY(x, s) => Some((x, s)),
        Op::TranslateX(x, s) | Op::TranslateY(x, s) => Some((x, s)),
        _ => None,
    });
    let affine: Vec<_> = affine.collect();
    let negative = affine.iter().filter(|(x, _)| **x < 0.0).count();
    let bilinear = affine
        .iter()
        .filter(|(_, s)| s.resampling == Resampling::Bilinear);
    assert!(likely(negative, affine.len(), 0.5));
    assert!(likely(bilinear.count(), affine.len(), 0.5));
    assert!(affine.iter().all(|(_, s)| s.fill == [9; 3]));
    assert!(
        affine
            .iter()
            .all(|(_, s)| s.resampling != Resampling::Nearest)
    );
}

#[test]
fn weighted_operations_are_drawn_without_repetition() {
    let all = rand_lists("rand-n14-p1-t3aw");
    for list in &all {
        // Three operations of the set differ only in their direction, so their kinds are distinct.
        assert_eq!(counts(list).len(), list.len() - repeated_colour(list));
    }
    let policy = rand("rand-n1-p1-t3aw");
    let lists = lists(|setting, draw| policy.draw(setting, draw));
    let counts = counts(lists.iter().flatten());
    for (op, weight) in [
        ("Solarize", 6.0),
        ("GaussianBlur", 6.0),
        ("Rotate", 3.0),
        ("Invert", 1.0),
    ] {
        assert!(likely(counts[op], IMAGES as usize, weight / 33.0), "{op}");
    }
}

/// `Desaturate` and `ColorIncreasing` both give [`Op::Color`].
fn repeated_colour(list: &[Op]) -> usize {
    let colours = list.iter().filter(|op| matches!(op, Op::Color(_)));
    colours.count().saturating_sub(1)
}

/// The magnitudes of a policy's rotations.
fn magnitudes(text: &str) -> Vec<f64> {
    let rotations = rand_lists(text).into_iter().flatten();
    let magnitudes = rotations.filter_map(|op| match op {
        Op::Rotate(degrees, _) => Some(degrees.abs() / 3.0),
        _ => None,
    });
    magnitudes.collect()
}

fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (mean, (squares / values.len() as f64).sqrt())
}

#[test]
fn magnitudes_spread_as_asked() {
    let fixed = magnitudes("rand-m9-n3-p1");
    assert!(fixed.iter().all(|m| (m - 9.0).abs() < 1e-9));
    let normal = magnitudes("rand-m5-mstd1-n3-p1");
    let (mean, std) = mean_and_std(&normal);
    assert!((mean - 5.0).abs() < 0.15 && (std - 1.0).abs() < 0.12);
    let uniform = magnitudes("rand-m8-mstd101-n3-p1");
    let (mean, std) = mean_and_std(&uniform);
    assert!((mean - 4.0).abs() < 0.4 && (std - 8.0 / 12f64.sqrt()).abs() < 0.25);
    // Larger magnitudes are cut at 10, or at `mmax`.
    let cut = magnitudes("rand-m15-n3-p1");
    assert!(cut.iter().all(|m| (m - 10.0).abs() < 1e-9));
    let larger = magnitudes("rand-m15-mmax20-n3-p1");
    assert!(larger.iter().all(|m| (m - 15.0).abs() < 1e-9));
}

#[test]
fn sub_policies_are_equally_likely_and_keep_their_probabilities() {
    let Policy::SubPolicies(policy) = "original".parse::<AutoAugment>().unwrap().policy().clone()
    else {
        panic!("another policy");
    };
    let lists = lists(|setting, draw| policy.draw(setting, draw));
    let expected: f64 = policy
        .policies
        .iter()
        .flatten()
        .map(|e| e.probability)
        .sum();
    let ops = lists.iter().map(Vec::len).sum::<usize>();
    assert!(likely(ops, 2 * IMAGES as usize, expected / 50.0), "{ops}");
    // ShearX is in one sub-policy, with probability 0.6.
    let counts = counts(lists.iter().flatten());
    assert!(likely(counts["ShearX"], IMAGES as usize, 0.6 / 25.0));
    assert!(likely(counts["Sharpness"], IMAGES as usize, 0.4 / 25.0));
}

#[test]
fn policies_of_torchvision_draw_as_it_does() {
    let trivial = lists(vision::draw_trivial);
    let counts_of = counts(trivial.iter().flatten());
    assert!(trivial.iter().all(|ops| ops.len() <= 1));
    let none = trivial.iter().filter(|ops| ops.is_empty()).count();
    assert!(likely(none, IMAGES as usize, 1.0 / 14.0), "{none}");
    assert_eq!(counts_of.len(), 13);
    for (op, count) in &counts_of {
        assert!(likely(*count, IMAGES as usize, 1.0 / 14.0), "{op} {count}");
    }
    let cifar = lists(vision::draw_cifar10);
    let expected: f64 = vision::CIFAR10_POLICY.iter().flatten().map(|r| r.1).sum();
    let ops = cifar.iter().map(Vec::len).sum::<usize>();
    assert!(likely(ops, 2 * IMAGES as usize, expected / 50.0), "{ops}");
    let counts = counts(cifar.iter().flatten());
    assert!(likely(counts["Rotate"], IMAGES as usize, 0.7 / 25.0));
    assert!(!counts.contains_key("ShearX"));
}

fn mixes(text: &str) -> Vec<Mix> {
    let policy: AugMix = match text.parse::<AutoAugment>().unwrap().policy() {
        Policy::AugMix(policy) => policy.clone(),
        other => panic!("{other:?}"),
    };
    let draws = (0..IMAGES).map(|i| policy.draw(&setting(), &mut Draw::new(&[23, i])));
    draws.collect()
}

#[test]
fn augmix_draws_weights_shares_and_chains() {
    let made = mixes("augmix");
    let close = |mix: &Mix| (mix.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5;
    assert!(made.iter().all(|mix| mix.weights.len() == 3 && close(mix)));
    // Dirichlet(1, 1, 1) and the uniform distribution.
    let weights: Vec<f64> = made.iter().map(|mix| f64::from(mix.weights[0])).collect();
    let (mean, std) = mean_and_std(&weights);
    assert!((mean - 1.0 / 3.0).abs() < 0.02 && (std - 18f64.sqrt().recip()).abs() < 0.01);
    let shares: Vec<f64> = made.iter().map(|mix| f64::from(mix.share)).collect();
    let (mean, std) = mean_and_std(&shares);
    assert!((mean - 0.5).abs() < 0.025 && (std - 12f64.sqrt().recip()).abs() < 0.01);
    let depths: Vec<usize> = made.iter().flat_map(|m| &m.chains).map(Vec::len).collect();
    for depth in 1..=3 {
        let count = depths.iter().filter(|d| **d == depth).count();
        assert!(likely(count, depths.len(), 1.0 / 3.0), "{depth}");
    }
    let fixed = mixes("augmix-w2-d4-a0.01");
    for mix in &fixed {
        assert!(mix.chains.len() == 2 && mix.chains.iter().all(|chain| chain.len() == 4));
        assert!(close(mix) && (0.0..=1.0).contains(&mix.share));
    }
}
