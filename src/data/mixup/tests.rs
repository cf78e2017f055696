use candle_core::{Device, Result, Tensor};
use serde::Deserialize;

use super::{Mix, Mixup, MixupMode, mix_images, mix_labels, rectangle, spread};
use crate::data::part::Part;
use crate::data::random::Draw;
use crate::ops::{CrossEntropy, Target, cross_entropy};

#[derive(Deserialize)]
struct Reference {
    mixup: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    mode: MixupMode,
    smoothing: f64,
    batch: usize,
    size: (usize, usize),
    classes: usize,
    channels: usize,
    labels: Vec<u32>,
    draws: Vec<Unit>,
    images: Vec<f32>,
    targets: Vec<f32>,
    loss: f64,
}

/// A draw of timm for a batch, a pair or an image.
#[derive(Deserialize)]
struct Unit {
    lam: f64,
    /// Centre row and column of the rectangle.
    centre: Option<(usize, usize)>,
    /// Its first and last row, first and last column.
    #[serde(rename = "box")]
    part: Option<[usize; 4]>,
}

impl Unit {
    fn mix(&self, size: (usize, usize)) -> Mix {
        let Some([top, bottom, left, right]) = self.part else {
            return Mix {
                lam: self.lam,
                cut: None,
            };
        };
        let part = Part::of(top..bottom, left..right);
        if let Some(centre) = self.centre {
            assert_eq!(rectangle(self.lam, centre, size), part, "lam {}", self.lam);
        }
        Mix::cut(part, size)
    }
}

/// The values of the reference script.
fn values(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((37 * i % 101) as f64 / 50.0 - 1.0) as f32)
        .collect()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(error <= 1e-6, "{what}: {found} {expected}");
    }
}

/// Images, mixed labels and the loss with label smoothing, given timm's draws.
#[test]
fn mixes_equal_those_of_timm() -> Result<()> {
    let reference = include_str!("../../../tests/reference/mixing.json");
    let reference: Reference = serde_json::from_str(reference).expect("the reference");
    assert_eq!(reference.mixup.len(), 20);
    for case in reference.mixup {
        let what = format!("{:?} of {}, {:?}", case.mode, case.batch, case.size);
        let mixes = spread(case.mode, case.batch, |i| Ok(case.draws[i].mix(case.size)))?;
        let pixels = case.channels * case.size.0 * case.size.1;
        let mut images = values(case.batch * pixels);
        mix_images(&mut images, case.channels, case.size, &mixes);
        assert_close(&images, &case.images, &what);
        let targets = mix_labels(&case.labels, &mixes, case.classes)?;
        // timm smooths the labels first.
        let spread = case.smoothing / case.classes as f64;
        let smoothed: Vec<f32> = targets
            .iter()
            .map(|p| (f64::from(*p) * (1.0 - case.smoothing) + spread) as f32)
            .collect();
        assert_close(&smoothed, &case.targets, &what);
        let shape = (case.batch, case.classes);
        let logits: Vec<f32> = values(shape.0 * shape.1).iter().map(|x| x * 3.0).collect();
        let logits = Tensor::from_vec(logits, shape, &Device::Cpu)?;
        let targets = Tensor::from_vec(targets, shape, &Device::Cpu)?;
        let options = CrossEntropy {
            label_smoothing: case.smoothing,
            ..CrossEntropy::default()
        };
        let loss = cross_entropy(&logits, &Target::Probabilities(&targets), &options)?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        assert!(
            (loss / case.loss - 1.0).abs() < 1e-6,
            "{what}: {loss} {}",
            case.loss
        );
    }
    Ok(())
}

fn mixup() -> Mixup {
    Mixup {
        mixup_alpha: 0.5,
        cutmix_alpha: 1.0,
        cutmix_minmax: None,
        prob: 0.75,
        switch_prob: 0.25,
        mode: MixupMode::Elem,
        off_epoch: None,
        num_classes: 3,
    }
}

/// Mean and variance of the Beta distributions, and how often each kind is drawn.
#[test]
fn draws_have_the_distributions_of_timm() -> Result<()> {
    const COUNT: usize = 40_000;
    let size = (32, 32);
    let mixes = |mixup: Mixup| -> Result<Vec<Mix>> {
        let mut draw = Draw::new(&[5]);
        (0..COUNT).map(|_| mixup.mix(size, &mut draw)).collect()
    };
    let drawn = mixes(mixup())?;
    let share = |count: usize| count as f64 / COUNT as f64;
    let none = share(drawn.iter().filter(|mix| **mix == Mix::NONE).count());
    let cut = share(drawn.iter().filter(|mix| mix.cut.is_some()).count());
    // Four standard errors are 0.009.
    assert!((none - 0.25).abs() < 0.01, "{none}");
    assert!((cut - 0.75 * 0.25).abs() < 0.01, "{cut}");
    for alpha in [1e-3, 0.2, 1.0, 30.0, 1e3] {
        let only = Mixup {
            mixup_alpha: alpha,
            cutmix_alpha: 0.0,
            prob: 1.0,
            ..mixup()
        };
        let lams: Vec<f64> = mixes(only)?.iter().map(|mix| mix.lam).collect();
        assert!(lams.iter().all(|lam| (0.0..=1.0).contains(lam)));
        let mean = lams.iter().sum::<f64>() / COUNT as f64;
        let variance = lams.iter().map(|lam| (lam - 0.5).powi(2)).sum::<f64>() / COUNT as f64;
        // Of a Beta distribution with both parameters alpha.
        let expected = 0.25 / (2.0 * alpha + 1.0);
        assert!((mean - 0.5).abs() < 0.01, "alpha {alpha}: {mean}");
        assert!(
            (variance / expected - 1.0).abs() < 0.03,
            "alpha {alpha}: {variance}"
        );
    }
    Ok(())
}

#[test]
fn rectangles_between_fractions_stay_inside() -> Result<()> {
    let mixup = Mixup {
        mixup_alpha: 0.0,
        cutmix_minmax: Some([0.2, 0.8]),
        prob: 1.0,
        ..mixup()
    };
    let size = (20, 30);
    let mut draw = Draw::new(&[6]);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2000 {
        let mix = mixup.mix(size, &mut draw)?;
        let part = mix.cut.expect("CutMix");
        assert!(part.top + part.height <= 20 && part.left + part.width <= 30);
        assert!((4..16).contains(&part.height) && (6..24).contains(&part.width));
        assert_eq!(mix.lam, 1.0 - part.area() as f64 / 600.0);
        seen.insert((part.height, part.width));
    }
    assert!(seen.len() > 200, "{}", seen.len());
    let tiny = mixup.mix((1, 1), &mut draw)?;
    assert_eq!(tiny.cut.map(|part| part.area()), Some(0));
    Ok(())
}

/// A mix of one size for a batch, mirrored mixes of pairs, and one for each image. The middle image of
/// an odd batch is its own partner.
#[test]
fn odd_batches_keep_their_middle_image() -> Result<()> {
    let mixes = |mode| {
        let mut lam = 0.0;
        spread(mode, 5, |_| {
            lam += 0.125;
            Ok(Mix { lam, cut: None })
        })
    };
    let lams = |mode| -> Result<Vec<f64>> { Ok(mixes(mode)?.iter().map(|mix| mix.lam).collect()) };
    assert_eq!(lams(MixupMode::Batch)?, [0.125; 5]);
    assert_eq!(lams(MixupMode::Pair)?, [0.125, 0.25, 1.0, 0.25, 0.125]);
    assert_eq!(lams(MixupMode::Elem)?, [0.125, 0.25, 0.375, 0.5, 0.625]);
    for mode in [MixupMode::Batch, MixupMode::Pair, MixupMode::Elem] {
        let mut images = values(5 * 2);
        mix_images(&mut images, 2, (1, 1), &mixes(mode)?);
        assert_eq!(images[4..6], values(10)[4..6]);
        let targets = mix_labels(&[0, 1, 2, 0, 1], &mixes(mode)?, 3)?;
        assert_eq!(targets[6..9], [0.0, 0.0, 1.0]);
        for row in targets.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
    Ok(())
}

#[test]
fn wrong_parameters_and_labels_are_errors() {
    let draw = |_| Draw::new(&[1]);
    let mut image = values(2);
    let mut apply = |mixup: Mixup, labels: &[u32]| {
        let mixed = mixup.apply(&mut image, labels, 1, (1, 1), draw);
        mixed.expect_err("an error").to_string()
    };
    let error = apply(mixup(), &[0, 7]);
    assert!(
        error.contains("label 7 is not below num_classes 3"),
        "{error}"
    );
    let off = Mixup {
        mixup_alpha: 0.0,
        cutmix_alpha: 0.0,
        prob: 1.0,
        ..mixup()
    };
    let error = apply(off, &[0, 1]);
    assert!(error.contains("mixup_alpha is 0"), "{error}");
}
