//! Winograd's algorithm against the definition, and its error against the direct algorithms'.

use proptest::prelude::*;

use super::super::cost_model::Outputs;
use super::super::direct::{self, Problem};
use super::super::geometry::{Conv2dParams, Geometry};
use super::super::weight_grad;
use super::super::winograd;
use super::{check, geometry, levels, noise, pair, products};
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
        winograd::weight_grad(arch, outputs, g, &x, &dy, &mut got);
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
fn normal(seed: u64, len: usize, scale: f64) -> Vec<f32> {
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
fn error(got: &[f32], want: &[f64]) -> f64 {
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
        weight_grad::channel_lanes::weight_grad(arch, &g, &x, &dy, &mut direct);
        let [two, four] = OUTPUTS.map(|outputs| {
            let mut got = vec![0.0; dw.len()];
            winograd::weight_grad(arch, outputs, &g, &x, &dy, &mut got);
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
