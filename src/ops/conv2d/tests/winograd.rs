//! Winograd's algorithm against the definition, and its error against the direct algorithms'.

use proptest::prelude::*;

use super::super::cost_model::Outputs;
use super::super::direct::{self, Problem};
use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::{Conv2dParams, Geometry};
use super::super::rounding::{rounded, rounded_value};
use super::super::weight_grad;
use super::super::winograd;
use super::support::{IEEE, check, geometry, levels, noise, pair, products};
use crate::ops::storage::written;

const OUTPUTS: [Outputs; 2] = [Outputs::Two, Outputs::Four];

/// Geometries with a kernel of 3x3 and stride 1.
fn geometries() -> impl Strategy<Value = Geometry> {
    let channels = prop_oneof![1usize..9, Just(16), Just(32), 1usize..70];
    (
        (0usize..6, channels.clone(), channels, 1usize..4),
        pair(1..20),
        pair(0..4),
    )
        .prop_filter_map(
            "the kernel fits",
            |((n, inputs, outputs, groups), size, padding)| {
                let params = Conv2dParams {
                    padding,
                    groups: if inputs + outputs > 40 { 1 } else { groups },
                    ..Conv2dParams::default()
                };
                geometry((n, inputs, outputs), size, (3, 3), params)
            },
        )
}

fn passes(g: &Geometry, tolerance: f64) {
    let (x, w) = (noise::<f32>(1, g.in_len()), noise::<f32>(3, g.weight_len()));
    let (dy, bias) = (noise::<f32>(2, g.out_len()), noise::<f32>(4, g.c_out));
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    let channel = |i: usize| i / g.out_plane() % g.c_out;
    let mut y: Vec<f64> = (0..dy.len()).map(|i| f64::from(bias[channel(i)])).collect();
    products(g, |i, k, o| {
        y[o] += f64::from(x[i]) * f64::from(w[k]);
        dx[i] += f64::from(dy[o]) * f64::from(w[k]);
        dw[k] += f64::from(x[i]) * f64::from(dy[o]);
    });
    for (arch, outputs) in levels().into_iter().flat_map(|a| OUTPUTS.map(|o| (a, o))) {
        let name = |pass| format!("{pass} by {outputs:?}, {arch:?}, {g:?}");
        // SAFETY: the passes write all of their results.
        unsafe {
            let problem = Problem::forward(g, &x, &w, Some(&bias), None);
            let got = written(y.len(), |y| winograd::convolve(arch, outputs, &problem, y));
            check::<f32>(&name("forward"), &got, &y, tolerance);
            let problem = Problem::input_grad(g, &dy, &w);
            let got = written(dx.len(), |dx| {
                winograd::convolve(arch, outputs, &problem, dx)
            });
            check::<f32>(&name("input gradient"), &got, &dx, tolerance);
        }
        let mut got = vec![f32::NAN; dw.len()];
        winograd::weight_grad(arch, outputs, IEEE, g, &x, &dy, &mut got);
        check(&name("weight gradient"), &got, &dw, tolerance);
    }
}

proptest! {
    #[test]
    fn equals_the_definition(g in geometries()) {
        passes(&g, 1e-4);
    }
}

/// Several parts of the tiles, chunks of channels and tasks.
#[test]
fn large() {
    for (n, inputs, outputs, size) in [(1, 300, 300, (9, 10)), (9, 40, 24, (36, 33))] {
        let params = Conv2dParams {
            padding: (1, 1),
            ..Conv2dParams::default()
        };
        let g = geometry((n, inputs, outputs), size, (3, 3), params);
        passes(&g.expect("the kernel fits"), 5e-4);
    }
}

/// Values of a normal distribution, by Box and Muller.
pub(super) fn normal(seed: u64, len: usize, scale: f64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mut next = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..len).map(|_| (scale * next()) as f32).collect()
}

/// The root mean square of the error.
pub(super) fn error(got: &[f32], want: &[f64]) -> f64 {
    let squares = got
        .iter()
        .zip(want)
        .map(|(g, w)| (f64::from(*g) - w).powi(2));
    (squares.sum::<f64>() / want.len() as f64).sqrt()
}

/// The root mean square error of F(4 x 4) is at most four times the direct algorithms', and that
/// of F(2 x 2) at most twice, for normal values.
#[test]
fn error_against_the_direct_algorithms() {
    let arch = pulp::Arch::new();
    for (n, channels, size) in [(4, 16, 16), (2, 64, 16), (2, 128, 8)] {
        let params = Conv2dParams {
            padding: (1, 1),
            ..Conv2dParams::default()
        };
        let g = geometry((n, channels, channels), (size, size), (3, 3), params);
        let g = g.expect("the kernel fits");
        let (x, dy) = (normal(1, g.in_len(), 1.0), normal(2, g.out_len(), 1.0));
        let w = normal(3, g.weight_len(), 0.1);
        let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
        let mut dw = vec![0.0; w.len()];
        products(&g, |i, k, o| {
            y[o] += f64::from(x[i]) * f64::from(w[k]);
            dx[i] += f64::from(dy[o]) * f64::from(w[k]);
            dw[k] += f64::from(x[i]) * f64::from(dy[o]);
        });
        let forward = Problem::forward(&g, &x, &w, None, None);
        let input_grad = Problem::input_grad(&g, &dy, &w);
        for (name, problem, want) in [
            ("forward", forward, &y),
            ("input gradient", input_grad, &dx),
        ] {
            // SAFETY: the passes write all of their results.
            let (direct, two, four) = unsafe {
                (
                    written(want.len(), |y| {
                        direct::channel_lanes::convolve(arch, &problem, y)
                    }),
                    written(want.len(), |y| {
                        winograd::convolve(arch, Outputs::Two, &problem, y);
                    }),
                    written(want.len(), |y| {
                        winograd::convolve(arch, Outputs::Four, &problem, y);
                    }),
                )
            };
            compare(name, channels, &direct, [&two, &four], want);
        }
        let mut direct = vec![0.0; dw.len()];
        weight_grad::channel_lanes::weight_grad(arch, IEEE, &g, &x, &dy, &mut direct);
        let [two, four] = OUTPUTS.map(|outputs| {
            let mut got = vec![0.0; dw.len()];
            winograd::weight_grad(arch, outputs, IEEE, &g, &x, &dy, &mut got);
            got
        });
        compare("weight gradient", channels, &direct, [&two, &four], &dw);
    }
}

fn compare(name: &str, channels: usize, direct: &[f32], [two, four]: [&[f32]; 2], want: &[f64]) {
    let direct = error(direct, want);
    let (two, four) = (error(two, want) / direct, error(four, want) / direct);
    println!("{name}, {channels} channels: F2 {two:.2}, F4 {four:.2}");
    assert!(
        two <= 2.0,
        "{name}, {channels} channels: {two} times for F(2 x 2)"
    );
    assert!(
        four <= 4.0,
        "{name}, {channels} channels: {four} times for F(4 x 4)"
    );
}

/// The results of all passes with products in bfloat16: y, dx, dw.
fn in_bf16(
    arch: pulp::Arch,
    outputs: Outputs,
    g: &Geometry,
    [x, w, dy]: [&[f32]; 3],
) -> [Vec<f32>; 3] {
    let precision = Fp32Precision::Bf16;
    let forward = Problem {
        precision,
        ..Problem::forward(g, x, w, None, None)
    };
    let input_grad = Problem {
        precision,
        ..Problem::input_grad(g, dy, w)
    };
    // SAFETY: the passes write all of their results.
    let [y, dx] = unsafe {
        [(forward, dy.len()), (input_grad, x.len())].map(|(problem, len)| {
            written(len, |to| winograd::convolve(arch, outputs, &problem, to))
        })
    };
    let mut dw = vec![f32::NAN; w.len()];
    winograd::weight_grad(arch, outputs, precision, g, x, dy, &mut dw);
    [y, dx, dw]
}

/// The sums of products that the passes compute, and the sums of their squares.
pub(super) fn definition(g: &Geometry, [x, w, dy]: [&[f32]; 3]) -> [(Vec<f64>, f64); 3] {
    let sums = [dy.len(), x.len(), w.len()].map(|len| (vec![0.0; len], 0.0));
    let [mut y, mut dx, mut dw] = sums;
    let add = |to: &mut (Vec<f64>, f64), at: usize, a: f32, b: f32| {
        let product = f64::from(a) * f64::from(b);
        to.0[at] += product;
        to.1 += product * product;
    };
    products(g, |i, k, o| {
        add(&mut y, o, x[i], w[k]);
        add(&mut dx, i, dy[o], w[k]);
        add(&mut dw, k, x[i], dy[o]);
    });
    [y, dx, dw]
}

/// Reproducible integers from -3 to 3, times `step`.
fn integers(seed: u64, len: usize, step: f32) -> Vec<f32> {
    let values = noise::<f32>(seed, len);
    values.iter().map(|x| (x * 3.0).round() * step).collect()
}

proptest! {
    /// F(2 x 2) transforms these integers to bfloat16 without rounding, so that each value must be in
    /// its place.
    #[test]
    fn bf16_is_exact_for_small_integers(g in geometries()) {
        let (x, dy) = (integers(1, g.in_len(), 1.0), integers(2, g.out_len(), 1.0));
        let w = integers(3, g.weight_len(), 4.0);
        let want = definition(&g, [&x, &w, &dy]);
        for arch in levels() {
            let got = in_bf16(arch, Outputs::Two, &g, [&x, &w, &dy]);
            for (got, (want, _)) in got.iter().zip(&want) {
                let equal = got.iter().zip(want).all(|(got, want)| f64::from(*got) == *want);
                prop_assert!(equal, "{:?}, {:?}", arch, g);
            }
        }
    }

    /// The root mean square of the error, relative to sums of products with random signs.
    #[test]
    fn bf16_has_the_error_of_its_rounding(g in geometries()) {
        let (x, dy) = (normal(1, g.in_len(), 1.0), normal(2, g.out_len(), 1.0));
        let w = normal(3, g.weight_len(), 0.1);
        let want = definition(&g, [&x, &w, &dy]);
        for (arch, outputs) in levels().into_iter().flat_map(|a| OUTPUTS.map(|o| (a, o))) {
            let got = in_bf16(arch, outputs, &g, [&x, &w, &dy]);
            for (got, (want, squares)) in got.iter().zip(&want) {
                let typical = (squares / want.len().max(1) as f64).sqrt();
                let most = if outputs == Outputs::Two { 0.01 } else { 0.03 };
                let found = if want.is_empty() { 0.0 } else { error(got, want) };
                prop_assert!(found <= most * typical, "{} {} {:?} {:?} {:?}", found, typical, outputs, arch, g);
            }
        }
    }
}

struct Rounded(f32);

impl pulp::WithSimd for Rounded {
    type Output = u32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> u32 {
        let words = rounded(simd, simd.splat_f32s(self.0));
        let mut first = [0];
        simd.partial_store_u32s(&mut first, words);
        first[0]
    }
}

#[test]
fn rounding_to_bf16_is_to_the_nearest() {
    let of = |arch: pulp::Arch, x: f32| {
        let upper = (arch.dispatch(Rounded(x)) >> 16) as u16;
        half::bf16::from_bits(upper).to_f64()
    };
    let signs = |x: f32| [x, -x];
    for arch in levels() {
        for x in [f32::MAX, f32::INFINITY, f32::NAN]
            .into_iter()
            .flat_map(signs)
        {
            assert!(!of(arch, x).is_finite(), "{x} {arch:?}: {}", of(arch, x));
        }
        assert_eq!(of(arch, 0.0), 0.0);
        let ties = (0..64).map(|i| f32::from_bits(0x3f80_8000 + (i << 15)));
        let others = (0..4096).map(|i| f32::from_bits(i * 0x0007_f0f1));
        let normal = others.filter(|x| x.is_normal() && *x < 5e33);
        for x in ties.chain(normal).flat_map(signs) {
            let (got, exact) = (of(arch, x), f64::from(x));
            assert_eq!(
                rounded_value(x),
                arch.dispatch(Rounded(x)),
                "{x:e} {arch:?}"
            );
            let nearest = half::bf16::from_f32(x).to_f64();
            // Of two equally near values either is right.
            assert_eq!(
                (got - exact).abs(),
                (nearest - exact).abs(),
                "{x:e} {arch:?}: {got}"
            );
        }
    }
}

/// Values that are not finite stay visible.
#[test]
fn bf16_keeps_values_that_are_not_finite() {
    let params = Conv2dParams {
        padding: (1, 1),
        ..Conv2dParams::default()
    };
    let g = geometry((1, 20, 20), (8, 8), (3, 3), params).expect("the kernel fits");
    let (w, dy) = (vec![0.5; g.weight_len()], vec![1.0; g.out_len()]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = vec![1.0; g.in_len()];
        x[19 * 64 + 9] = bad;
        for (arch, outputs) in levels().into_iter().flat_map(|a| OUTPUTS.map(|o| (a, o))) {
            let [y, dx, dw] = in_bf16(arch, outputs, &g, [&x, &w, &dy]);
            assert!(
                y.iter().any(|y| !y.is_finite()),
                "{bad} {outputs:?} {arch:?}"
            );
            assert!(
                dw.iter().any(|w| !w.is_finite()),
                "{bad} {outputs:?} {arch:?}"
            );
            assert!(
                dx.iter().all(|x| x.is_finite()),
                "{bad} {outputs:?} {arch:?}"
            );
        }
    }
}
