//! Each algorithm with each instruction set of this machine, against the definition.

mod channels_last;
mod winograd;

use std::mem::MaybeUninit;
use std::ops::Range;

use candle_core::DType;
use proptest::prelude::*;
use pulp::Arch;

use super::direct::{self, Problem};
use super::dispatch::{self, Algorithm, Pass};
use super::element::Element;
use super::fp32_precision::Fp32Precision;
use super::geometry::{Conv2dParams, Geometry};
use super::inference::Inference;
use super::{cost_model, depthwise, im2col, weight_grad, whole_image};
use crate::ops::storage::written;

const IEEE: Fp32Precision = Fp32Precision::Ieee;

/// The instruction sets of this machine.
fn levels() -> Vec<Arch> {
    let mut all = vec![Arch::Scalar];
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        all.extend(pulp::x86::V3::try_new().map(Arch::V3));
        all.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    #[cfg(target_arch = "aarch64")]
    all.push(Arch::new());
    all
}

/// Reproducible multiples of 1/64 in [-1, 1): products and short sums are exact in f32.
fn noise<F: Element>(seed: u64, len: usize) -> Vec<F> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        F::from_f64(((state >> 40) % 128) as f64 / 64.0 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

/// Calls `f` with the positions of each product in `x`, `w` and `y`.
fn products(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    let within = |size: usize, out: usize, k: usize, s: usize, d: usize, p: usize| {
        (out * s + k * d).checked_sub(p).filter(|i| *i < size)
    };
    for (i, o) in (0..g.n).flat_map(|i| (0..g.c_out).map(move |o| (i, o))) {
        for c in 0..g.group_in() {
            let channel = o / g.group_out() * g.group_in() + c;
            for (oy, ky) in (0..g.out_h).flat_map(|oy| (0..g.kh).map(move |ky| (oy, ky))) {
                let Some(y) = within(g.h, oy, ky, g.stride.0, g.dilation.0, g.padding.0) else {
                    continue;
                };
                for (ox, kx) in (0..g.out_w).flat_map(|ox| (0..g.kw).map(move |kx| (ox, kx))) {
                    let x = within(g.w, ox, kx, g.stride.1, g.dilation.1, g.padding.1);
                    if let Some(x) = x {
                        f(
                            ((i * g.c_in + channel) * g.h + y) * g.w + x,
                            ((o * g.group_in() + c) * g.kh + ky) * g.kw + kx,
                            ((i * g.c_out + o) * g.out_h + oy) * g.out_w + ox,
                        );
                    }
                }
            }
        }
    }
}

fn pair(range: Range<usize>) -> impl Strategy<Value = (usize, usize)> {
    (range.clone(), range)
}

/// The geometry of these sizes, or `None` if the kernel does not fit in the padded input.
fn geometry(
    (n, group_in, group_out): (usize, usize, usize),
    (h, w): (usize, usize),
    (kh, kw): (usize, usize),
    params: Conv2dParams,
) -> Option<Geometry> {
    let groups = params.groups;
    let x = [n, group_in * groups, h, w];
    let weight = [group_out * groups, group_in, kh, kw];
    Geometry::new(&x, &weight, &params).ok()
}

/// Any geometry whose kernel covers the image.
fn whole_images() -> impl Strategy<Value = Geometry> {
    let sizes = (1usize..5, 1usize..9, 1usize..150);
    (sizes, pair(1..8), pair(1..3)).prop_filter_map(
        "the sizes are valid",
        |(sizes, size, stride)| {
            let params = Conv2dParams {
                stride,
                ..Conv2dParams::default()
            };
            geometry(sizes, size, size, params)
        },
    )
}

/// Any geometry whose kernel fits in the padded input.
fn geometries(n: Range<usize>) -> impl Strategy<Value = Geometry> {
    (
        (n, 1usize..5, 1usize..8, 1usize..4),
        pair(1..40),
        prop_oneof![
            pair(1..6),
            Just((1, 7)),
            Just((7, 1)),
            Just((1, 1)),
            Just((3, 3))
        ],
        prop_oneof![Just((1, 1)), pair(1..4)],
        pair(0..4),
        prop_oneof![Just((1, 1)), pair(1..4)],
    )
        .prop_filter_map(
            "the kernel fits",
            |(sizes, size, kernel, stride, padding, dilation)| {
                let (n, group_in, group_out, groups) = sizes;
                let params = Conv2dParams {
                    stride,
                    padding,
                    dilation,
                    groups,
                };
                geometry((n, group_in, group_out), size, kernel, params)
            },
        )
}

fn check<F: Element>(name: &str, got: &[F], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let got = got.to_f64();
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{name}: {got} at {i} should be {want}"
        );
    }
}

fn weight_grads_by_pixels<F: Element>(g: &Geometry, tolerance: f64) {
    let (x, dy) = (noise::<F>(1, g.in_len()), noise::<F>(2, g.out_len()));
    let mut want = vec![0.0; g.weight_len()];
    products(g, |i, k, o| want[k] += x[i].to_f64() * dy[o].to_f64());
    for arch in levels() {
        let mut dw = vec![F::from_f64(f64::NAN); want.len()];
        weight_grad::pixel_lanes::weight_grad(arch, g, &x, &dy, &mut dw);
        check(
            &format!("weight gradient by pixels, {arch:?}, {g:?}"),
            &dw,
            &want,
            tolerance,
        );
    }
}

fn whole_image_passes<F: Element>(g: &Geometry, tolerance: f64) {
    let (x, w) = (noise::<F>(1, g.in_len()), noise::<F>(3, g.weight_len()));
    let dy = noise::<F>(2, g.out_len());
    let mut dw = vec![0.0; w.len()];
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    products(g, |i, k, o| {
        y[o] += x[i].to_f64() * w[k].to_f64();
        dx[i] += dy[o].to_f64() * w[k].to_f64();
        dw[k] += x[i].to_f64() * dy[o].to_f64();
    });
    let name = |pass| format!("whole image {pass}, {g:?}");
    // SAFETY: the passes write all of their results.
    unsafe {
        let got = written(y.len(), |y| whole_image::forward(g, &x, &w, y));
        check::<F>(&name("forward"), &got, &y, tolerance);
        let got = written(dx.len(), |dx| whole_image::input_grad(g, &dy, &w, dx));
        check::<F>(&name("input gradient"), &got, &dx, tolerance);
    }
    let mut got = vec![F::from_f64(f64::NAN); w.len()];
    whole_image::weight_grad(g, &x, &dy, &mut got);
    check(&name("weight gradient"), &got, &dw, tolerance);
}

fn depthwise_passes<F: Element>(g: &Geometry, tolerance: f64) {
    let (x, w) = (noise::<F>(1, g.in_len()), noise::<F>(3, g.weight_len()));
    let dy = noise::<F>(2, g.out_len());
    let mut dw = vec![0.0; w.len()];
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    products(g, |i, k, o| {
        y[o] += x[i].to_f64() * w[k].to_f64();
        dx[i] += dy[o].to_f64() * w[k].to_f64();
        dw[k] += x[i].to_f64() * dy[o].to_f64();
    });
    for arch in levels() {
        let name = |pass| format!("depthwise {pass}, {arch:?}, {g:?}");
        // SAFETY: the passes write all of their results.
        unsafe {
            let got = written(y.len(), |y| depthwise::forward(arch, g, &x, &w, None, y));
            check::<F>(&name("forward"), &got, &y, tolerance);
            let got = written(dx.len(), |dx| {
                depthwise::input_grad(arch, g, &dy, &w, dx);
            });
            check::<F>(&name("input gradient"), &got, &dx, tolerance);
        }
        let mut got = vec![F::from_f64(f64::NAN); w.len()];
        depthwise::weight_grad(arch, g, &x, &dy, &mut got);
        check(&name("weight gradient"), &got, &dw, tolerance);
    }
    if let (Some(x), Some(w), Some(dy)) = (F::as_f32(&x), F::as_f32(&w), F::as_f32(&dy))
        && g.c_in == g.c_out
    {
        let bias = noise::<f32>(4, g.c_out);
        let biased = |(i, y): (usize, &f64)| y + f64::from(bias[i / g.out_plane() % g.c_out]);
        let biased: Vec<f64> = y.iter().enumerate().map(biased).collect();
        for (what, problem, want) in [
            ("forward", Problem::forward(g, x, w, None, None), &y),
            (
                "forward with bias",
                Problem::forward(g, x, w, Some(&bias), None),
                &biased,
            ),
            ("input gradient", Problem::input_grad(g, dy, w), &dx),
        ] {
            for arch in levels() {
                let convolve =
                    |to: &mut [_]| depthwise::channel_lanes::convolve(arch, &problem, to);
                // SAFETY: the pass writes all of its results.
                let got = unsafe { written(want.len(), convolve) };
                let name = format!("depthwise {what} by channels, {arch:?}, {g:?}");
                check::<f32>(&name, &got, want, tolerance);
            }
        }
    }
}

/// A pass from two arguments, with a given instruction set.
type Convolve = fn(Arch, &Geometry, &[f32], &[f32], &mut [MaybeUninit<f32>]);

/// The convolution and the input gradient of both direct algorithms.
const DIRECT: [(&str, Convolve, Convolve); 2] = [
    (
        "channels",
        |arch, g, x, w, y| {
            direct::channel_lanes::convolve(arch, &Problem::forward(g, x, w, None, None), y);
        },
        |arch, g, dy, w, dx| {
            direct::channel_lanes::convolve(arch, &Problem::input_grad(g, dy, w), dx);
        },
    ),
    (
        "pixels",
        |arch, g, x, w, y| {
            direct::pixel_lanes::convolve(arch, &Problem::forward(g, x, w, None, None), y);
        },
        |arch, g, dy, w, dx| {
            direct::pixel_lanes::convolve(arch, &Problem::input_grad(g, dy, w), dx);
        },
    ),
];

fn direct_passes(g: &Geometry) {
    let (x, w) = (noise::<f32>(1, g.in_len()), noise::<f32>(3, g.weight_len()));
    let (dy, bias) = (noise::<f32>(2, g.out_len()), noise::<f32>(4, g.c_out));
    let mut dx = vec![0.0; x.len()];
    let mut y = vec![0.0; dy.len()];
    products(g, |i, k, o| {
        y[o] += f64::from(x[i]) * f64::from(w[k]);
        dx[i] += f64::from(dy[o]) * f64::from(w[k]);
    });
    let biased = |(i, y): (usize, &f64)| y + f64::from(bias[i / g.out_plane() % g.c_out]);
    let biased: Vec<f64> = y.iter().enumerate().map(biased).collect();
    for arch in levels() {
        for (lanes, forward, input_grad) in DIRECT {
            let name = |pass| format!("{pass} by {lanes}, {arch:?}, {g:?}");
            // SAFETY: the passes write all of their results.
            unsafe {
                let got = written(y.len(), |y| forward(arch, g, &x, &w, y));
                check::<f32>(&name("forward"), &got, &y, 2e-5);
                let got = written(dx.len(), |dx| input_grad(arch, g, &dy, &w, dx));
                check::<f32>(&name("input gradient"), &got, &dx, 2e-5);
            }
        }
        let name = |lanes| format!("forward with bias by {lanes}, {arch:?}, {g:?}");
        // SAFETY: the passes write all of their results.
        unsafe {
            let problem = Problem::forward(g, &x, &w, Some(&bias), None);
            let got = written(y.len(), |y| {
                direct::channel_lanes::convolve(arch, &problem, y);
            });
            check::<f32>(&name("channels"), &got, &biased, 2e-5);
            let got = written(y.len(), |y| {
                direct::pixel_lanes::convolve(arch, &problem, y);
            });
            check::<f32>(&name("pixels"), &got, &biased, 2e-5);
        }
    }
}

fn weight_grads_by_channels(g: &Geometry) {
    let (x, dy) = (noise::<f32>(1, g.in_len()), noise::<f32>(2, g.out_len()));
    let mut want = vec![0.0; g.weight_len()];
    products(g, |i, k, o| want[k] += f64::from(x[i]) * f64::from(dy[o]));
    for arch in levels() {
        let mut dw = vec![f32::NAN; want.len()];
        weight_grad::channel_lanes::weight_grad(arch, g, &x, &dy, &mut dw);
        check(
            &format!("weight gradient by channels, {arch:?}, {g:?}"),
            &dw,
            &want,
            2e-5,
        );
    }
}

/// One value of x, and one of dy, is infinite or NaN. Then exactly the outputs and the input
/// gradients that the definition computes from it are infinite or NaN.
fn one_value_that_is_not_finite(g: &Geometry, at: usize, value: f32) {
    let w = vec![1.0; g.weight_len()];
    let (mut x, mut dy) = (noise::<f32>(1, g.in_len()), noise::<f32>(2, g.out_len()));
    let (bad_x, bad_dy) = (at % x.len(), at % dy.len());
    (x[bad_x], dy[bad_dy]) = (value, value);
    let (mut y, mut dx) = (vec![true; dy.len()], vec![true; x.len()]);
    products(g, |i, _, o| {
        y[o] &= i != bad_x;
        dx[i] &= o != bad_dy;
    });
    let finite = |values: Vec<f32>| values.iter().map(|v| v.is_finite()).collect::<Vec<_>>();
    let depthwise: [(&str, Convolve, Convolve); 2] = [
        (
            "depthwise by pixels",
            |arch, g, x, w, y| depthwise::forward(arch, g, x, w, None, y),
            depthwise::input_grad,
        ),
        (
            "depthwise by channels",
            |arch, g, x, w, y| {
                depthwise::channel_lanes::convolve(arch, &Problem::forward(g, x, w, None, None), y);
            },
            |arch, g, dy, w, dx| {
                depthwise::channel_lanes::convolve(arch, &Problem::input_grad(g, dy, w), dx);
            },
        ),
    ];
    let algorithms = match (g.is_depthwise(), g.c_in == g.c_out) {
        (true, true) => &depthwise[..],
        (true, false) => &depthwise[..1],
        (false, _) => &DIRECT,
    };
    for arch in levels() {
        for (lanes, forward, input_grad) in algorithms {
            // SAFETY: the passes write all of their results.
            let (got_y, got_dx) = unsafe {
                (
                    written(y.len(), |y| forward(arch, g, &x, &w, y)),
                    written(dx.len(), |dx| input_grad(arch, g, &dy, &w, dx)),
                )
            };
            let name = format!("{lanes}, {arch:?}, {g:?}, {value}");
            assert_eq!(finite(got_y), y, "forward, {name} at {bad_x}");
            assert_eq!(finite(got_dx), dx, "input gradient, {name} at {bad_dy}");
        }
    }
}

/// One value of x or of dy is infinite or NaN. Then channel lanes give infinity or NaN for exactly
/// the weights for which the definition does. (Pixel lanes may give it for more.)
fn weight_grads_that_are_not_finite(g: &Geometry, at: usize, value: f32) {
    let (mut x, mut dy) = (noise::<f32>(1, g.in_len()), noise::<f32>(2, g.out_len()));
    // Zero times infinity is not finite either; without zeros the counts agree.
    let one_for_zero = |v: &mut f32| *v = if *v == 0.0 { 1.0 } else { *v };
    x.iter_mut().chain(&mut dy).for_each(one_for_zero);
    let (bad_x, bad_dy) = (at % x.len(), at % dy.len());
    let mut want = [vec![true; g.weight_len()], vec![true; g.weight_len()]];
    products(g, |i, k, o| {
        want[0][k] &= i != bad_x;
        want[1][k] &= o != bad_dy;
    });
    let (mut bad, mut worse) = (x.clone(), dy.clone());
    (bad[bad_x], worse[bad_dy]) = (value, value);
    for arch in levels() {
        for (x, dy, want) in [(&bad, &dy, &want[0]), (&x, &worse, &want[1])] {
            let mut dw = vec![0.0; want.len()];
            weight_grad::channel_lanes::weight_grad(arch, g, x, dy, &mut dw);
            let got: Vec<bool> = dw.iter().map(|v| v.is_finite()).collect();
            assert_eq!(&got, want, "{arch:?}, {g:?}, {value} at {at}");
        }
    }
}

fn depthwise(mut g: Geometry) -> Geometry {
    g.c_in = g.groups;
    g
}

/// The convolution and the input gradient by im2col, against the definition.
fn im2col_passes(g: &Geometry) {
    let (x, w) = (noise::<f64>(1, g.in_len()), noise::<f64>(3, g.weight_len()));
    let dy = noise::<f64>(2, g.out_len());
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    products(g, |i, k, o| {
        y[o] += x[i] * w[k];
        dx[i] += dy[o] * w[k];
    });
    // SAFETY: the passes write all of their results.
    unsafe {
        let got = written(y.len(), |y| im2col::forward(g, &x, &w, y));
        check::<f64>(&format!("forward by im2col, {g:?}"), &got, &y, 1e-13);
        let got = written(dx.len(), |dx| im2col::input_grad(g, &dy, &w, dx));
        check::<f64>(
            &format!("input gradient by im2col, {g:?}"),
            &got,
            &dx,
            1e-13,
        );
    }
}

/// All passes by the algorithms that dispatch chooses, against the definition.
fn dispatched_passes<F: Element>(g: &Geometry, tolerance: f64) {
    let (x, w) = (noise::<F>(1, g.in_len()), noise::<F>(3, g.weight_len()));
    let (dy, bias) = (noise::<F>(2, g.out_len()), noise::<F>(4, g.c_out));
    let (mut y, mut db) = (vec![0.0; dy.len()], vec![0.0; g.c_out]);
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    for (i, y) in y.iter_mut().enumerate() {
        let channel = i / g.out_plane() % g.c_out;
        *y = bias[channel].to_f64();
        db[channel] += dy[i].to_f64();
    }
    products(g, |i, k, o| {
        y[o] += x[i].to_f64() * w[k].to_f64();
        dx[i] += dy[o].to_f64() * w[k].to_f64();
        dw[k] += x[i].to_f64() * dy[o].to_f64();
    });
    // SAFETY: the passes write all of their results.
    unsafe {
        let got = written(y.len(), |y| {
            dispatch::forward(g, &x, &w, Some(&bias), Inference::default(), y)
        });
        check::<F>(&format!("forward, {g:?}"), &got, &y, tolerance);
        let got = written(dx.len(), |dx| dispatch::input_grad(g, IEEE, &dy, &w, dx));
        check::<F>(&format!("input gradient, {g:?}"), &got, &dx, tolerance);
    }
    let mut got = vec![F::from_f64(f64::NAN); w.len()];
    dispatch::weight_grad(g, IEEE, &x, &dy, &mut got);
    check(&format!("weight gradient, {g:?}"), &got, &dw, tolerance);
    let got = dispatch::bias_grad(g, &dy);
    check(&format!("bias gradient, {g:?}"), &got, &db, tolerance);
}

proptest! {
    #[test]
    fn weight_gradient_in_f32(g in geometries(0..6)) {
        weight_grads_by_pixels::<f32>(&g, 2e-5);
    }

    #[test]
    fn weight_gradient_in_f64(g in geometries(0..6)) {
        weight_grads_by_pixels::<f64>(&g, 1e-13);
    }

    #[test]
    fn direct(g in geometries(0..6)) {
        direct_passes(&g);
    }

    #[test]
    fn weight_gradient_by_channels(g in geometries(0..6)) {
        weight_grads_by_channels(&g);
    }

    #[test]
    fn by_im2col(g in geometries(0..6)) {
        im2col_passes(&g);
    }

    #[test]
    fn dispatched_in_f32(g in geometries(0..6)) {
        dispatched_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn dispatched_in_f64(g in geometries(0..6)) {
        dispatched_passes::<f64>(&g, 1e-13);
    }

    /// Channel counts that fill the widest tiles, with and without a remainder.
    #[test]
    fn wide(
        g in geometries(0..6),
        inputs in prop_oneof![Just(8), Just(16), 1usize..40],
        outputs in prop_oneof![Just(16), Just(32), Just(48), Just(64), 1usize..150],
        size in pair(1..10),
    ) {
        let params = Conv2dParams {
            stride: g.stride,
            padding: g.padding,
            dilation: g.dilation,
            groups: g.groups.min(2),
        };
        if let Some(g) = geometry((2, inputs, outputs), size, (g.kh, g.kw), params) {
            direct_passes(&g);
            weight_grads_by_channels(&g);
        }
    }

    #[test]
    fn weight_gradients_that_are_not_finite(
        g in geometries(1..6),
        at in any::<usize>(),
        value in prop_oneof![Just(f32::INFINITY), Just(f32::NAN)],
    ) {
        weight_grads_that_are_not_finite(&g, at, value);
    }

    #[test]
    fn what_is_not_finite_stays_where_it_belongs(
        g in geometries(1..6),
        channelwise in any::<bool>(),
        at in any::<usize>(),
        value in prop_oneof![Just(f32::INFINITY), Just(f32::NAN)],
    ) {
        let g = if channelwise { depthwise(g) } else { g };
        one_value_that_is_not_finite(&g, at, value);
    }

    #[test]
    fn depthwise_in_f32(g in geometries(0..6).prop_map(depthwise)) {
        depthwise_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn whole_images_in_f32(g in whole_images()) {
        prop_assert!(whole_image::covers(&g));
        whole_image_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn whole_images_in_f64(g in whole_images()) {
        whole_image_passes::<f64>(&g, 1e-13);
    }

    #[test]
    fn depthwise_in_f64(g in geometries(0..6).prop_map(depthwise)) {
        depthwise_passes::<f64>(&g, 1e-13);
    }
}

/// A square kernel of `k` taps with padding `k / 2`.
fn plain(
    (n, c_in, c_out, groups): (usize, usize, usize, usize),
    size: (usize, usize),
    k: usize,
    stride: usize,
) -> Geometry {
    let params = Conv2dParams {
        stride: (stride, stride),
        padding: (k / 2, k / 2),
        groups,
        ..Conv2dParams::default()
    };
    let sizes = (n, c_in / groups, c_out / groups);
    geometry(sizes, size, (k, k), params).expect("the kernel fits")
}

/// All passes by every algorithm, not only by those that dispatch chooses.
fn every_algorithm(g: &Geometry) {
    direct_passes(g);
    weight_grads_by_channels(g);
    weight_grads_by_pixels::<f32>(g, 2e-5);
    weight_grads_by_pixels::<f64>(g, 1e-13);
    im2col_passes(g);
    if g.is_depthwise() {
        depthwise_passes::<f32>(g, 2e-5);
        depthwise_passes::<f64>(g, 1e-13);
    }
    dispatched_passes::<f32>(g, 2e-5);
    dispatched_passes::<f64>(g, 1e-13);
}

#[test]
fn empty_batches_give_zeros() {
    for g in [
        plain((0, 16, 16, 1), (8, 8), 3, 1),
        plain((0, 16, 32, 1), (8, 8), 3, 2),
        plain((0, 3, 5, 1), (7, 9), 1, 1),
        plain((0, 8, 12, 4), (7, 9), 3, 1),
        plain((0, 5, 10, 5), (7, 9), 3, 1),
    ] {
        every_algorithm(&g);
        for pass in [Pass::Forward, Pass::InputGrad, Pass::WeightGrad] {
            let taken = dispatch::algorithm_for(pass, &g, DType::F32).ok();
            assert_eq!(taken, Some(Algorithm::Empty));
        }
    }
}

#[test]
fn inputs_without_channels_give_outputs_without_channels() {
    for groups in [1, 2] {
        let g = plain((2, 0, 4, groups), (8, 8), 3, 1);
        assert_eq!(g.out_shape(), [2, 0, 8, 8]);
        every_algorithm(&g);
    }
}

#[test]
fn images_without_rows_are_allowed_in_empty_batches_only() {
    let params = Conv2dParams {
        padding: (2, 2),
        ..Conv2dParams::default()
    };
    for size in [(0, 8), (8, 0), (0, 0)] {
        let g = geometry((0, 3, 4), size, (3, 3), params).expect("an empty batch");
        every_algorithm(&g);
        assert_eq!(geometry((2, 3, 4), size, (3, 3), params), None);
    }
}

/// Taps or steps that are far apart compared with the image: no copy may grow with the distance.
#[test]
fn distances_beyond_the_image() {
    let far = 1 << 29;
    let params = Conv2dParams::default();
    for (groups, sizes) in [(1, (2, 2, 3)), (1, (1, 16, 32)), (3, (2, 1, 1))] {
        let params = Conv2dParams { groups, ..params };
        for (kernel, params) in [
            (
                (2, 2),
                Conv2dParams {
                    padding: (far / 2, far / 2),
                    dilation: (far, far),
                    ..params
                },
            ),
            (
                (3, 3),
                Conv2dParams {
                    padding: (far, 1),
                    dilation: (far, 1),
                    ..params
                },
            ),
            (
                (3, 1),
                Conv2dParams {
                    stride: (usize::MAX, far),
                    padding: (1, 0),
                    dilation: (1, usize::MAX),
                    ..params
                },
            ),
        ] {
            let g = geometry(sizes, (5, 6), kernel, params).expect("the kernel fits");
            assert!(!cost_model::padded_copies_fit(&g), "{g:?}");
            dispatched_passes::<f32>(&g, 2e-5);
            dispatched_passes::<f64>(&g, 1e-13);
        }
    }
}

/// Sizes that need several tiles per image, groups of tiles, or parts of the channels.
#[test]
fn more_than_the_caches_hold() {
    for g in [
        plain((2, 3, 5, 1), (90, 75), 3, 1),
        plain((1, 2, 3, 1), (190, 170), 5, 2),
        plain((2, 300, 6, 1), (20, 17), 3, 1),
        plain((50, 6, 9, 3), (16, 16), 3, 1),
        plain((70, 3, 4, 1), (8, 8), 1, 1),
    ] {
        weight_grads_by_pixels::<f32>(&g, 2e-5);
        weight_grads_by_pixels::<f64>(&g, 1e-13);
        weight_grads_by_channels(&g);
    }
    for g in [
        plain((2, 3, 5, 1), (90, 75), 3, 1),
        plain((1, 90, 20, 1), (33, 35), 3, 2),
        plain((17, 24, 9, 3), (16, 16), 3, 1),
        plain((35, 70, 33, 1), (4, 4), 3, 1),
    ] {
        direct_passes(&g);
    }
    for g in [
        plain((2, 37, 37, 37), (16, 16), 3, 1),
        plain((1, 3, 6, 3), (130, 115), 5, 2),
        plain((2, 35, 35, 35), (130, 115), 5, 2),
        plain((1, 64, 64, 64), (14, 14), 3, 1),
        plain((1, 64, 64, 64), (7, 7), 5, 1),
        plain((3, 33, 33, 33), (3, 2), 3, 2),
    ] {
        depthwise_passes::<f32>(&g, 2e-5);
        depthwise_passes::<f64>(&g, 1e-13);
    }
}

/// The zeros that pad a row are multiplied too, so the workspace must not keep values of an earlier
/// call.
#[test]
fn workspaces_keep_nothing_of_a_call_with_infinities() {
    let wide = plain((1, 3, 4, 1), (21, 19), 5, 1);
    let x = vec![f32::INFINITY; wide.in_len()];
    let dy = vec![f32::NAN; wide.out_len()];
    let mut dw = vec![0.0; wide.weight_len()];
    for arch in levels() {
        weight_grad::pixel_lanes::weight_grad(arch, &wide, &x, &dy, &mut dw);
    }
    weight_grads_by_pixels::<f32>(&plain((1, 2, 3, 1), (7, 5), 3, 1), 2e-5);
    weight_grads_by_pixels::<f32>(&plain((3, 2, 3, 1), (9, 17), 3, 2), 2e-5);
    let wide = plain((1, 3, 3, 3), (21, 19), 5, 1);
    let dy = vec![f32::NAN; wide.out_len()];
    let (mut dw, w) = (vec![0.0; 75], vec![1.0; 75]);
    let mut dx = vec![MaybeUninit::uninit(); wide.in_len()];
    for arch in levels() {
        depthwise::weight_grad(arch, &wide, &x, &dy, &mut dw);
        depthwise::input_grad(arch, &wide, &x, &w, &mut dx);
    }
    depthwise_passes::<f32>(&plain((1, 3, 3, 3), (7, 5), 3, 1), 2e-5);
    depthwise_passes::<f32>(&plain((2, 3, 3, 3), (9, 17), 3, 2), 2e-5);
}
