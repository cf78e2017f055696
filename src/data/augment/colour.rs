//! Saturation, sharpness and hue, byte for byte equal to Pillow's.

use crate::data::image::{Image, luma};

/// `base + factor * (byte - base)` in f32, truncated and clamped, as Pillow's `Image.blend` does
/// (`src/libImaging/Blend.c`).
pub(super) fn blend(base: u8, byte: u8, factor: f32) -> u8 {
    (f32::from(base) + factor * (f32::from(byte) - f32::from(base))) as u8
}

/// [`blend`] of each byte of `image` with the byte of `base` at the same place.
pub(super) fn blend_all(base: &[u8], image: &mut [u8], factor: f32) {
    for (byte, base) in image.iter_mut().zip(base) {
        *byte = blend(*base, *byte, factor);
    }
}

/// Mixes with the grey image. Grey images do not change.
pub(super) fn saturation(image: &mut Image, factor: f32) {
    if image.channels() == 1 {
        return;
    }
    let grey = luma(image.pixels());
    for plane in image.pixels_mut().chunks_exact_mut(grey.len()) {
        blend_all(&grey, plane, factor);
    }
}

/// Mixes with a smoothed image: 3 x 3 pixels with weights 1, the centre with weight 5. Pixels at the
/// border are not smoothed.
pub(super) fn sharpness(image: &mut Image, factor: f32) {
    let (height, width) = (image.height(), image.width());
    if height < 3 || width < 3 {
        return;
    }
    let mut smooth = image.pixels().to_vec();
    let planes = image
        .pixels()
        .chunks_exact(height * width)
        .zip(smooth.chunks_exact_mut(height * width));
    for (source, target) in planes {
        for y in 1..height - 1 {
            let row = |y: usize| &source[y * width..(y + 1) * width];
            let (above, middle, below) = (row(y - 1), row(y), row(y + 1));
            let target = &mut target[y * width + 1..(y + 1) * width - 1];
            let windows = above
                .windows(3)
                .zip(middle.windows(3))
                .zip(below.windows(3));
            for (byte, ((above, middle), below)) in target.iter_mut().zip(windows) {
                let sum = |three: &[u8]| three.iter().map(|b| u16::from(*b)).sum::<u16>();
                let sum = sum(above) + sum(middle) + sum(below) + 4 * u16::from(middle[1]);
                // Rounded to the nearest; thirteenths have no ties.
                *byte = ((2 * sum + 13) / 26) as u8;
            }
        }
    }
    blend_all(&smooth, image.pixels_mut(), factor);
}

/// Adds `shift` to the hue of each pixel, a circle of 256 steps. Grey images do not change.
///
/// Pixels are converted to Pillow's HSV bytes and back (`src/libImaging/Convert.c`), which alone
/// changes most colours a little.
pub(super) fn hue(image: &mut Image, shift: u8) {
    if image.channels() == 1 {
        return;
    }
    let plane = image.height() * image.width();
    let (red, rest) = image.pixels_mut().split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let [h, s, v] = to_hsv([*r, *g, *b]);
        [*r, *g, *b] = to_rgb([h.wrapping_add(shift), s, v]);
    }
}

/// Hue, saturation and value. The mix of f32 and f64 decides the rounding.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let saturation = range / f32::from(high);
    let [red, green, blue] = [r, g, b].map(|byte| f32::from(high - byte) / range);
    let sixths = if r == high {
        blue - green
    } else if g == high {
        (2.0 + f64::from(red) - f64::from(blue)) as f32
    } else {
        (4.0 + f64::from(green) - f64::from(red)) as f32
    };
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    let byte = |value: f32| (f64::from(value) * 255.0) as u8;
    [byte(hue), byte(saturation), high]
}

/// The inverse of [`to_hsv`], up to rounding.
fn to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sixths = f64::from(h) * 6.0 / 255.0;
    let sector = sixths.floor();
    let fraction = (sixths - sector) as f32;
    let saturation = (f64::from(s) / 255.0) as f32;
    let value = |loss: f64| (f64::from(v) * (1.0 - loss)).round() as u8;
    let p = value(f64::from(saturation));
    let q = value(f64::from(saturation * fraction));
    let t = value(f64::from(saturation) * (1.0 - f64::from(fraction)));
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
