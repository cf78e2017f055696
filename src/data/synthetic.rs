//! The synthetic data set: procedural images that need neither files nor a network.
//!
//! 100 fine classes in 20 coarse classes, 32 x 32 RGB. A coarse class is a shape with a texture; a
//! fine class is an arrangement of such shapes. Position, size, tilt, colours (and whether shape or
//! ground is lighter), background, clutter and noise are random, so that single pixels carry no
//! information about the class: a linear model stays near chance, a convolutional network does not.
//!
//! [`DataOptions::synthetic_difficulty`] adds nuisances that say nothing about the class: a larger
//! tilt, a fainter image of a random class over the whole image, strokes over the shapes, and more
//! noise. All grow with the difficulty, and 0 is the set without them. They keep an image's position,
//! size, colours and background.
//!
//! An image depends only on the seed, the difficulty, its split and its position. It is computed from additions,
//! multiplications, divisions and square roots in f32, which round the same everywhere. So the
//! bytes are the same on every platform and with any number of threads.

use rayon::prelude::*;

use super::dataset::{Dataset, Origin, Source};
use super::images::ImageSet;
use super::options::{DataOptions, DatasetKind};
use super::random::Draw;

/// The number of training images without a limit.
pub const TRAIN_IMAGES: usize = 10_000;
/// The number of test images without a limit.
pub const TEST_IMAGES: usize = 2_000;
/// The number of fine classes.
pub const CLASSES: usize = SHAPES.len() * TEXTURES.len() * ARRANGEMENTS.len();

const SIZE: usize = 32;
const PLANE: usize = SIZE * SIZE;

const SHAPES: [&str; 5] = ["disc", "square", "triangle", "cross", "ring"];
const TEXTURES: [&str; 4] = ["plain", "striped", "checked", "dotted"];
const ARRANGEMENTS: [&str; 5] = ["single", "beside", "stacked", "pyramid", "funnel"];

/// The channel means and standard deviations, measured to two digits over several seeds. All
/// channels have the same distribution.
const MEAN: [f32; 3] = [0.5; 3];
const STD: [f32; 3] = [0.23; 3];

/// Generates the data set of the seed in `options`, only as many images as the limits allow.
pub fn dataset(options: &DataOptions) -> Dataset {
    let limited = |images: usize, limit: Option<usize>| limit.map_or(images, |n| n.min(images));
    let difficulty = options.synthetic_difficulty.unwrap_or(0.0) as f32;
    let images = |split, count| images(options.seed, difficulty, split, count);
    let train = images(0, limited(TRAIN_IMAGES, options.limit_train));
    let test = images(1, limited(TEST_IMAGES, options.limit_test));
    let mut location = format!("seed {}", options.seed);
    if difficulty > 0.0 {
        location += &format!(", difficulty {difficulty}");
    }
    let coarse_classes: Vec<String> = SHAPES
        .iter()
        .flat_map(|shape| TEXTURES.map(|texture| format!("{texture}_{shape}")))
        .collect();
    let classes = coarse_classes
        .iter()
        .flat_map(|coarse| ARRANGEMENTS.map(|arrangement| format!("{coarse}_{arrangement}")))
        .collect();
    Dataset {
        name: DatasetKind::Synthetic.name().to_owned(),
        train,
        validation: None,
        test,
        classes,
        coarse_classes,
        mean: MEAN,
        std: STD,
        source: Source {
            requested: options.dataset,
            origin: Origin::Synthetic,
            location,
            files: Vec::new(),
            from_cache: false,
            fallback: None,
            notes: Vec::new(),
            class_map: false,
            skipped: Vec::new(),
        },
    }
}

/// The first `count` images of a split. Each block of 100 images has each class once, in random
/// order, so that any number of first images is balanced.
fn images(seed: u64, difficulty: f32, split: u64, count: usize) -> ImageSet {
    let labels: Vec<u32> = (0..count.div_ceil(CLASSES))
        .flat_map(|block| {
            Draw::new(&[seed, split, 0, block as u64])
                .permutation(CLASSES)
                .into_iter()
                .map(|label| label as u32)
        })
        .take(count)
        .collect();
    let coarse = labels
        .iter()
        .map(|label| label / ARRANGEMENTS.len() as u32)
        .collect();
    let mut pixels = vec![0; count * 3 * PLANE];
    pixels
        .par_chunks_mut(3 * PLANE)
        .zip(&labels)
        .enumerate()
        .for_each(|(i, (out, &label))| {
            let draw = |stream| Draw::new(&[seed, split, stream, i as u64]);
            render(label as usize, difficulty, draw, out);
        });
    ImageSet::from_parts(pixels, SIZE, SIZE, labels, Some(coarse))
}

/// Three planes of values in [0, 1].
type Canvas = [[f32; PLANE]; 3];
type Colour = [f32; 3];

/// The position of a shape: centre and radius in pixels, tilt as cosine and sine.
#[derive(Clone, Copy)]
struct Object {
    x: f32,
    y: f32,
    radius: f32,
    cos: f32,
    sin: f32,
}

/// The shape and fill of an object.
struct Paint {
    shape: usize,
    texture: usize,
    /// The period of the texture, in pixels.
    period: f32,
    ink: Colour,
    second: Colour,
}

/// The streams of an image's random numbers: the scene with its noise, and the nuisances.
const SCENE: u64 = 1;
const NUISANCES: u64 = 2;

fn render(label: usize, difficulty: f32, draw: impl Fn(u64) -> Draw, out: &mut [u8]) {
    let mut nuisances = draw(NUISANCES);
    let mut draw = draw(SCENE);
    let mut canvas = scene(label, difficulty, &mut draw);
    obscure(&mut canvas, difficulty, &mut nuisances);
    let noise = draw.range(0.02, 0.07) + 0.2 * difficulty;
    for (plane, out) in canvas.iter().zip(out.chunks_exact_mut(PLANE)) {
        for (value, byte) in plane.iter().zip(out) {
            let value = (value + noise * normal(&mut draw)).clamp(0.0, 1.0);
            *byte = (value * 255.0 + 0.5) as u8;
        }
    }
}

/// Blends another image of any class into the canvas, and draws strokes over it.
fn obscure(canvas: &mut Canvas, difficulty: f32, draw: &mut Draw) {
    if difficulty == 0.0 {
        return;
    }
    let other = scene(draw.below(CLASSES), difficulty, draw);
    let weight = 0.6 * difficulty * draw.unit();
    for (plane, other) in canvas.iter_mut().zip(&other) {
        for (value, other) in plane.iter_mut().zip(other) {
            *value += weight * (other - *value);
        }
    }
    for _ in 0..(16.0 * difficulty) as usize {
        clutter(canvas, draw);
    }
}

/// An image without noise.
fn scene(label: usize, difficulty: f32, draw: &mut Draw) -> Canvas {
    let arrangement = label % ARRANGEMENTS.len();
    let texture = label / ARRANGEMENTS.len() % TEXTURES.len();
    let shape = label / (ARRANGEMENTS.len() * TEXTURES.len());

    let ground = colour(draw);
    let mut canvas = background(&ground, draw);
    for _ in 0..3 + draw.below(4) {
        clutter(&mut canvas, draw);
    }
    let ink = contrasting(&ground, draw);
    let paint = Paint {
        shape,
        texture,
        period: draw.range(3.4, 4.6),
        ink,
        second: std::array::from_fn(|c| ground[c] * 0.8 + ink[c] * 0.2),
    };
    let (cos, sin) = tilt(draw, 0.1 + 0.2 * difficulty);
    for object in place(arrangement, (cos, sin), draw) {
        paint.object(&mut canvas, object);
    }
    canvas
}

/// The sum of four uniform 16-bit values, scaled to variance 1: approximately normal.
fn normal(draw: &mut Draw) -> f32 {
    let bits = draw.bits();
    let sum: u64 = (0..4).map(|k| (bits >> (16 * k)) & 0xffff).sum();
    (sum as f32 - 131_070.0) * (1.0 / 37_837.2)
}

fn colour(draw: &mut Draw) -> Colour {
    std::array::from_fn(|_| draw.range(0.15, 0.85))
}

/// A colour clearly lighter or darker than `ground`, with equal probability if both are possible, so
/// that all classes have the same mean image.
fn contrasting(ground: &Colour, draw: &mut Draw) -> Colour {
    let brightness = |colour: &Colour| (colour[0] + colour[1] + colour[2]) / 3.0;
    let from = brightness(ground);
    loop {
        let ink: Colour = std::array::from_fn(|_| draw.unit());
        let step = brightness(&ink) - from;
        if step * step > 0.3 * 0.3 {
            return ink;
        }
    }
}

/// Cosine and sine of a random angle with |tan(angle / 2)| at most `bound`.
fn tilt(draw: &mut Draw, bound: f32) -> (f32, f32) {
    let t = draw.range(-bound, bound);
    let scale = 1.0 / (1.0 + t * t);
    ((1.0 - t * t) * scale, 2.0 * t * scale)
}

/// A gradient from one shade of the ground to another, in a random direction.
fn background(ground: &Colour, draw: &mut Draw) -> Canvas {
    let change: Colour = std::array::from_fn(|_| draw.range(-0.2, 0.2));
    let (cos, sin) = tilt(draw, 1.0);
    let mut canvas = [[0.0; PLANE]; 3];
    for (plane, (ground, change)) in canvas.iter_mut().zip(ground.iter().zip(change)) {
        for (i, value) in plane.iter_mut().enumerate() {
            let (x, y) = centre(i);
            let along = (x - 16.0) * cos + (y - 16.0) * sin;
            *value = ground + change * along * (1.0 / 16.0);
        }
    }
    canvas
}

/// Draws a short, half transparent stroke of any colour.
fn clutter(canvas: &mut Canvas, draw: &mut Draw) {
    let colour = colour(draw);
    let (x, y) = (draw.range(0.0, 32.0), draw.range(0.0, 32.0));
    let (cos, sin) = tilt(draw, 1.0);
    let (length, width) = (draw.range(0.5, 4.0), draw.range(0.5, 1.2));
    let object = Object {
        x,
        y,
        radius: length,
        cos,
        sin,
    };
    cover(canvas, &object, length + width, |u, v| {
        let u = (u.abs() - length).max(0.0);
        let distance = (u * u + v * v).sqrt() - width;
        (0.6 * (0.5 - distance).clamp(0.0, 1.0), colour)
    });
}

/// The positions of the shapes of an arrangement. Each arrangement is its own mirror image, so that
/// a flip keeps the class.
fn place(arrangement: usize, (cos, sin): (f32, f32), draw: &mut Draw) -> Vec<Object> {
    // Offsets from the centre, in units of the distance between neighbours.
    let offsets: &[(f32, f32)] = match arrangement {
        0 => &[(0.0, 0.0)],
        1 => &[(-0.5, 0.0), (0.5, 0.0)],
        2 => &[(0.0, -0.5), (0.0, 0.5)],
        3 => &[(0.0, -0.5), (-0.5, 0.5), (0.5, 0.5)],
        _ => &[(0.0, 0.5), (-0.5, -0.5), (0.5, -0.5)],
    };
    let single = offsets.len() == 1;
    let radius = if single {
        draw.range(6.5, 11.0)
    } else {
        draw.range(5.0, 6.4)
    };
    let distance = radius * draw.range(2.15, 2.45);
    let reach = if single {
        radius
    } else {
        radius + 0.5 * distance
    };
    let slack = (15.0 - reach).max(0.0) + 1.0;
    let (x, y) = (
        16.0 + draw.range(-slack, slack),
        16.0 + draw.range(-slack, slack),
    );
    offsets
        .iter()
        .map(|(dx, dy)| Object {
            x: x + distance * (dx * cos - dy * sin),
            y: y + distance * (dx * sin + dy * cos),
            radius: radius * draw.range(0.92, 1.08),
            cos,
            sin,
        })
        .collect()
}

impl Paint {
    fn object(&self, canvas: &mut Canvas, object: Object) {
        // Corners are farther out than the radius.
        cover(canvas, &object, object.radius * 1.3, |u, v| {
            let distance = outside(self.shape, u, v, object.radius);
            let colour = if self.inked(u, v) {
                self.ink
            } else {
                self.second
            };
            ((0.5 - distance).clamp(0.0, 1.0), colour)
        });
    }

    /// Whether a point has the first of the two colours.
    fn inked(&self, u: f32, v: f32) -> bool {
        // In periods, shifted to positive values.
        let (a, b) = (u / self.period + 16.0, v / self.period + 16.0);
        let (a, b) = (a - a.floor(), b - b.floor());
        match self.texture {
            0 => true,
            1 => b < 0.5,
            2 => (a < 0.5) == (b < 0.5),
            _ => {
                let (a, b) = (a - 0.5, b - 0.5);
                a * a + b * b > 0.33 * 0.33
            }
        }
    }
}

/// The distance of a point from the border of a shape, in pixels (approximate at corners); negative
/// inside.
fn outside(shape: usize, u: f32, v: f32, radius: f32) -> f32 {
    let (a, b) = (u.abs(), v.abs());
    match shape {
        0 => (u * u + v * v).sqrt() - radius,
        1 => a.max(b) - 0.86 * radius,
        // Upright, with sides of slope two.
        2 => (v - 0.8 * radius).max((2.0 * a - v) * 0.447 - 0.47 * radius),
        3 => a.max(b).max(a.min(b) + 0.65 * radius) - radius,
        _ => ((u * u + v * v).sqrt() - 0.75 * radius).abs() - 0.25 * radius,
    }
}

/// Blends the opacity and colour that `paint` returns for a pixel into the canvas, for all pixels
/// within `reach` of the object.
fn cover(
    canvas: &mut Canvas,
    object: &Object,
    reach: f32,
    paint: impl Fn(f32, f32) -> (f32, Colour),
) {
    let span = |middle: f32| {
        let low = (middle - reach - 1.0).clamp(0.0, 32.0) as usize;
        let high = (middle + reach + 2.0).clamp(0.0, 32.0) as usize;
        low..high
    };
    for row in span(object.y) {
        for column in span(object.x) {
            let i = row * SIZE + column;
            let (x, y) = centre(i);
            let (x, y) = (x - object.x, y - object.y);
            let u = x * object.cos + y * object.sin;
            let v = y * object.cos - x * object.sin;
            let (opacity, colour) = paint(u, v);
            if opacity > 0.0 {
                for (plane, colour) in canvas.iter_mut().zip(colour) {
                    plane[i] += opacity * (colour - plane[i]);
                }
            }
        }
    }
}

/// The centre of a pixel.
fn centre(i: usize) -> (f32, f32) {
    ((i % SIZE) as f32 + 0.5, (i / SIZE) as f32 + 0.5)
}
