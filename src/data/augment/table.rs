//! Operations that map each byte by a table, as Pillow's `Image.point` does.

use super::colour::blend;
use crate::data::image::{Image, luma};

/// A new value for each byte.
type Table = [u8; 256];

/// A table of `value` of each byte.
fn table(value: impl Fn(u8) -> u8) -> Table {
    std::array::from_fn(|byte| value(byte as u8))
}

/// Maps the bytes of a plane.
fn map(plane: &mut [u8], table: &Table) {
    for byte in plane {
        *byte = table[usize::from(*byte)];
    }
}

/// Maps the bytes of all channels by the same table.
fn map_all(image: &mut Image, value: impl Fn(u8) -> u8) {
    map(image.pixels_mut(), &table(value));
}

/// Maps the bytes of each channel by a table made from its histogram.
fn map_by_histogram(image: &mut Image, value: impl Fn(&[u32; 256]) -> Table) {
    let plane = image.height() * image.width();
    for plane in image.pixels_mut().chunks_exact_mut(plane) {
        let mut counts = [0; 256];
        for byte in plane.iter() {
            counts[usize::from(*byte)] += 1;
        }
        map(plane, &value(&counts));
    }
}

/// `255 - byte`.
pub(super) fn invert(image: &mut Image) {
    map_all(image, |byte| 255 - byte);
}

/// Keeps the `bits` upper bits of each byte. 0 or less is black.
pub(super) fn posterize(image: &mut Image, bits: i32) {
    let mask = match bits {
        8.. => return,
        1..8 => 0xff_u8 << (8 - bits),
        _ => 0,
    };
    map_all(image, |byte| byte & mask);
}

/// Inverts bytes from `threshold` on.
pub(super) fn solarize(image: &mut Image, threshold: f64) {
    map_all(image, |byte| {
        if f64::from(byte) < threshold {
            byte
        } else {
            255 - byte
        }
    });
}

/// Adds `amount` to bytes below 128.
pub(super) fn solarize_add(image: &mut Image, amount: u8) {
    map_all(image, |byte| {
        if byte < 128 {
            byte.saturating_add(amount)
        } else {
            byte
        }
    });
}

/// Mixes with black.
pub(super) fn brightness(image: &mut Image, factor: f32) {
    map_all(image, |byte| blend(0, byte, factor));
}

/// Mixes with the mean of the luma.
pub(super) fn contrast(image: &mut Image, factor: f32) {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let sum = match image.channels() {
        1 => sum(image.pixels()),
        _ => sum(&luma(image.pixels())),
    };
    let mean = (sum as f64 / (image.height() * image.width()) as f64 + 0.5) as u8;
    map_all(image, |byte| blend(mean, byte, factor));
}

/// Stretches each channel linearly to the range 0 to 255.
pub(super) fn auto_contrast(image: &mut Image) {
    map_by_histogram(image, |counts| {
        let low = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let high = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        if high <= low {
            return table(|byte| byte);
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        // The conversion truncates and clamps.
        table(|byte| (f64::from(byte) * scale + offset) as u8)
    });
}

/// Spreads the values of each channel so that they are equally frequent.
pub(super) fn equalize(image: &mut Image) {
    map_by_histogram(image, |counts| {
        let total: u32 = counts.iter().sum();
        let last = counts.iter().rev().find(|count| **count > 0).unwrap_or(&0);
        let step = (total - last) / 255;
        if step == 0 {
            return table(|byte| byte);
        }
        let mut below = step / 2;
        counts.map(|count| {
            let value = (below / step).min(255) as u8;
            below += count;
            value
        })
    });
}
