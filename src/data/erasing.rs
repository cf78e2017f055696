//! Rectangles of a normalised image that are replaced: random erasing and cutout.

use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::part::Part;
use super::random::Draw;

/// Attempts to draw a rectangle that fits.
const ATTEMPTS: usize = 10;
/// The smallest and largest fraction of the image's area to erase.
const AREA: [f64; 2] = [0.02, 1.0 / 3.0];
/// The smallest ratio of height to width; the largest is its reciprocal.
const ASPECT: f64 = 0.3;

/// The values that replace an erased rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraseMode {
    /// 0, the mean of the data set.
    Const,
    /// A normal value for each channel.
    Rand,
    /// A normal value for each pixel and channel.
    #[default]
    Pixel,
}

/// Random erasing (Zhong et al., 2020), as timm's `RandomErasing` does it on each image: between 2 %
/// and a third of the area, divided by the number of rectangles, with a ratio of height to width
/// between 0.3 and 1 / 0.3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomErasing {
    /// The probability that an image is erased.
    pub prob: f64,
    /// The new values.
    pub mode: EraseMode,
    /// The most rectangles of an image. Their number is drawn from 1 to this.
    pub count: usize,
}

impl RandomErasing {
    /// Erases parts of a normalised image `[channels, height, width]`.
    pub(super) fn apply(
        &self,
        image: &mut [f32],
        channels: usize,
        size: (usize, usize),
        draw: &mut Draw,
    ) {
        if !draw.chance(self.prob) {
            return;
        }
        let count = 1 + draw.below(self.count);
        for _ in 0..count {
            if let Some(part) = rectangle(count, size, draw) {
                let normal = || draw.sample(&StandardNormal);
                fill(image, channels, size, part, self.mode, normal);
            }
        }
    }
}

/// Replaces a part of an image. `normal` draws the new values.
fn fill(
    image: &mut [f32],
    channels: usize,
    size: (usize, usize),
    part: Part,
    mode: EraseMode,
    mut normal: impl FnMut() -> f32,
) {
    match mode {
        EraseMode::Const => {
            for line in part.lines(channels, size) {
                image[line].fill(0.0);
            }
        }
        EraseMode::Rand => {
            for plane in image.chunks_exact_mut((size.0 * size.1).max(1)) {
                let value = normal();
                for line in part.lines(1, size) {
                    plane[line].fill(value);
                }
            }
        }
        EraseMode::Pixel => {
            for line in part.lines(channels, size) {
                image[line].fill_with(&mut normal);
            }
        }
    }
}

/// Draws one of `count` rectangles in an image of this size, or none if no attempt fits.
fn rectangle(count: usize, size: (usize, usize), draw: &mut Draw) -> Option<Part> {
    for _ in 0..ATTEMPTS {
        let mut between = |low: f64, high: f64| low + (high - low) * f64::from(draw.unit());
        let share = between(AREA[0], AREA[1]);
        let log_ratio = between(ASPECT.ln(), (1.0 / ASPECT).ln());
        let (height, width) = sides(share, log_ratio, count, size);
        if height < size.0 && width < size.1 {
            return Some(Part {
                top: draw.below(size.0 - height + 1),
                left: draw.below(size.1 - width + 1),
                height,
                width,
            });
        }
    }
    None
}

/// Height and width of one of `count` rectangles that cover `share` of an image of this size.
fn sides(share: f64, log_ratio: f64, count: usize, size: (usize, usize)) -> (usize, usize) {
    let area = share * (size.0 * size.1) as f64 / count as f64;
    let ratio = log_ratio.exp();
    // Python rounds a half to the even number.
    let round = |side: f64| side.sqrt().round_ties_even() as usize;
    (round(area * ratio), round(area / ratio))
}

/// Replaces a square of `side` pixels by 0 (DeVries and Taylor, 2017). Its centre is any pixel of the
/// normalised image `[channels, height, width]`; what is outside the image is cut off.
pub(super) fn cutout(
    image: &mut [f32],
    channels: usize,
    size: (usize, usize),
    side: usize,
    draw: &mut Draw,
) {
    let centre = (draw.below(size.0), draw.below(size.1));
    for line in square(centre, side, size).lines(channels, size) {
        image[line].fill(0.0);
    }
}

/// The square of `side` pixels around `centre`, without what is outside the image.
fn square(centre: (usize, usize), side: usize, (height, width): (usize, usize)) -> Part {
    let range = |centre: usize, length: usize| {
        let end = centre.saturating_add(side - side / 2);
        centre.saturating_sub(side / 2)..end.min(length)
    };
    Part::of(range(centre.0, height), range(centre.1, width))
}

#[cfg(test)]
mod tests;
