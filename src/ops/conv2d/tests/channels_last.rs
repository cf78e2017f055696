//! Channels-last images with each algorithm and instruction set, against the definition.

use pulp::Arch;

use super::super::bounded::{Bounded, PADDING};
use super::super::cost_model::{F32Lanes, Outputs};
use super::super::direct::{self, Problem};
use super::super::geometry::{Conv2dParams, Geometry};
use super::super::inference::{Finish, PixelSums};
use super::super::{depthwise, winograd};
use super::support::{Definition, check, levels, noise};
use crate::ops::memory_format::MemoryFormat::{self, ChannelsLast, Contiguous};
use crate::ops::memory_format::reordered;
use crate::ops::storage::written;

/// `min(max((x - center) scale + shift + residual, -2), 3)`.
struct Change {
    in_registers: bool,
    center: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// In the order of the result.
    residual: Vec<f32>,
}

const BOUNDS: (f32, f32) = (-2.0, 3.0);

impl Change {
    fn new(g: &Geometry, in_registers: bool) -> Self {
        let constants = |seed| {
            let mut values = noise::<f32>(seed, g.c_out);
            values.extend([0.0; PADDING]);
            values
        };
        Self {
            in_registers,
            center: constants(5),
            scale: constants(6),
            shift: constants(7),
            residual: noise(8, g.out_len()),
        }
    }

    /// The result at `at` in channels-last order.
    fn value(&self, channels: usize, at: usize, x: f64) -> f64 {
        let c = at % channels;
        let z = (x - f64::from(self.center[c])) * f64::from(self.scale[c]);
        let z = z + f64::from(self.shift[c]) + f64::from(self.residual[at]);
        z.clamp(f64::from(BOUNDS.0), f64::from(BOUNDS.1))
    }
}

impl Finish for Change {
    fn finish(&self, _: usize, _: &mut [f32]) {
        unreachable!("the result is channels-last");
    }

    fn bounded(&self) -> Option<Bounded<'_>> {
        self.in_registers.then_some(Bounded {
            center: &self.center,
            scale: &self.scale,
            shift: &self.shift,
            residual: Some(&self.residual),
            low: BOUNDS.0.into(),
            high: BOUNDS.1.into(),
        })
    }

    unsafe fn write_pixels(&self, sums: PixelSums, to: *mut f32) {
        for p in 0..sums.pixels {
            for c in 0..sums.channels {
                let at = sums.at + p * sums.pitch + c;
                assert_eq!(at % sums.pitch, sums.first + c);
                let x = f64::from(sums.sums[p * sums.width + c]);
                let y = self.value(sums.pitch, at, x) as f32;
                // SAFETY: guaranteed by the caller.
                unsafe { to.add(at).write(y) };
            }
        }
    }
}

type Convolve = fn(Arch, &Problem, &mut [std::mem::MaybeUninit<f32>]);

/// The algorithms that compute a channels-last result of `g`, and whether they read contiguous
/// images too.
fn algorithms(arch: Arch, g: &Geometry) -> Vec<(&'static str, Convolve, bool)> {
    if g.is_depthwise() {
        let fits = g.c_in >= arch.dispatch(F32Lanes);
        let algorithm: Convolve = depthwise::channels_last::convolve;
        return Vec::from_iter(fits.then_some(("depthwise", algorithm, false)));
    }
    let mut all: Vec<(_, Convolve, _)> =
        vec![("channel lanes", direct::channel_lanes::convolve, true)];
    if (g.kh, g.kw, g.padding) == (1, 1, (0, 0)) {
        all.push(("pointwise", direct::pointwise::convolve, false));
    }
    if (g.kh, g.kw, g.stride, g.dilation) == (3, 3, (1, 1), (1, 1)) {
        let two: Convolve = |arch, problem, y| winograd::convolve(arch, Outputs::Two, problem, y);
        let four: Convolve = |arch, problem, y| winograd::convolve(arch, Outputs::Four, problem, y);
        all.extend([("winograd 2x2", two, true), ("winograd 4x4", four, true)]);
    }
    all
}

fn order(values: &[f32], to: MemoryFormat, channels: usize) -> Vec<f32> {
    // One image after the other, whatever their number.
    let plane = values.len() / channels;
    reordered(values.into(), (Contiguous, to), channels, plane).into_owned()
}

fn every_algorithm(g: &Geometry) {
    let definition = Definition::<f32>::new(g);
    let (bias, y) = definition.with_bias(g);
    let Definition { x, w, .. } = definition;
    // The definition in channels-last order.
    let mut pixels = vec![0.0; y.len()];
    for (at, y) in y.iter().enumerate() {
        let (channel, pixel) = (at / g.out_plane(), at % g.out_plane());
        let (image, channel) = (channel / g.c_out, channel % g.c_out);
        pixels[(image * g.out_plane() + pixel) * g.c_out + channel] = *y;
    }
    let images = |values: &[f32]| -> Vec<f32> {
        let image = values.chunks_exact(g.c_in * g.in_plane());
        image.flat_map(|x| order(x, ChannelsLast, g.c_in)).collect()
    };
    let x_last = images(&x);
    for arch in levels() {
        for (name, convolve, contiguous) in algorithms(arch, g) {
            for in_registers in [None, Some(false), Some(true)] {
                let change = in_registers.map(|in_registers| Change::new(g, in_registers));
                let want: Vec<f64> = match &change {
                    None => pixels.clone(),
                    Some(change) => {
                        let values = pixels.iter().enumerate();
                        values
                            .map(|(at, x)| change.value(g.c_out, at, *x))
                            .collect()
                    }
                };
                for (src, format) in [(&x, Contiguous), (&x_last, ChannelsLast)] {
                    if format == Contiguous && !contiguous {
                        continue;
                    }
                    let finish = change.as_ref().map(|change| change as &dyn Finish);
                    let problem = Problem {
                        formats: (format, ChannelsLast),
                        ..Problem::forward(g, src, &w, Some(&bias), finish)
                    };
                    // SAFETY: the pass writes all of its results.
                    let got = unsafe { written(want.len(), |y| convolve(arch, &problem, y)) };
                    let name = format!("{name}, {arch:?}, {format:?}, {in_registers:?}, {g:?}");
                    check::<f32>(&name, &got, &want, 1e-4);
                }
            }
        }
    }
}

#[test]
fn each_algorithm_and_instruction_set_equals_the_definition() {
    // Images, channels in and out, height, width, kernel, padding, stride, groups.
    let cases = [
        (2, 5, 20, 7, 9, 3, 1, 1, 1),
        (1, 33, 64, 4, 5, 3, 0, 1, 1),
        (2, 7, 70, 6, 6, 3, 1, 2, 1),
        (3, 3, 17, 9, 8, 5, 2, 2, 1),
        (2, 20, 24, 6, 5, 1, 0, 1, 1),
        (1, 9, 150, 3, 3, 1, 0, 1, 1),
        (2, 18, 33, 7, 6, 1, 0, 2, 1),
        (1, 4, 1, 5, 5, 1, 0, 1, 1),
        (2, 6, 12, 5, 5, 3, 1, 1, 3),
        (2, 19, 19, 7, 16, 3, 1, 1, 19),
        (1, 32, 32, 9, 31, 3, 1, 2, 32),
        (1, 40, 40, 6, 3, 5, 2, 1, 40),
        (2, 16, 16, 2, 2, 3, 3, 1, 16),
        (1, 24, 24, 1, 1, 5, 2, 1, 24),
    ];
    for (n, c_in, c_out, h, w, kernel, padding, stride, groups) in cases {
        let params = Conv2dParams {
            stride: (stride, stride),
            padding: (padding, padding),
            groups,
            ..Conv2dParams::default()
        };
        let weight = [c_out, c_in / groups, kernel, kernel];
        let g = Geometry::new(&[n, c_in, h, w], &weight, &params).expect("a geometry");
        every_algorithm(&g);
    }
}

#[test]
fn orders_are_inverse_to_each_other() {
    for (channels, plane) in [
        (1, 7),
        (3, 5),
        (16, 16),
        (17, 33),
        (40, 21),
        (64, 1000),
        (300, 63),
    ] {
        for images in 1..4 {
            let x = noise::<f32>(1, images * channels * plane);
            let formats = (Contiguous, ChannelsLast);
            let last = reordered(x[..].into(), formats, channels, plane);
            for (at, value) in last.iter().enumerate() {
                let (pixel, channel) = (at / channels, at % channels);
                let (image, pixel) = (pixel / plane, pixel % plane);
                assert_eq!(*value, x[(image * channels + channel) * plane + pixel]);
            }
            let formats = (ChannelsLast, Contiguous);
            assert_eq!(reordered(last[..].into(), formats, channels, plane), x);
        }
    }
}
