//! Instruction sets, reproducible values, the definition and random geometries.

use std::ops::Range;

use proptest::prelude::*;
use pulp::Arch;

use super::super::element::Element;
use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::{Conv2dParams, Geometry};

pub(super) const IEEE: Fp32Precision = Fp32Precision::Ieee;
pub(super) const PRECISIONS: [Fp32Precision; 2] = [IEEE, Fp32Precision::Bf16];

/// The instruction sets of this machine.
pub(super) fn levels() -> Vec<Arch> {
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
pub(super) fn noise<F: Element>(seed: u64, len: usize) -> Vec<F> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        F::from_f64(((state >> 40) % 128) as f64 / 64.0 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

/// The arguments of a convolution, and its results by the definition.
pub(super) struct Definition<F> {
    pub x: Vec<F>,
    pub w: Vec<F>,
    pub dy: Vec<F>,
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub dw: Vec<f64>,
}

impl<F: Element> Definition<F> {
    pub(super) fn new(g: &Geometry) -> Self {
        let (x, dy) = (noise::<F>(1, g.in_len()), noise::<F>(2, g.out_len()));
        let w = noise::<F>(3, g.weight_len());
        let [mut y, mut dx, mut dw] = [dy.len(), x.len(), w.len()].map(|len| vec![0.0; len]);
        products(g, |i, k, o| {
            y[o] += x[i].to_f64() * w[k].to_f64();
            dx[i] += dy[o].to_f64() * w[k].to_f64();
            dw[k] += x[i].to_f64() * dy[o].to_f64();
        });
        Self {
            x,
            w,
            dy,
            y,
            dx,
            dw,
        }
    }

    /// A bias of each output channel, and the outputs with it.
    pub(super) fn with_bias(&self, g: &Geometry) -> (Vec<F>, Vec<f64>) {
        let bias = noise::<F>(4, g.c_out);
        let biased = |(i, y): (usize, &f64)| y + bias[i / g.out_plane() % g.c_out].to_f64();
        let y = self.y.iter().enumerate().map(biased).collect();
        (bias, y)
    }
}

/// Calls `f` with the positions of each product in `x`, `w` and `y`.
pub(super) fn products(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
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

pub(super) fn pair(range: Range<usize>) -> impl Strategy<Value = (usize, usize)> {
    (range.clone(), range)
}

/// The geometry of these sizes, or `None` if the kernel does not fit in the padded input.
pub(super) fn geometry(
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

/// Any geometry whose kernel fits in the padded input.
pub(super) fn geometries(n: Range<usize>) -> impl Strategy<Value = Geometry> {
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

pub(super) fn depthwise(mut g: Geometry) -> Geometry {
    g.c_in = g.groups;
    g
}

/// A square kernel of `k` taps with padding `k / 2`.
pub(super) fn plain(
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

pub(super) fn check<F: Element>(name: &str, got: &[F], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let got = got.to_f64();
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{name}: {got} at {i} should be {want}"
        );
    }
}
