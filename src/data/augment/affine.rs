//! Affine transforms, byte for byte equal to Pillow's.
//!
//! Each pixel of the result is taken from the place in the source that a matrix gives. The arithmetic
//! follows `src/libImaging/Geometry.c` of Pillow 13: fixed-point numbers with 16 fractional bits
//! for the nearest pixel, doubles for the two filters.

use crate::data::image::Image;

/// The value of a pixel between others, under Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// The pixel at this place.
    Nearest,
    /// A linear function over 2 x 2 pixels.
    Bilinear,
    /// A cubic function over 4 x 4 pixels, with a = -1.
    Bicubic,
}

/// How an affine transform makes pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// The filter.
    pub resampling: Resampling,
    /// The colour outside the source, RGB. Grey images have the first value.
    pub fill: [u8; 3],
}

/// `[a, b, c, d, e, f]`: the pixel at `(x, y)` comes from `(a x + b y + c, d x + e y + f)`.
pub(super) type Matrix = [f64; 6];

/// Replaces each pixel by the pixel of `image` at the place that `matrix` gives.
pub(super) fn transform(image: &mut Image, matrix: Matrix, sampling: Sampling) {
    match sampling.resampling {
        Resampling::Nearest => gather(image, &nearest(image, matrix), sampling.fill),
        Resampling::Bilinear => interpolate(image, matrix, sampling.fill, bilinear),
        Resampling::Bicubic => interpolate(image, matrix, sampling.fill, bicubic),
    }
}

/// Rotates counterclockwise around the centre, as `Image.rotate` without `expand`.
pub(super) fn rotate(image: &mut Image, degrees: f64, sampling: Sampling) {
    let (height, width) = (image.height(), image.width());
    let angle = degrees.rem_euclid(360.0);
    let plane = height * width;
    if angle == 0.0 {
        return;
    }
    if angle == 180.0 {
        image
            .pixels_mut()
            .chunks_exact_mut(plane)
            .for_each(<[u8]>::reverse);
        return;
    }
    if (angle == 90.0 || angle == 270.0) && height == width {
        let side = height;
        let source = |at: usize| {
            let (row, column) = (at / side, at % side);
            let (y, x) = if angle == 90.0 {
                (column, side - 1 - row)
            } else {
                (side - 1 - column, row)
            };
            Some((y * side + x) as u32)
        };
        let sources: Vec<Option<u32>> = (0..plane).map(source).collect();
        gather(image, &sources, sampling.fill);
        return;
    }
    let radians = -angle.to_radians();
    let (cos, sin) = (rounded(radians.cos()), rounded(radians.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let (back, down) = (cos * -x + sin * -y, -sin * -x + cos * -y);
    transform(image, [cos, sin, back + x, -sin, cos, down + y], sampling);
}

/// Rounds to 15 decimal places. A decimal text is the only exact way.
fn rounded(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// Each pixel's source by [`nearest`], or the fill colour.
fn gather(image: &mut Image, sources: &[Option<u32>], fill: [u8; 3]) {
    let old = image.pixels().to_vec();
    let plane = sources.len();
    let planes = image
        .pixels_mut()
        .chunks_exact_mut(plane)
        .zip(old.chunks_exact(plane));
    for ((new, old), fill) in planes.zip(fill) {
        for (byte, source) in new.iter_mut().zip(sources) {
            *byte = source.map_or(fill, |at| old[at as usize]);
        }
    }
}

/// Coordinates from which fixed-point numbers could overflow.
const FIXED_LIMIT: f64 = 32_768.0;

/// The index of the nearest pixel for each pixel of the result; `None` outside the image.
fn nearest(image: &Image, matrix: Matrix) -> Vec<Option<u32>> {
    let [a, b, c, d, e, f] = matrix;
    let (height, width) = (image.height(), image.width());
    if b == 0.0 && d == 0.0 {
        return shifted(image, matrix);
    }
    let fits = |x: usize, y: usize| {
        let (x, y) = (x as f64, y as f64);
        (x * a + y * b + c).abs() < FIXED_LIMIT && (x * d + y * e + f).abs() < FIXED_LIMIT
    };
    let corners = [(0, 0), (width, height), (0, height), (width, 0)];
    let mut sources = Vec::with_capacity(height * width);
    if corners.into_iter().all(|(x, y)| fits(x, y)) {
        let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i32;
        let (mut x_start, mut y_start) =
            (fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5));
        let [a, b, d, e] = [a, b, d, e].map(fixed);
        for _ in 0..height {
            let (mut x, mut y) = (x_start, y_start);
            for _ in 0..width {
                sources.push(index(image, x >> 16, y >> 16));
                (x, y) = (x.wrapping_add(a), y.wrapping_add(d));
            }
            (x_start, y_start) = (x_start.wrapping_add(b), y_start.wrapping_add(e));
        }
    } else {
        let (mut x_start, mut y_start) = (c + b * 0.5 + a * 0.5, f + e * 0.5 + d * 0.5);
        for _ in 0..height {
            let (mut x, mut y) = (x_start, y_start);
            for _ in 0..width {
                sources.push(index(image, whole(x), whole(y)));
                (x, y) = (x + a, y + d);
            }
            (x_start, y_start) = (x_start + b, y_start + e);
        }
    }
    sources
}

/// [`nearest`] for a matrix that maps rows to rows: each coordinate is computed once.
fn shifted(image: &Image, [a, _, c, _, e, f]: Matrix) -> Vec<Option<u32>> {
    let places = |start: f64, step: f64, count: usize| -> Vec<i32> {
        let steps = std::iter::successors(Some(start + step * 0.5), |at| Some(at + step));
        steps.take(count).map(whole).collect()
    };
    let columns = places(c, a, image.width());
    let rows = places(f, e, image.height());
    let pairs = rows
        .iter()
        .flat_map(|y| columns.iter().map(move |x| (x, y)));
    pairs.map(|(x, y)| index(image, *x, *y)).collect()
}

/// The pixel that contains a coordinate; -1 left of the first.
fn whole(coordinate: f64) -> i32 {
    if coordinate < 0.0 {
        -1
    } else {
        coordinate as i32
    }
}

/// The index of pixel (x, y) in a plane, if it is in the image.
fn index(image: &Image, x: i32, y: i32) -> Option<u32> {
    let inside = (0..image.width() as i32).contains(&x) && (0..image.height() as i32).contains(&y);
    inside.then(|| y as u32 * image.width() as u32 + x as u32)
}

/// A plane of bytes.
#[derive(Clone, Copy)]
struct Plane<'a> {
    bytes: &'a [u8],
    height: usize,
    width: usize,
}

impl Plane<'_> {
    /// Row `y`, if it is in the image.
    fn row(&self, y: isize) -> Option<&[u8]> {
        let start = usize::try_from(y).ok()?.checked_mul(self.width)?;
        self.bytes.get(start..start + self.width)
    }

    /// Row `y` or the nearest row of the image.
    fn nearest_row(&self, y: isize) -> &[u8] {
        let y = y.clamp(0, self.height as isize - 1) as usize;
        &self.bytes[y * self.width..(y + 1) * self.width]
    }

    /// `N` columns from `x` on, each the nearest one of the image.
    fn columns<const N: usize>(&self, x: isize) -> [usize; N] {
        let last = self.width as isize - 1;
        std::array::from_fn(|i| (x + i as isize).clamp(0, last) as usize)
    }
}

/// A place between the centres of pixels: the pixel to the upper left, and the distance from it in
/// [0, 1).
#[derive(Clone, Copy)]
struct Place {
    x: isize,
    y: isize,
    dx: f64,
    dy: f64,
}

/// Evaluates `filter` for each pixel of the result and each channel.
fn interpolate(
    image: &mut Image,
    [a, b, c, d, e, f]: Matrix,
    fill: [u8; 3],
    filter: impl Fn(Plane<'_>, Place) -> u8,
) {
    let (height, width) = (image.height(), image.width());
    let plane = height * width;
    let old = image.pixels().to_vec();
    let pixels = image.pixels_mut();
    for row in 0..height {
        let y_out = row as f64 + 0.5;
        for column in 0..width {
            let x_out = column as f64 + 0.5;
            let x = a * x_out + b * y_out + c;
            let y = d * x_out + e * y_out + f;
            let inside = (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
            let (x, y) = (x - 0.5, y - 0.5);
            let place = Place {
                x: x.floor() as isize,
                y: y.floor() as isize,
                dx: x - x.floor(),
                dy: y - y.floor(),
            };
            let at = row * width + column;
            for (channel, bytes) in old.chunks_exact(plane).enumerate() {
                let source = Plane {
                    bytes,
                    height,
                    width,
                };
                pixels[channel * plane + at] = if inside {
                    filter(source, place)
                } else {
                    fill[channel]
                };
            }
        }
    }
}

/// Rows and columns outside the image have the values of the nearest ones; the result is truncated.
fn bilinear(plane: Plane<'_>, at: Place) -> u8 {
    let [left, right] = plane.columns(at.x);
    let along = |row: &[u8]| {
        let (left, right) = (f64::from(row[left]), f64::from(row[right]));
        left + (right - left) * at.dx
    };
    let upper = along(plane.nearest_row(at.y));
    let lower = plane.row(at.y + 1).map_or(upper, along);
    (upper + (lower - upper) * at.dy) as u8
}

/// As [`bilinear`]; values that overshoot are clamped.
fn bicubic(plane: Plane<'_>, at: Place) -> u8 {
    let columns: [usize; 4] = plane.columns(at.x - 1);
    let along = |row: &[u8]| cubic(columns.map(|x| f64::from(row[x])), at.dx);
    let mut values = [along(plane.nearest_row(at.y - 1)); 4];
    for i in 1..4 {
        let row = plane.row(at.y - 1 + i as isize);
        values[i] = row.map_or(values[i - 1], along);
    }
    // The conversion clamps.
    cubic(values, at.dy) as u8
}

/// The cubic through the middle two of four values, at distance `d` from the second. The order of the
/// operations decides the rounding.
fn cubic([v1, v2, v3, v4]: [f64; 4], d: f64) -> f64 {
    let slope = -v1 + v3;
    let square = 2.0 * (v1 - v2) + v3 - v4;
    let cube = -v1 + v2 - v3 + v4;
    v2 + d * (slope + d * (square + d * cube))
}
