//! Image scaling, byte for byte equal to Pillow's.
//!
//! Scales along the rows, then along the columns. Each new pixel is a weighted mean of old pixels.
//! The weights come from a filter that is widened for downscaling (antialiasing). Weights are
//! fixed-point numbers with 22 fractional bits, and each of the two passes rounds to a byte, as in
//! Pillow since 3.3 (`src/libImaging/Resample.c`).

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::image::Image;

/// Fractional bits of a weight: 32 bits, less a byte, a sign and a bit for overshooting.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The filter for scaling, under timm's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle filter.
    Bilinear,
    /// A cubic filter over four pixels, with a = -0.5.
    #[default]
    Bicubic,
}

impl Interpolation {
    /// Both filters by name.
    const ALL: [(&'static str, Self); 2] =
        [("bilinear", Self::Bilinear), ("bicubic", Self::Bicubic)];

    /// The radius of the filter, in pixels of the coarser grid.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The value of the filter at distance `x`.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

impl fmt::Display for Interpolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
        })
    }
}

impl FromStr for Interpolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let found = found.map(|(_, interpolation)| *interpolation);
        found.ok_or_else(|| format!("unknown interpolation '{text}'; expected bilinear or bicubic"))
    }
}

/// The old pixels of a new pixel, and their weights.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// The taps of the `wanted` pixels when `inputs` pixels are scaled to `outputs`.
fn taps(
    inputs: usize,
    outputs: usize,
    wanted: Range<usize>,
    interpolation: Interpolation,
) -> Vec<Taps> {
    let scale = inputs as f64 / outputs as f64;
    let widened = scale.max(1.0);
    let support = interpolation.support() * widened;
    let tap = |output: usize| {
        let center = (output as f64 + 0.5) * scale;
        // C casts round towards zero.
        let start = ((center - support + 0.5) as i64).max(0) as usize;
        let end = ((center + support + 0.5) as i64).clamp(0, inputs as i64) as usize;
        // Pillow multiplies by the reciprocal; a division would round differently.
        let reciprocal = 1.0 / widened;
        let at = |x: usize| (x as f64 - center + 0.5) * reciprocal;
        let weights: Vec<f64> = (start..end.max(start))
            .map(|x| interpolation.weight(at(x)))
            .collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| {
            let weight = if sum == 0.0 { *weight } else { *weight / sum };
            let weight = weight * f64::from(1 << PRECISION_BITS);
            (weight + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Taps {
            start,
            weights: weights.iter().map(fixed).collect(),
        }
    };
    wanted.map(tap).collect()
}

/// Half a unit, so that truncation rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The pixels in `rows` and `columns` of `image` scaled to `height` x `width`. Computes no other
/// pixels, which for a very long image would fill the memory.
pub(super) fn resize(
    image: &Image,
    (height, width): (usize, usize),
    (rows, columns): (Range<usize>, Range<usize>),
    interpolation: Interpolation,
) -> Image {
    let size = (rows.len(), columns.len());
    let taps_along = |inputs, outputs, wanted| taps(inputs, outputs, wanted, interpolation);
    let along_rows = taps_along(image.width(), width, columns);
    let channels = image.channels();
    let mut wide = Vec::with_capacity(channels * image.height() * size.1);
    for row in image.pixels().chunks_exact(image.width()) {
        wide.extend(along_rows.iter().map(|tap| {
            let products = tap.weights.iter().zip(&row[tap.start..]);
            to_byte(products.fold(HALF, |sum, (w, x)| sum + w * i32::from(*x)))
        }));
    }
    let along_columns = taps_along(image.height(), height, rows);
    let mut pixels = Vec::with_capacity(channels * size.0 * size.1);
    let mut sums = vec![HALF; size.1];
    for plane in wide.chunks_exact((image.height() * size.1).max(1)) {
        for tap in &along_columns {
            sums.fill(HALF);
            let rows = plane.chunks_exact(size.1).skip(tap.start);
            for (weight, row) in tap.weights.iter().zip(rows) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += weight * i32::from(*x);
                }
            }
            pixels.extend(sums.iter().map(|sum| to_byte(*sum)));
        }
    }
    Image::from_parts(pixels, size.0, size.1)
}
