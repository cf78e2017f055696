//! Pixel augmentations compared with Pillow, timm and torchvision (tests/reference/augment.py).

use std::collections::BTreeMap;

use candle_mish::data::augment::{
    AutoAugment, CIFAR10_POLICY, Entry, Level, Mix, Op, OpKind, Policy, Resampling, Sampling,
    Setting, Spread, TRIVIAL_OPS, VisionOp, VisionSpace,
};
use candle_mish::data::{
    Augmentation, Batch, ColorJitter, Image, ImageSet, Loader, LoaderConfig, PixelAugmentation,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Reference {
    images: Vec<(String, usize, usize, usize)>,
    small: usize,
    fill: [u8; 3],
    operations: Vec<Operation>,
    levels: Levels,
    policies: Vec<ReferencePolicy>,
    vision: Vision,
    replays: Vec<Replay>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(flatten)]
    op: ReferenceOp,
    crc32: Vec<Option<u32>>,
    small: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ReferenceOp {
    op: String,
    value: f64,
    resampling: Option<String>,
    fill: Option<[u8; 3]>,
}

#[derive(Deserialize)]
struct Levels {
    levels: Vec<f64>,
    /// Width and height.
    size: (usize, usize),
    share: f64,
    /// For each operation, the arguments in the positive and in the negative direction.
    arguments: BTreeMap<String, [Vec<f64>; 2]>,
}

#[derive(Deserialize)]
struct ReferencePolicy {
    text: String,
    #[serde(default)]
    entries: Vec<(String, f64, f64)>,
    #[serde(default)]
    policies: Vec<Vec<(String, f64, f64)>>,
    spread: Value,
    layers: Option<usize>,
    weights: Option<Vec<f64>>,
    max: Option<f64>,
    alpha: Option<f64>,
    width: Option<usize>,
    depth: Option<i64>,
    blended: Option<bool>,
}

#[derive(Deserialize)]
struct Vision {
    size: (usize, usize),
    magnitudes: BTreeMap<String, BTreeMap<String, Option<Vec<f64>>>>,
    signed: BTreeMap<String, bool>,
    cifar10: Vec<[(String, f64, Option<usize>); 2]>,
}

#[derive(Deserialize)]
struct Replay {
    text: String,
    image: usize,
    ops: Vec<ReferenceOp>,
    #[serde(default)]
    chains: Vec<Vec<ReferenceOp>>,
    #[serde(default)]
    weights: Vec<f32>,
    #[serde(default)]
    share: f32,
    #[serde(default)]
    blended: bool,
    crc32: u32,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/augment.json")).unwrap()
}

/// Bytes of SplitMix64.
fn noise(at: usize) -> usize {
    let z = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 56) as usize
}

/// An image of the reference script.
fn image((kind, channels, height, width): &(String, usize, usize, usize)) -> Image {
    let mut pixels = Vec::with_capacity(channels * height * width);
    for c in 0..*channels {
        for y in 0..*height {
            for x in 0..*width {
                let noise = noise(pixels.len());
                let value = match kind.as_str() {
                    "scene" => {
                        let slope = (7 * x + 5 * y + 60 * c) / 4 % 256;
                        let edge = (x / 9 + y / 7) % 2 * 255;
                        [slope, noise / 2 + 64, edge][(x / 11 + y / 8) % 3]
                    }
                    "noise" => noise,
                    "flat" => 37 + 80 * c,
                    "two" if (x + y + c) % 3 == 0 => 40,
                    "two" => 90,
                    _ => noise / 8 + 20,
                };
                pixels.push(value as u8);
            }
        }
    }
    if *channels == 1 {
        // The luma of equal channels is their value.
        let image = Image::new(pixels.repeat(3), *height, *width);
        return image.unwrap().into_grey();
    }
    Image::new(pixels, *height, *width).unwrap()
}

fn crc32(image: &Image) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(image.pixels());
    crc.sum()
}

impl ReferenceOp {
    fn op(&self, fill: [u8; 3]) -> Op {
        let value = self.value;
        let sampling = || Sampling {
            resampling: match self.resampling.as_deref() {
                Some("nearest") => Resampling::Nearest,
                Some("bilinear") => Resampling::Bilinear,
                Some("bicubic") => Resampling::Bicubic,
                other => panic!("{other:?}"),
            },
            fill: self.fill.unwrap_or(fill),
        };
        match self.op.as_str() {
            "AutoContrast" => Op::AutoContrast,
            "Equalize" => Op::Equalize,
            "Invert" => Op::Invert,
            "Posterize" => Op::Posterize(value as i32),
            "Solarize" => Op::Solarize(value),
            "SolarizeAdd" => Op::SolarizeAdd(value as u8),
            "Brightness" => Op::Brightness(value as f32),
            "Contrast" => Op::Contrast(value as f32),
            "Color" => Op::Color(value as f32),
            "Sharpness" => Op::Sharpness(value as f32),
            "Hue" => Op::Hue(value),
            "GaussianBlur" => Op::GaussianBlur(value as f32),
            "KernelBlur" => Op::KernelBlur(value as f32),
            "Rotate" => Op::Rotate(value, sampling()),
            "ShearX" => Op::ShearX(value, sampling()),
            "ShearY" => Op::ShearY(value, sampling()),
            "TranslateX" => Op::TranslateX(value, sampling()),
            "TranslateY" => Op::TranslateY(value, sampling()),
            "VerticalFlip" => Op::VerticalFlip,
            other => panic!("{other}"),
        }
    }
}

/// The name and the parameter of an operation.
fn parts(op: Op) -> (String, f64) {
    let value = match op {
        Op::AutoContrast | Op::Equalize | Op::Invert | Op::VerticalFlip => 0.0,
        Op::Posterize(bits) => f64::from(bits),
        Op::SolarizeAdd(amount) => f64::from(amount),
        Op::Brightness(x)
        | Op::Contrast(x)
        | Op::Color(x)
        | Op::Sharpness(x)
        | Op::GaussianBlur(x)
        | Op::KernelBlur(x) => f64::from(x),
        Op::Solarize(x)
        | Op::Hue(x)
        | Op::Rotate(x, _)
        | Op::ShearX(x, _)
        | Op::ShearY(x, _)
        | Op::TranslateX(x, _)
        | Op::TranslateY(x, _) => x,
    };
    let text = format!("{op:?}");
    let name = text.split('(').next().unwrap().to_owned();
    (name, value)
}

#[test]
fn operations_equal_those_of_pillow_to_the_byte() {
    let reference = reference();
    let images: Vec<Image> = reference.images.iter().map(image).collect();
    let (mut compared, mut shown) = (0, 0);
    for case in &reference.operations {
        let op = case.op.op(reference.fill);
        for (at, (image, want)) in images.iter().zip(&case.crc32).enumerate() {
            let mut image = image.clone();
            op.apply(&mut image);
            if let (Some(bytes), true) = (&case.small, at == reference.small) {
                let found: String = image.pixels().iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(found, *bytes, "{op:?}");
                shown += 1;
            }
            if let Some(want) = want {
                assert_eq!(crc32(&image), *want, "{op:?} on {:?}", reference.images[at]);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 2176);
    assert!(shown > 25, "{shown} images shown");
}

/// All kinds; the match finds a missing one.
fn kinds() -> Vec<OpKind> {
    use OpKind as K;
    let kinds = vec![
        K::AutoContrast,
        K::Equalize,
        K::Invert,
        K::Rotate,
        K::Posterize,
        K::PosterizeIncreasing,
        K::PosterizeOriginal,
        K::Solarize,
        K::SolarizeIncreasing,
        K::SolarizeAdd,
        K::Color,
        K::ColorIncreasing,
        K::Contrast,
        K::ContrastIncreasing,
        K::Brightness,
        K::BrightnessIncreasing,
        K::Sharpness,
        K::SharpnessIncreasing,
        K::ShearX,
        K::ShearY,
        K::TranslateXRel,
        K::TranslateYRel,
        K::Desaturate,
        K::GaussianBlur,
        K::GaussianBlurRand,
    ];
    kinds
}

#[test]
fn magnitudes_give_the_parameters_of_timm() {
    let levels = reference().levels;
    let kinds = kinds();
    assert_eq!(kinds.len(), levels.arguments.len());
    let setting = Setting {
        size: (levels.size.1, levels.size.0),
        fill: [0; 3],
    };
    for kind in kinds {
        let arguments = &levels.arguments[&format!("{kind:?}")];
        for (negative, arguments) in [false, true].into_iter().zip(arguments) {
            for (magnitude, want) in levels.levels.iter().zip(arguments) {
                let level = Level {
                    magnitude: *magnitude,
                    negative,
                    share: levels.share,
                    resampling: Resampling::Bicubic,
                };
                let (name, found) = parts(kind.op(&level, 0.45, &setting));
                // Enhancements have f32 parameters. The JSON parser may be off by a bit.
                let close = |want: f64| (found - want).abs() <= 1e-15 * want.abs();
                let same = close(*want) || found == f64::from(*want as f32);
                assert!(same, "{kind:?} at {level:?}: {name} {found}, not {want}");
            }
        }
    }
}

fn same_entries(found: &[Entry], want: &[(String, f64, f64)], text: &str) {
    let found: Vec<_> = found
        .iter()
        .map(|e| (format!("{:?}", e.kind), e.probability, e.magnitude))
        .collect();
    assert_eq!(found, want, "{text}");
}

#[test]
fn policies_are_those_of_timm() {
    let policies = reference().policies;
    assert_eq!(policies.len(), 15);
    for want in policies {
        let text = &want.text;
        let policy: AutoAugment = text.parse().unwrap();
        assert_eq!(policy.to_string(), *text);
        let spread = match &want.spread {
            Value::String(_) => Spread::Uniform,
            number if number.as_f64() == Some(0.0) => Spread::None,
            number => Spread::Normal(number.as_f64().unwrap()),
        };
        match policy.policy() {
            Policy::Rand(policy) => {
                same_entries(&policy.entries, &want.entries, text);
                assert_eq!(Some(policy.layers), want.layers, "{text}");
                assert_eq!(Some(policy.max), want.max, "{text}");
                assert_eq!(policy.spread, spread, "{text}");
                assert_eq!(policy.weights.is_some(), want.weights.is_some(), "{text}");
                let pairs = policy.weights.iter().flatten();
                for (found, want) in pairs.zip(want.weights.iter().flatten()) {
                    assert!((found - want).abs() < 1e-15, "{text}");
                }
            }
            Policy::SubPolicies(policy) => {
                assert_eq!(policy.policies.len(), want.policies.len(), "{text}");
                for (found, want) in policy.policies.iter().zip(&want.policies) {
                    same_entries(found, want, text);
                }
                assert_eq!(policy.spread, spread, "{text}");
            }
            Policy::AugMix(policy) => {
                same_entries(&policy.entries, &want.entries, text);
                assert_eq!(Some(policy.alpha), want.alpha, "{text}");
                assert_eq!(Some(policy.width), want.width, "{text}");
                let depth = policy.depth.map_or(-1, |depth| depth as i64);
                assert_eq!(Some(depth), want.depth, "{text}");
                assert_eq!(Some(policy.blended), want.blended, "{text}");
                assert_eq!(policy.spread, spread, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn policies_of_torchvision_have_its_magnitudes() {
    let want = reference().vision;
    let mut ops = TRIVIAL_OPS.to_vec();
    ops.push(VisionOp::Invert);
    let (mut compared, (height, width)) = (0, want.size);
    for (name, space) in [("auto", VisionSpace::AUTO), ("wide", VisionSpace::WIDE)] {
        let magnitudes = &want.magnitudes[name];
        for op in &ops {
            let Some(magnitudes) = magnitudes.get(&format!("{op:?}")) else {
                continue;
            };
            let bins = magnitudes.as_ref().map_or(0, Vec::len);
            assert!(bins == 0 || bins == space.bins, "{op:?}");
            for bin in 0..bins {
                let found = space.magnitude(*op, bin, (height, width)).unwrap();
                let want = magnitudes.as_ref().unwrap()[bin];
                assert_eq!(found, want as f32, "{name} {op:?} {bin}");
                compared += 1;
            }
            if bins == 0 {
                assert_eq!(space.magnitude(*op, 0, (height, width)), None);
            }
            let signed = want.signed.get(&format!("{op:?}")).is_some_and(|s| *s);
            let directions = [false, true].map(|sign| space.op(*op, 3, sign, (height, width)));
            assert_eq!(directions[0] != directions[1], signed, "{op:?}");
        }
    }
    assert_eq!(compared, 11 * (10 + 31));
    assert_eq!(CIFAR10_POLICY.len(), want.cifar10.len());
    for (found, want) in CIFAR10_POLICY.iter().zip(&want.cifar10) {
        for ((op, probability, bin), want) in found.iter().zip(want) {
            let found = (format!("{op:?}"), *probability, *bin);
            assert_eq!(found, (want.0.clone(), want.1, want.2.unwrap_or(0)));
        }
    }
    let names: Vec<String> = TRIVIAL_OPS.iter().map(|op| format!("{op:?}")).collect();
    assert_eq!(names.len(), want.magnitudes["wide"].len());
    assert!(
        names
            .iter()
            .all(|op| want.magnitudes["wide"].contains_key(op))
    );
}

#[test]
fn policies_with_the_same_draws_give_the_bytes_of_timm_and_torchvision() {
    let reference = reference();
    assert_eq!(reference.replays.len(), 15 * 3 + 24 + 6);
    let mut applied = 0;
    for replay in &reference.replays {
        let mut image = image(&reference.images[replay.image]);
        let list = |ops: &[ReferenceOp]| -> Vec<Op> {
            ops.iter().map(|op| op.op(reference.fill)).collect()
        };
        for op in list(&replay.ops) {
            op.apply(&mut image);
            applied += 1;
        }
        if !replay.chains.is_empty() {
            let mix = Mix {
                weights: replay.weights.clone(),
                share: replay.share,
                blended: replay.blended,
                chains: replay.chains.iter().map(|ops| list(ops)).collect(),
            };
            mix.apply(&mut image);
        }
        let what = format!(
            "{} on image {}: {:?}",
            replay.text, replay.image, replay.ops
        );
        assert_eq!(crc32(&image), replay.crc32, "{what}");
    }
    assert!(applied > 90, "{applied} operations");
}

#[test]
fn wrong_policies_are_refused_with_what_exists() {
    let message = |text: &str| text.parse::<AutoAugment>().unwrap_err().to_string();
    let unknown = message("rnd-m9");
    assert_eq!(
        unknown,
        "unknown augmentation policy 'rnd', did you mean 'rand'?; expected one of rand, augmix, \
         trivial, cifar10, original, originalr, v0, v0r, 3a"
    );
    for (text, part) in [
        ("", "unknown augmentation policy ''"),
        ("imagenet", "expected one of rand"),
        (
            "rand-x3",
            "rand has no parameter 'x3'; it takes m (magnitude",
        ),
        ("rand-", "no parameter ''"),
        ("rand-m9-m7", "m is given twice"),
        (
            "rand-m9.5",
            "m is '9.5', must be a whole number from 0 to 100",
        ),
        ("rand-m-1", "rand has no parameter '1'"),
        ("rand-n0", "n is '0', must be a whole number from 1 to 100"),
        ("rand-t3aw-n15", "from 1 to 14"),
        ("rand-p1.5", "p is '1.5', must be a number from 0 to 1"),
        ("rand-mstdnan", "mstd is 'nan'"),
        ("rand-mmax0", "mmax is '0'"),
        (
            "rand-inc2",
            "inc is '2', must be a whole number from 0 to 1",
        ),
        ("rand-tall", "t is 'all', must be 3a, 3aw or weights"),
        ("v0-m3", "v0 has no parameter 'm3'; it takes mstd"),
        ("augmix-w0", "w is '0'"),
        (
            "augmix-d-1",
            "d (operations in a chain, random 1 to 3 if left out)",
        ),
        ("augmix-a0", "a is '0', must be a number from 0.01 to 100"),
        ("trivial-m9", "trivial has no parameter 'm9'; it takes none"),
        ("cifar10-mstd1", "it takes none"),
    ] {
        let message = message(text);
        assert!(message.contains(part), "{text}: {message}");
        assert!(!message.contains('\n'));
    }
}

fn loader(pixels: PixelAugmentation, grey: bool) -> Loader {
    let bytes = (0..40 * 3 * 16 * 16).map(|i| noise(i) as u8).collect();
    let set = ImageSet::new(bytes, 16, 16, (0..40).collect(), None).unwrap();
    let set = if grey { set.grey() } else { set };
    let augmentation = Augmentation {
        pixels,
        ..Augmentation::default()
    };
    let config = LoaderConfig {
        augmentation,
        seed: 3,
        ..LoaderConfig::in_order(8, [0.5; 3], [0.25; 3]).shuffled()
    };
    Loader::new(set, config)
}

fn values(batch: &Batch) -> Vec<f32> {
    batch.images.flatten_all().unwrap().to_vec1().unwrap()
}

fn epoch(loader: &Loader, epoch: u64, first: usize) -> Vec<(Vec<u32>, Vec<f32>)> {
    let batches = loader.epoch(epoch, first).map(|batch| batch.unwrap());
    let pairs = batches.map(|batch| (batch.labels.to_vec1().unwrap(), values(&batch)));
    pairs.collect()
}

/// Every augmentation at once.
fn all(policy: &str) -> PixelAugmentation {
    PixelAugmentation {
        vflip: 0.5,
        degrees: 20.0,
        auto_augment: Some(policy.parse().unwrap()),
        color_jitter: ColorJitter::from_values(&[0.4, 0.4, 0.4, 0.1]).ok(),
        color_jitter_prob: Some(0.8),
        grayscale_prob: 0.2,
        gaussian_blur_prob: 0.3,
    }
}

#[test]
fn batches_depend_only_on_seed_epoch_and_position() {
    for (policy, grey) in [
        ("rand-m9-mstd0.5-inc1", false),
        ("augmix", true),
        ("trivial", false),
        ("cifar10", true),
        ("3a", false),
    ] {
        let loader = loader(all(policy), grey);
        let whole = epoch(&loader, 2, 0);
        assert_eq!(epoch(&loader, 2, 3), whole[3..], "{policy}");
        assert_ne!(epoch(&loader, 3, 0)[0].1, whole[0].1, "{policy}");
        let finite = whole.iter().flat_map(|(_, values)| values);
        assert!(finite.copied().all(f32::is_finite), "{policy}");
    }
}

#[test]
fn pixel_augmentations_keep_the_order_and_the_crops() {
    let plain = epoch(&loader(PixelAugmentation::default(), false), 1, 0);
    let flipped = PixelAugmentation {
        vflip: 1.0,
        ..PixelAugmentation::default()
    };
    for ((labels, values), (same, flipped)) in
        plain.iter().zip(epoch(&loader(flipped, false), 1, 0))
    {
        assert_eq!(*labels, same);
        for (plane, flipped) in values.chunks(256).zip(flipped.chunks(256)) {
            let rows: Vec<f32> = plane.chunks(16).rev().flatten().copied().collect();
            assert_eq!(rows, flipped);
        }
    }
}
