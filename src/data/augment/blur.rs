//! Gaussian blur: Pillow's approximation by boxes, and torchvision's by a kernel.

use crate::data::image::Image;

/// Boxes in each direction that Pillow uses for one blur.
const PASSES: usize = 3;

/// Pillow's `ImageFilter.GaussianBlur`: three box blurs along rows, then three along columns. The
/// arithmetic is the same as in `src/libImaging/BoxBlur.c`.
pub(super) fn box_blur(image: &mut Image, radius: f32) {
    let Some(window) = Window::new(box_radius(radius)) else {
        return;
    };
    let (height, width) = (image.height(), image.width());
    let mut line = vec![0; height.max(width)];
    let mut turned = vec![0; height * width];
    for plane in image.pixels_mut().chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width) {
            window.blur(row, &mut line[..width]);
        }
        transpose(plane, &mut turned, width);
        for column in turned.chunks_exact_mut(height) {
            window.blur(column, &mut line[..height]);
        }
        transpose(&turned, plane, height);
    }
}

/// The radius of a box whose repetition has the variance of a Gaussian (Gwosdek et al.,
/// "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering", 2011, equations 7,
/// 11 and 14). In f32, as in Pillow.
fn box_radius(sigma: f32) -> f32 {
    let variance = sigma * sigma / PASSES as f32;
    let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
    let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance);
    let part = part / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    whole + part
}

/// A box with fractional ends. Weights are fixed-point numbers with 24 fractional bits.
struct Window {
    /// Whole pixels on each side of the centre.
    radius: usize,
    /// The weight of a whole pixel.
    weight: u32,
    /// The weight of the two pixels at the ends.
    end: u32,
}

impl Window {
    /// The box of a radius; `None` if it does not blur.
    fn new(radius: f32) -> Option<Self> {
        if radius == 0.0 {
            return None;
        }
        let whole = radius as u32;
        let weight = ((1 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
        let end = ((1 << 24) - (whole * 2 + 1) * weight) / 2;
        Some(Self {
            radius: whole as usize,
            weight,
            end,
        })
    }

    /// Blurs `line` [`PASSES`] times. Pixels outside have the values at the ends of the line.
    fn blur(&self, line: &mut [u8], old: &mut [u8]) {
        for _ in 0..PASSES {
            old.copy_from_slice(line);
            self.pass(old, line);
        }
    }

    fn pass(&self, old: &[u8], new: &mut [u8]) {
        let last = old.len() - 1;
        let before = |x: usize, distance: usize| u32::from(old[x.saturating_sub(distance)]);
        let after = |x: usize, distance: usize| u32::from(old[(x + distance).min(last)]);
        let radius = self.radius;
        // The sum of the window around pixel -1.
        let mut sum = (0..radius).map(|x| after(0, x)).sum::<u32>();
        sum += (radius as u32 + 1) * before(0, 0);
        for (x, byte) in new.iter_mut().enumerate() {
            sum += after(x, radius);
            sum -= before(x, radius + 1);
            let ends = before(x, radius + 1) + after(x, radius + 1);
            let weighted = sum * self.weight + ends * self.end;
            *byte = ((weighted + (1 << 23)) >> 24) as u8;
        }
    }
}

/// Writes the columns of `plane`, whose rows have `width` bytes, as rows of `turned`.
fn transpose(plane: &[u8], turned: &mut [u8], width: usize) {
    let height = plane.len() / width;
    for (y, row) in plane.chunks_exact(width).enumerate() {
        for (x, byte) in row.iter().enumerate() {
            turned[x * height + y] = *byte;
        }
    }
}

/// The pixels on each side of the centre of torchvision's kernel, which timm gives 23 pixels.
const REACH: usize = 11;

/// torchvision's `GaussianBlur` with 23 x 23 pixels. The image is mirrored at its border.
pub(super) fn kernel_blur(image: &mut Image, sigma: f32) {
    let kernel = kernel(sigma);
    let (height, width) = (image.height(), image.width());
    let mut wide = vec![0.0; height * width];
    let mut sums = vec![0.0; width];
    let mut padded = vec![0.0; width + 2 * REACH];
    for plane in image.pixels_mut().chunks_exact_mut(height * width) {
        for (row, out) in plane.chunks_exact(width).zip(wide.chunks_exact_mut(width)) {
            for (at, value) in padded.iter_mut().enumerate() {
                *value = f32::from(row[mirrored(at, width)]);
            }
            out.fill(0.0);
            for (offset, weight) in kernel.iter().enumerate() {
                for (sum, value) in out.iter_mut().zip(&padded[offset..]) {
                    *sum += weight * value;
                }
            }
        }
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            sums.fill(0.0);
            for (offset, weight) in kernel.iter().enumerate() {
                let source = mirrored(y + offset, height) * width;
                for (sum, value) in sums.iter_mut().zip(&wide[source..source + width]) {
                    *sum += weight * value;
                }
            }
            for (byte, sum) in row.iter_mut().zip(&sums) {
                *byte = sum.round_ties_even() as u8;
            }
        }
    }
}

/// The weights of a Gaussian at -11, .., 11, with sum 1.
fn kernel(sigma: f32) -> [f32; 2 * REACH + 1] {
    let weight = |at: usize| {
        let x = (at as f32 - REACH as f32) / sigma;
        (-0.5 * x * x).exp()
    };
    let weights: [f32; 2 * REACH + 1] = std::array::from_fn(weight);
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// The pixel at position `at` of a line of `size` pixels with [`REACH`] mirrored pixels before it.
fn mirrored(at: usize, size: usize) -> usize {
    let period = (2 * (size - 1)).max(1);
    let at = (at + REACH * (period - 1)) % period;
    at.min(period - at).min(size - 1)
}
