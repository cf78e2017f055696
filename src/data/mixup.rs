//! Mixup and CutMix of a batch, as timm's `Mixup` does them.
//!
//! An image is mixed with the one at the mirrored place of the batch: the first with the last, the
//! second with the last but one. Each mix is drawn first and then applied to images and labels.

use candle_core::{Device, Result, Tensor, bail};
use rand_distr::Beta;
use serde::{Deserialize, Serialize};

use super::part::Part;
use super::random::Draw;

/// The images that share a draw of mixup or CutMix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MixupMode {
    /// All images of a batch.
    #[default]
    Batch,
    /// The two images of a pair.
    Pair,
    /// None: each image has a draw of its own.
    Elem,
}

/// Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019), with timm's names.
///
/// Mixup adds `1 - lam` times another image to `lam` times an image, CutMix copies a rectangle of the
/// other image that covers `1 - lam` of the area. The labels are mixed in the same proportions. `lam`
/// is drawn from a Beta distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixup {
    /// Both parameters of the Beta distribution for mixup; 0 does no mixup.
    pub mixup_alpha: f64,
    /// Both parameters of the Beta distribution for CutMix; 0 does no CutMix, unless there is
    /// `cutmix_minmax`.
    pub cutmix_alpha: f64,
    /// The smallest and largest height and width of CutMix's rectangle, as fractions of the image's.
    /// The rectangle is then drawn from these instead of `lam`.
    pub cutmix_minmax: Option<[f64; 2]>,
    /// The probability of a mix.
    pub prob: f64,
    /// The probability of CutMix instead of mixup if both are on.
    pub switch_prob: f64,
    /// The images that share a draw.
    pub mode: MixupMode,
    /// The first epoch without mixing, counted from 0.
    pub off_epoch: Option<u64>,
    /// The number of classes K of the mixed labels.
    pub num_classes: usize,
}

/// How an image is mixed with the other one of its pair.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mix {
    /// The proportion of the image's own label.
    lam: f64,
    /// The part that is copied from the other image. Without it the pixels are added.
    cut: Option<Part>,
}

impl Mix {
    /// The image as it is.
    const NONE: Self = Self {
        lam: 1.0,
        cut: None,
    };

    /// CutMix of `part` of an image: `lam` is the rest of the area.
    fn cut(part: Part, (height, width): (usize, usize)) -> Self {
        Self {
            lam: 1.0 - part.area() as f64 / (height * width).max(1) as f64,
            cut: Some(part),
        }
    }
}

impl Mixup {
    /// Whether an epoch has mixed batches.
    pub(super) fn mixes(&self, epoch: u64) -> bool {
        self.off_epoch.is_none_or(|off| epoch < off)
    }

    /// Mixes `images`, each `[channels, height, width]`, and returns their mixed labels `[B, K]`.
    /// `draw` gives the generator of an image by its place in the batch.
    ///
    /// # Errors
    /// If a parameter is out of range or a label is not below `num_classes`.
    pub(super) fn apply(
        &self,
        images: &mut [f32],
        labels: &[u32],
        channels: usize,
        size: (usize, usize),
        draw: impl Fn(usize) -> Draw,
    ) -> Result<Tensor> {
        let mixes = spread(self.mode, labels.len(), |place| {
            self.mix(size, &mut draw(place))
        })?;
        mix_images(images, channels, size, &mixes);
        let targets = mix_labels(labels, &mixes, self.num_classes)?;
        Tensor::from_vec(targets, (labels.len(), self.num_classes), &Device::Cpu)
    }

    fn mix(&self, size: (usize, usize), draw: &mut Draw) -> Result<Mix> {
        if !draw.chance(self.prob) {
            return Ok(Mix::NONE);
        }
        let cutmix_alpha = match self.cutmix_minmax {
            Some(_) => 1.0,
            None => self.cutmix_alpha,
        };
        let cuts = match (self.mixup_alpha > 0.0, cutmix_alpha > 0.0) {
            (true, true) => draw.chance(self.switch_prob),
            (_, cutmix) => cutmix,
        };
        let alpha = if cuts { cutmix_alpha } else { self.mixup_alpha };
        let Ok(beta) = Beta::new(alpha, alpha) else {
            bail!("mixup_alpha is {alpha}, must be a positive number");
        };
        let lam: f64 = draw.sample(&beta);
        Ok(match (cuts, self.cutmix_minmax) {
            (false, _) => Mix { lam, cut: None },
            (true, None) => {
                let centre = (draw.below(size.0), draw.below(size.1));
                Mix::cut(rectangle(lam, centre, size), size)
            }
            (true, Some(minmax)) => Mix::cut(rectangle_between(minmax, size, draw), size),
        })
    }
}

/// The mix of each of `count` images, from those that `one` gives for the places that `mode` draws for.
fn spread(
    mode: MixupMode,
    count: usize,
    mut one: impl FnMut(usize) -> Result<Mix>,
) -> Result<Vec<Mix>> {
    match mode {
        MixupMode::Batch => Ok(vec![one(0)?; count]),
        MixupMode::Elem => (0..count).map(one).collect(),
        MixupMode::Pair => {
            let pairs: Vec<Mix> = (0..count / 2).map(one).collect::<Result<_>>()?;
            let middle = (count % 2 == 1).then_some(Mix::NONE);
            let second = pairs.iter().rev().copied();
            Ok(pairs.iter().copied().chain(middle).chain(second).collect())
        }
    }
}

/// The rectangle of `1 - lam` of the area around `centre`, without what is outside the image.
fn rectangle(lam: f64, centre: (usize, usize), (height, width): (usize, usize)) -> Part {
    let ratio = (1.0 - lam).sqrt();
    let range = |centre: usize, length: usize| {
        let cut = (length as f64 * ratio) as usize;
        centre.saturating_sub(cut / 2)..(centre + cut.div_ceil(2)).min(length)
    };
    Part::of(range(centre.0, height), range(centre.1, width))
}

/// A rectangle whose sides are drawn between two fractions of the image's.
fn rectangle_between(
    [low, high]: [f64; 2],
    (height, width): (usize, usize),
    draw: &mut Draw,
) -> Part {
    let mut side = |length: usize| {
        let (low, high) = (
            (length as f64 * low) as usize,
            (length as f64 * high) as usize,
        );
        (low + draw.below(high.saturating_sub(low))).min(length)
    };
    let sides = (side(height), side(width));
    Part {
        top: draw.below(height - sides.0 + 1),
        left: draw.below(width - sides.1 + 1),
        height: sides.0,
        width: sides.1,
    }
}

/// Mixes each image with the one at the mirrored place.
fn mix_images(images: &mut [f32], channels: usize, size: (usize, usize), mixes: &[Mix]) {
    let (count, pixels) = (mixes.len(), channels * size.0 * size.1);
    let (first, second) = images.split_at_mut(count / 2 * pixels);
    let first = first.chunks_exact_mut(pixels.max(1)).zip(mixes);
    let second = second.chunks_exact_mut(pixels.max(1)).rev();
    let mut original = vec![0.0; pixels];
    for ((image, mix), (other, back)) in first.zip(second.zip(mixes.iter().rev())) {
        original.copy_from_slice(image);
        blend(image, other, mix, channels, size);
        blend(other, &original, back, channels, size);
    }
}

/// Mixes `other` into `image`.
fn blend(image: &mut [f32], other: &[f32], mix: &Mix, channels: usize, size: (usize, usize)) {
    match mix.cut {
        Some(part) => {
            for line in part.lines(channels, size) {
                image[line.clone()].copy_from_slice(&other[line]);
            }
        }
        None if mix.lam < 1.0 => {
            let (own, rest) = (mix.lam as f32, (1.0 - mix.lam) as f32);
            for (value, other) in image.iter_mut().zip(other) {
                *value = *value * own + other * rest;
            }
        }
        None => {}
    }
}

/// The probabilities `[B, K]` of the classes, row by row.
fn mix_labels(labels: &[u32], mixes: &[Mix], classes: usize) -> Result<Vec<f32>> {
    if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
        bail!("label {label} is not below num_classes {classes} of mixup");
    }
    let mut targets = vec![0.0; labels.len() * classes];
    let rows = targets.chunks_exact_mut(classes.max(1));
    let pairs = labels.iter().zip(labels.iter().rev()).zip(mixes);
    for (row, ((label, other), mix)) in rows.zip(pairs) {
        row[*label as usize] += mix.lam as f32;
        row[*other as usize] += (1.0 - mix.lam) as f32;
    }
    Ok(targets)
}

#[cfg(test)]
mod tests;
