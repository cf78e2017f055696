//! The direct kernels in every instruction set that the machine has, against the definition.

use std::mem::MaybeUninit;
use std::ops::Range;

use proptest::prelude::*;
use pulp::Arch;

use super::element::Element;
use super::geometry::Geometry;
use super::weight_grad::weight_grad_with;
use super::{channel_lanes, depthwise, pixel_lanes, workspace};

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

/// Calls `f` with the places of each product in `x`, `w` and `y`.
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

/// Any geometry of which the kernel fits in the padded input.
fn geometries() -> impl Strategy<Value = Geometry> {
    (
        (1usize..6, 1usize..5, 1usize..8, 1usize..4),
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
            |(sizes, (h, w), k, stride, padding, dilation)| {
                let (n, group_in, group_out, groups) = sizes;
                let out = |size, k, s, p, d| {
                    Some(usize::checked_sub(size + 2 * p, d * (k - 1) + 1)? / s + 1)
                };
                Some(Geometry {
                    n,
                    c_in: group_in * groups,
                    c_out: group_out * groups,
                    groups,
                    h,
                    w,
                    kh: k.0,
                    kw: k.1,
                    out_h: out(h, k.0, stride.0, padding.0, dilation.0)?,
                    out_w: out(w, k.1, stride.1, padding.1, dilation.1)?,
                    stride,
                    padding,
                    dilation,
                })
            },
        )
}

fn check<F: Element>(name: &str, got: &[F], want: &[f64], tolerance: f64) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let got = got.to_f64();
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{name}: {got} at {i} should be {want}"
        );
    }
}

fn weight_grads<F: Element>(g: &Geometry, tolerance: f64) {
    let (x, dy) = (noise::<F>(1, g.in_len()), noise::<F>(2, g.out_len()));
    let mut want = vec![0.0; g.weight_len()];
    products(g, |i, k, o| want[k] += x[i].to_f64() * dy[o].to_f64());
    for arch in levels() {
        let mut dw = vec![F::from_f64(f64::NAN); want.len()];
        weight_grad_with(arch, g, &x, &dy, &mut dw);
        check(
            &format!("weight gradient, {arch:?}, {g:?}"),
            &dw,
            &want,
            tolerance,
        );
    }
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
        // SAFETY: the passes write all that they are given.
        unsafe {
            let got = workspace::written(y.len(), |y| {
                depthwise::forward_with(arch, g, &x, &w, y);
            });
            check::<F>(&name("forward"), &got, &y, tolerance);
            let got = workspace::written(dx.len(), |dx| {
                depthwise::input_grad_with(arch, g, &dy, &w, dx);
            });
            check::<F>(&name("input gradient"), &got, &dx, tolerance);
        }
        let mut got = vec![F::from_f64(f64::NAN); w.len()];
        depthwise::weight_grad_with(arch, g, &x, &dy, &mut got);
        check(&name("weight gradient"), &got, &dw, tolerance);
    }
}

/// A pass of a direct convolution that has the channels, or the pixels, in the lanes.
type Convolve = fn(Arch, &Geometry, &[f32], &[f32], &mut [MaybeUninit<f32>]);

/// Either kernel's convolution and input gradient.
const DIRECT: [(&str, Convolve, Convolve); 2] = [
    (
        "channels",
        |arch, g, x, w, y| channel_lanes::forward_with(arch, g, x, w, None, y),
        channel_lanes::input_grad_with,
    ),
    (
        "pixels",
        |arch, g, x, w, y| pixel_lanes::forward_with(arch, g, x, w, None, y),
        pixel_lanes::input_grad_with,
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
            // SAFETY: the passes write all that they are given.
            unsafe {
                let got = workspace::written(y.len(), |y| forward(arch, g, &x, &w, y));
                check::<f32>(&name("forward"), &got, &y, 2e-5);
                let got = workspace::written(dx.len(), |dx| input_grad(arch, g, &dy, &w, dx));
                check::<f32>(&name("input gradient"), &got, &dx, 2e-5);
            }
        }
        let name = |lanes| format!("forward with bias by {lanes}, {arch:?}, {g:?}");
        // SAFETY: the passes write all that they are given.
        unsafe {
            let got = workspace::written(y.len(), |y| {
                channel_lanes::forward_with(arch, g, &x, &w, Some(&bias), y);
            });
            check::<f32>(&name("channels"), &got, &biased, 2e-5);
            let got = workspace::written(y.len(), |y| {
                pixel_lanes::forward_with(arch, g, &x, &w, Some(&bias), y);
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
        channel_lanes::weight_grad::weight_grad_with(arch, g, &x, &dy, &mut dw);
        check(
            &format!("weight gradient by channels, {arch:?}, {g:?}"),
            &dw,
            &want,
            2e-5,
        );
    }
}

/// Where one value of x, and one of dy, is infinite or NaN, exactly those outputs and input
/// gradients are that the definition computes from it.
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
    let depthwise: [(&str, Convolve, Convolve); 1] = [(
        "depthwise",
        depthwise::forward_with,
        depthwise::input_grad_with,
    )];
    let kernels = match g.is_depthwise() {
        true => &depthwise[..],
        false => &DIRECT,
    };
    for arch in levels() {
        for (lanes, forward, input_grad) in kernels {
            // SAFETY: the passes write all that they are given.
            let (got_y, got_dx) = unsafe {
                (
                    workspace::written(y.len(), |y| forward(arch, g, &x, &w, y)),
                    workspace::written(dx.len(), |dx| input_grad(arch, g, &dy, &w, dx)),
                )
            };
            let name = format!("{lanes}, {arch:?}, {g:?}, {value}");
            assert_eq!(finite(got_y), y, "forward, {name} at {bad_x}");
            assert_eq!(finite(got_dx), dx, "input gradient, {name} at {bad_dy}");
        }
    }
}

/// Where one value of x is infinite or NaN, exactly those weights' gradients are with the
/// channels in the lanes that the definition computes from it; likewise of dy. (With the pixels
/// in them others may be as well.)
fn weight_grads_that_are_not_finite(g: &Geometry, at: usize, value: f32) {
    let (mut x, mut dy) = (noise::<f32>(1, g.in_len()), noise::<f32>(2, g.out_len()));
    // Zero times infinity would not be finite in either sense; without zeros both agree.
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
            channel_lanes::weight_grad::weight_grad_with(arch, g, x, dy, &mut dw);
            let got: Vec<bool> = dw.iter().map(|v| v.is_finite()).collect();
            assert_eq!(&got, want, "{arch:?}, {g:?}, {value} at {at}");
        }
    }
}

fn depthwise(mut g: Geometry) -> Geometry {
    g.c_in = g.groups;
    g
}

proptest! {
    #[test]
    fn weight_gradient_in_f32(g in geometries()) {
        weight_grads::<f32>(&g, 2e-5);
    }

    #[test]
    fn weight_gradient_in_f64(g in geometries()) {
        weight_grads::<f64>(&g, 1e-13);
    }

    #[test]
    fn direct(g in geometries()) {
        direct_passes(&g);
    }

    #[test]
    fn weight_gradient_by_channels(g in geometries()) {
        weight_grads_by_channels(&g);
    }

    /// As many channels as fill the widest tiles, with and without some more.
    #[test]
    fn wide(
        mut g in geometries(),
        inputs in prop_oneof![Just(8), Just(16), 1usize..40],
        outputs in prop_oneof![Just(16), Just(32), Just(48), Just(64), 1usize..150],
        (h, w) in pair(1..10),
    ) {
        let out = |size, k, s, p, d| Some(usize::checked_sub(size + 2 * p, d * (k - 1) + 1)? / s + 1);
        let out_h = out(h, g.kh, g.stride.0, g.padding.0, g.dilation.0);
        let out_w = out(w, g.kw, g.stride.1, g.padding.1, g.dilation.1);
        if let (Some(out_h), Some(out_w)) = (out_h, out_w) {
            g = Geometry { n: 2, h, w, out_h, out_w, ..g };
            g.groups = g.groups.min(2);
            (g.c_in, g.c_out) = (inputs * g.groups, outputs * g.groups);
            direct_passes(&g);
            weight_grads_by_channels(&g);
        }
    }

    #[test]
    fn weight_gradients_that_are_not_finite(
        g in geometries(),
        at in any::<usize>(),
        value in prop_oneof![Just(f32::INFINITY), Just(f32::NAN)],
    ) {
        weight_grads_that_are_not_finite(&g, at, value);
    }

    #[test]
    fn what_is_not_finite_stays_where_it_belongs(
        g in geometries(),
        channelwise in any::<bool>(),
        at in any::<usize>(),
        value in prop_oneof![Just(f32::INFINITY), Just(f32::NAN)],
    ) {
        let g = if channelwise { depthwise(g) } else { g };
        one_value_that_is_not_finite(&g, at, value);
    }

    #[test]
    fn depthwise_in_f32(g in geometries().prop_map(depthwise)) {
        depthwise_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn depthwise_in_f64(g in geometries().prop_map(depthwise)) {
        depthwise_passes::<f64>(&g, 1e-13);
    }
}

/// `[n, c, h, w]` by a square kernel, with padding for half of it.
fn plain(
    (n, c_in, c_out, groups): (usize, usize, usize, usize),
    (h, w): (usize, usize),
    k: usize,
    stride: usize,
) -> Geometry {
    let out = |size: usize| (size + k / 2 * 2 - k) / stride + 1;
    Geometry {
        n,
        c_in,
        c_out,
        groups,
        h,
        w,
        kh: k,
        kw: k,
        out_h: out(h),
        out_w: out(w),
        stride: (stride, stride),
        padding: (k / 2, k / 2),
        dilation: (1, 1),
    }
}

/// More than one tile of an image, group of tiles, or part of the channels at a time.
#[test]
fn more_than_the_caches_hold() {
    for g in [
        plain((2, 3, 5, 1), (90, 75), 3, 1),
        plain((1, 2, 3, 1), (190, 170), 5, 2),
        plain((2, 300, 6, 1), (20, 17), 3, 1),
        plain((50, 6, 9, 3), (16, 16), 3, 1),
        plain((70, 3, 4, 1), (8, 8), 1, 1),
    ] {
        weight_grads::<f32>(&g, 2e-5);
        weight_grads::<f64>(&g, 1e-13);
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
    ] {
        depthwise_passes::<f32>(&g, 2e-5);
        depthwise_passes::<f64>(&g, 1e-13);
    }
}

/// A product with the zeros that fill up a row must not be taken for a sum: values left from an
/// earlier call are not there any more.
#[test]
fn nothing_is_left_of_a_call_with_infinities() {
    let wide = plain((1, 3, 4, 1), (21, 19), 5, 1);
    let x = vec![f32::INFINITY; wide.in_len()];
    let dy = vec![f32::NAN; wide.out_len()];
    let mut dw = vec![0.0; wide.weight_len()];
    for arch in levels() {
        weight_grad_with(arch, &wide, &x, &dy, &mut dw);
    }
    weight_grads::<f32>(&plain((1, 2, 3, 1), (7, 5), 3, 1), 2e-5);
    weight_grads::<f32>(&plain((3, 2, 3, 1), (9, 17), 3, 2), 2e-5);
    let wide = plain((1, 3, 3, 3), (21, 19), 5, 1);
    let dy = vec![f32::NAN; wide.out_len()];
    let (mut dw, w) = (vec![0.0; 75], vec![1.0; 75]);
    let mut dx = vec![std::mem::MaybeUninit::uninit(); wide.in_len()];
    for arch in levels() {
        depthwise::weight_grad_with(arch, &wide, &x, &dy, &mut dw);
        depthwise::input_grad_with(arch, &wide, &x, &w, &mut dx);
    }
    depthwise_passes::<f32>(&plain((1, 3, 3, 3), (7, 5), 3, 1), 2e-5);
    depthwise_passes::<f32>(&plain((2, 3, 3, 3), (9, 17), 3, 2), 2e-5);
}
