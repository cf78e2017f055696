//! Convolution: values and gradients against the definition in f64 and against finite differences.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Conv2dParams, conv2d, conv2d_algorithms};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{self, device, every_device_with_products, made, real};

test_all_devices_with_products! {
    halves_are_rounded_once,
    stages_of_the_networks,
    batches_of_one_and_none,
    strided_inputs_are_read_correctly,
    a_broadcast_gradient_is_read_correctly,
    finite_differences,
    the_input_gradient_is_not_computed_for_a_plain_input,
    odd_sizes_under_a_stride_have_a_gradient_where_candle_fails,
    groups_agree_with_candle,
    sizes_that_overflow_are_refused,
    what_does_not_fit_is_named,
}

/// Shapes and parameters, from which the tensors follow.
#[derive(Debug, Clone, Copy)]
struct Case {
    n: usize,
    group_in: usize,
    group_out: usize,
    size: (usize, usize),
    kernel: (usize, usize),
    params: Conv2dParams,
    bias: bool,
}

impl Case {
    fn x_shape(&self) -> (usize, usize, usize, usize) {
        let (h, w) = self.size;
        (self.n, self.group_in * self.params.groups, h, w)
    }

    fn w_shape(&self) -> (usize, usize, usize, usize) {
        let (kh, kw) = self.kernel;
        (self.c_out(), self.group_in, kh, kw)
    }

    fn c_out(&self) -> usize {
        self.group_out * self.params.groups
    }

    fn out(&self) -> (usize, usize) {
        let p = &self.params;
        let out = |size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
        };
        (
            out(
                self.size.0,
                self.kernel.0,
                p.stride.0,
                p.padding.0,
                p.dilation.0,
            ),
            out(
                self.size.1,
                self.kernel.1,
                p.stride.1,
                p.padding.1,
                p.dilation.1,
            ),
        )
    }

    fn fits(&self) -> bool {
        let p = &self.params;
        self.size.0 + 2 * p.padding.0 > p.dilation.0 * (self.kernel.0 - 1)
            && self.size.1 + 2 * p.padding.1 > p.dilation.1 * (self.kernel.1 - 1)
    }

    /// The algorithms that the CPU uses for the convolution, its input and its weight gradient.
    fn algorithms(&self, dtype: DType) -> [&'static str; 3] {
        let (n, c, h, w) = self.x_shape();
        let (o, ci, kh, kw) = self.w_shape();
        conv2d_algorithms(&[n, c, h, w], &[o, ci, kh, kw], &self.params, dtype).expect("it fits")
    }

    /// x, weight, bias and dy, multiples of 1/64 in [-1, 1): exact in every dtype but bf16, and
    /// their products in f32.
    fn values(&self) -> [Vec<f64>; 4] {
        let (n, c, h, w) = self.x_shape();
        let (oh, ow) = self.out();
        let weights = self.c_out() * self.group_in * self.kernel.0 * self.kernel.1;
        [
            noise(1, n * c * h * w),
            noise(2, weights),
            noise(3, self.c_out()),
            noise(4, n * self.c_out() * oh * ow),
        ]
    }
}

/// Reproducible values, multiples of 1/64 in [-1, 1).
fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 128) as f64 / 64.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// y, dx, dw and db by the definition.
struct Oracle {
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
}

fn oracle(case: &Case, [x, w, b, dy]: &[Vec<f64>; 4]) -> Oracle {
    let (n, c_in, h, width) = case.x_shape();
    let (kh, kw) = case.kernel;
    let (oh, ow) = case.out();
    let c_out = case.c_out();
    let p = case.params;
    let mut y = vec![0.0; dy.len()];
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; c_out]);
    for i in 0..n {
        for o in 0..c_out {
            let first = o / case.group_out * case.group_in;
            for oy in 0..oh {
                for ox in 0..ow {
                    let out = ((i * c_out + o) * oh + oy) * ow + ox;
                    db[o] += dy[out];
                    if case.bias {
                        y[out] += b[o];
                    }
                    for c in 0..case.group_in {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let iy = oy * p.stride.0 + ky * p.dilation.0;
                                let ix = ox * p.stride.1 + kx * p.dilation.1;
                                let inside = iy >= p.padding.0
                                    && iy < h + p.padding.0
                                    && ix >= p.padding.1
                                    && ix < width + p.padding.1;
                                if inside {
                                    let (iy, ix) = (iy - p.padding.0, ix - p.padding.1);
                                    let at = ((i * c_in + first + c) * h + iy) * width + ix;
                                    let k = ((o * case.group_in + c) * kh + ky) * kw + kx;
                                    y[out] += x[at] * w[k];
                                    dx[at] += dy[out] * w[k];
                                    dw[k] += dy[out] * x[at];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Oracle { y, dx, dw, db }
}

fn flat(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(support::values(tensor))
}

/// Fails unless values agree within `tolerance` times the largest of them, or times 1.
fn assert_close(what: &str, case: &Case, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what} of {case:?}");
    let scale = want.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * scale,
            "{what}[{i}] of {case:?}: {g}, but should be {w}"
        );
    }
}

/// Compares the op and its gradients in `dtype` with the oracle. A pass that Winograd's algorithm
/// computes in f32 may have four times the error of the direct algorithms.
fn check(case: &Case, dtype: DType, tolerance: f64) -> Result<()> {
    // The device may lack f64.
    if dtype == DType::F64 && real() != dtype {
        return Ok(());
    }
    let values = case.values();
    let (oh, ow) = case.out();
    let make = |v: &[f64], shape: &[usize]| {
        let x = Tensor::from_slice(v, shape, &Device::Cpu)?.to_dtype(dtype)?;
        Var::from_tensor(&x.to_device(&device())?)
    };
    let (n, c, h, w) = case.x_shape();
    let x = make(&values[0], &[n, c, h, w])?;
    let (o, ci, kh, kw) = case.w_shape();
    let weight = make(&values[1], &[o, ci, kh, kw])?;
    let bias = make(&values[2], &[o])?;
    let dy = make(&values[3], &[n, o, oh, ow])?;
    // The oracle gets the values as the dtype rounds them.
    let kept = [flat(&x)?, flat(&weight)?, flat(&bias)?, flat(&dy)?];
    let want = oracle(case, &kept);
    let b = case.bias.then_some(bias.as_tensor());
    let (y, _, mut gradients) = value_and_grad(|| {
        let y = conv2d(&x, &weight, b, &case.params)?;
        // The sum of y dy has the gradient dy at y.
        Ok(((y.clone() * dy.detach())?.sum_all()?, y))
    })
    .map(|(_, y, g)| (y, (), g))?;
    assert_eq!(y.dims(), [n, o, oh, ow]);
    assert_eq!(y.dtype(), dtype);
    let tolerances = case.algorithms(dtype).map(|algorithm| {
        let winograd =
            device().is_cpu() && dtype == DType::F32 && algorithm.starts_with("winograd");
        if winograd { 4.0 * tolerance } else { tolerance }
    });
    assert_close("y", case, &flat(&y)?, &want.y, tolerances[0]);
    let mut gradient = |t: &Tensor| match gradients.remove(t) {
        Some(g) => {
            assert_eq!(g.dims(), t.dims());
            flat(&g)
        }
        None => candle_core::bail!("no gradient"),
    };
    assert_close("dx", case, &gradient(&x)?, &want.dx, tolerances[1]);
    assert_close("dw", case, &gradient(&weight)?, &want.dw, tolerances[2]);
    if case.bias {
        assert_close("db", case, &gradient(&bias)?, &want.db, tolerance);
    }
    Ok(())
}

fn case() -> impl Strategy<Value = Case> {
    let pair = |range: std::ops::Range<usize>| (range.clone(), range);
    (
        (0usize..4, 1usize..6, 1usize..20),
        (1usize..20, 1usize..36),
        (1usize..5, 1usize..8),
        (pair(1..4), pair(0..4), pair(1..3), 1usize..4),
        any::<bool>(),
    )
        .prop_map(|((n, group_in, group_out), size, kernel, p, bias)| Case {
            n,
            group_in,
            group_out,
            size,
            kernel,
            params: Conv2dParams {
                stride: p.0,
                padding: p.1,
                dilation: p.2,
                groups: p.3,
            },
            bias,
        })
        .prop_filter("the kernel must fit", Case::fits)
}

/// Shapes of common networks: square kernels, one stride for both axes, padding that keeps the
/// size, more channels. Dispatch chooses other algorithms for them than for odd shapes.
fn usual_case() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![
        Just(1usize),
        Just(3),
        Just(8),
        Just(16),
        Just(17),
        Just(32),
        Just(40)
    ];
    let size = prop_oneof![2usize..20, Just(28), Just(32), Just(56)];
    let kernel = prop_oneof![
        Just((1usize, 1usize)),
        Just((3, 3)),
        Just((5, 5)),
        Just((7, 7)),
        Just((1, 7)),
        Just((7, 1))
    ];
    (
        0usize..4,
        (channels.clone(), channels),
        (size.clone(), size),
        kernel,
        (1usize..3, 1usize..3),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(n, (group_in, group_out), size, kernel, (stride, groups), same, bias)| Case {
                n,
                group_in,
                group_out,
                size,
                kernel,
                params: Conv2dParams {
                    stride: (stride, stride),
                    padding: if same {
                        (kernel.0 / 2, kernel.1 / 2)
                    } else {
                        (0, 0)
                    },
                    dilation: (1, 1),
                    groups,
                },
                bias,
            },
        )
        .prop_filter("the kernel must fit", Case::fits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_geometry_in_f64(case in case()) {
        every_device_with_products(|| {
            check(&case, DType::F64, 1e-13).map_err(|e| TestCaseError::fail(e.to_string()))?;
            Ok(())
        })?;
    }

    #[test]
    fn any_geometry_in_f32(case in case()) {
        every_device_with_products(|| {
            check(&case, DType::F32, 2e-6).map_err(|e| TestCaseError::fail(e.to_string()))?;
            Ok(())
        })?;
    }

    #[test]
    fn usual_geometry_in_f32(case in usual_case()) {
        every_device_with_products(|| {
            check(&case, DType::F32, 2e-6).map_err(|e| TestCaseError::fail(e.to_string()))?;
            Ok(())
        })?;
    }

    #[test]
    fn depthwise_in_f32(case in case(), channels in 2usize..20, multiplier in 1usize..3) {
        every_device_with_products(|| {
            let mut case = case;
            case.params.groups = channels;
            (case.group_in, case.group_out) = (1, multiplier);
            check(&case, DType::F32, 2e-6).map_err(|e| TestCaseError::fail(e.to_string()))?;
            Ok(())
        })?;
    }
}

/// Depthwise cases with an odd or a usual geometry.
fn depthwise_case() -> impl Strategy<Value = Case> {
    let cases = prop_oneof![case(), usual_case()];
    (cases, 2usize..20, 1usize..3).prop_map(|(mut case, channels, multiplier)| {
        case.params.groups = channels;
        (case.group_in, case.group_out) = (1, multiplier);
        case
    })
}

/// Kernels of 3x3 on small maps of many channels, where F(2x2) has fewer operations than F(4x4).
fn small_map_case() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![Just(48usize), Just(64)];
    let size = prop_oneof![Just(6usize), Just(10), Just(14)];
    (
        1usize..10,
        (channels.clone(), channels),
        size,
        any::<bool>(),
    )
        .prop_map(|(n, (group_in, group_out), size, bias)| Case {
            bias,
            ..plain(n, group_in, group_out, (size, size), 3)
        })
}

/// The passes in the order of [`Case::algorithms`], and the algorithms of each for a dtype.
fn expected_algorithms(dtype: DType) -> Vec<(usize, &'static str)> {
    let of_passes: [&[&str]; 3] = match dtype {
        DType::F64 => [
            &["depthwise pixel lanes", "im2col"],
            &["depthwise pixel lanes", "im2col"],
            &["depthwise pixel lanes", "pixel lanes"],
        ],
        _ => {
            const CONVOLUTION: &[&str] = &[
                "depthwise channel lanes",
                "depthwise pixel lanes",
                "channel lanes",
                "pixel lanes",
                "winograd 2x2",
                "winograd 4x4",
            ];
            [CONVOLUTION, CONVOLUTION, &CONVOLUTION[1..]]
        }
    };
    let passes = of_passes.into_iter().enumerate();
    passes
        .flat_map(|(pass, algorithms)| {
            let all = algorithms.iter().copied().chain(["empty"]);
            all.map(move |algorithm| (pass, algorithm))
        })
        .collect()
}

/// Draws shapes until this machine has used each algorithm for each pass, and checks all passes.
#[test]
fn every_algorithm_is_taken_and_agrees_with_the_definition() {
    for (dtype, tolerance) in [
        (DType::F32, 2e-6),
        (DType::F64, 1e-13),
        (DType::F16, 1.0 / 2048.0),
        (DType::BF16, 1.0 / 256.0),
    ] {
        let expected = expected_algorithms(dtype);
        let taken = RefCell::new(BTreeSet::new());
        for &(pass, algorithm) in &expected {
            let cases = prop_oneof![case(), usual_case(), depthwise_case(), small_map_case()];
            let cases = cases.prop_filter("another algorithm", move |case| {
                case.algorithms(dtype)[pass] == algorithm
            });
            let mut runner = TestRunner::new(ProptestConfig::with_cases(8));
            let run = runner.run(&cases, |case| {
                let algorithms = case.algorithms(dtype).into_iter().enumerate();
                taken.borrow_mut().extend(algorithms);
                check(&case, dtype, tolerance).map_err(|e| TestCaseError::fail(e.to_string()))
            });
            run.unwrap_or_else(|e| panic!("{algorithm} in {dtype:?}: {e}"));
        }
        assert_eq!(taken.into_inner(), expected.into_iter().collect());
    }
}

fn plain(n: usize, c_in: usize, c_out: usize, size: (usize, usize), k: usize) -> Case {
    Case {
        n,
        group_in: c_in,
        group_out: c_out,
        size,
        kernel: (k, k),
        params: Conv2dParams {
            padding: (k / 2, k / 2),
            ..Conv2dParams::default()
        },
        bias: false,
    }
}

fn halves_are_rounded_once() -> Result<()> {
    for stride in [(1, 1), (2, 1)] {
        let mut case = plain(2, 5, 7, (9, 11), 3);
        case.bias = true;
        case.params.stride = stride;
        check(&case, DType::F16, 1.0 / 2048.0)?;
        check(&case, DType::BF16, 1.0 / 256.0)?;
    }
    Ok(())
}

fn stages_of_the_networks() -> Result<()> {
    let mut cases = vec![
        plain(2, 3, 16, (32, 32), 3),
        plain(5, 16, 16, (32, 32), 3),
        plain(5, 32, 32, (16, 16), 3),
        plain(5, 64, 64, (8, 8), 3),
        plain(1, 64, 64, (56, 56), 3),
        plain(3, 256, 512, (4, 4), 3),
        plain(1, 512, 512, (2, 2), 3),
        plain(3, 64, 48, (16, 16), 1),
        plain(1, 3, 64, (64, 48), 7),
    ];
    for (c_in, c_out, k) in [(16, 32, 3), (16, 32, 1), (40, 72, 3)] {
        let mut strided = plain(3, c_in, c_out, (32, 32), k);
        strided.params.stride = (2, 2);
        cases.push(strided);
        strided.size = (15, 17);
        cases.push(strided);
    }
    for case in &cases {
        check(case, DType::F32, 2e-6)?;
    }
    Ok(())
}

fn batches_of_one_and_none() -> Result<()> {
    check(&plain(1, 8, 8, (12, 12), 3), DType::F32, 2e-6)?;
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        check(&plain(0, 3, 4, (5, 5), 3), dtype, 0.0)?;
        check(&plain(0, 16, 16, (8, 8), 3), dtype, 0.0)?;
        check(&plain(0, 16, 40, (8, 8), 1), dtype, 0.0)?;
        let mut grouped = plain(0, 4, 6, (8, 8), 3);
        grouped.params.groups = 2;
        grouped.bias = true;
        check(&grouped, dtype, 0.0)?;
        let mut depthwise = plain(0, 1, 1, (5, 5), 3);
        depthwise.params.groups = 4;
        check(&depthwise, dtype, 0.0)?;
    }
    Ok(())
}

fn strided_inputs_are_read_correctly() -> Result<()> {
    let base = made(noise(1, 2 * 9 * 10 * 7), (2, 9, 10, 7));
    let weight = made(noise(2, 6 * 4 * 3 * 3), (3, 3, 4, 6));
    let params = Conv2dParams {
        padding: (1, 1),
        ..Conv2dParams::default()
    };
    for dtype in [real(), DType::F32, DType::F16] {
        let base = base.to_dtype(dtype)?;
        let views = [
            base.permute((0, 3, 1, 2))?.narrow(1, 2, 4)?,
            base.narrow(1, 3, 4)?,
            base.narrow(1, 0, 4)?.transpose(2, 3)?,
            base.narrow(2, 1, 4)?
                .narrow(3, 2, 1)?
                .broadcast_as((2, 9, 4, 5))?
                .transpose(1, 2)?,
        ];
        let weight = weight.to_dtype(dtype)?.permute((3, 2, 0, 1))?;
        let weight = weight.narrow(0, 1, 5)?;
        let bias = made(noise(3, 10), (5, 2)).to_dtype(dtype)?;
        let bias = bias.narrow(1, 1, 1)?.squeeze(1)?;
        for x in &views {
            let got = conv2d(x, &weight, Some(&bias), &params)?;
            let want = conv2d(
                &x.contiguous()?,
                &weight.contiguous()?,
                Some(&bias.contiguous()?),
                &params,
            )?;
            assert_eq!(flat(&got)?, flat(&want)?);
        }
    }
    Ok(())
}

fn a_broadcast_gradient_is_read_correctly() -> Result<()> {
    let x = Var::from_tensor(&made(noise(1, 2 * 3 * 6 * 6), (2, 3, 6, 6)))?;
    let w = Var::from_tensor(&made(noise(2, 4 * 3 * 3 * 3), (4, 3, 3, 3)))?;
    let b = Var::from_tensor(&made(noise(3, 4), 4))?;
    let params = Conv2dParams::default();
    let gradients = conv2d(&x, &w, Some(&b), &params)?.sum_all()?.backward()?;
    let case = Case {
        bias: true,
        params,
        ..plain(2, 3, 4, (6, 6), 3)
    };
    let mut values = case.values();
    values[3].fill(1.0);
    let want = oracle(&case, &values);
    for (t, want) in [(&x, &want.dx), (&w, &want.dw), (&b, &want.db)] {
        let got = gradients.get(t).map(flat).transpose()?.unwrap_or_default();
        let tolerance = if real() == DType::F32 { 2e-6 } else { 1e-13 };
        assert_close("gradient", &case, &got, want, tolerance);
    }
    Ok(())
}

fn finite_differences() -> Result<()> {
    // Finite differences in f32 are too inaccurate.
    if real() == DType::F32 {
        return Ok(());
    }
    let params = Conv2dParams {
        stride: (2, 1),
        padding: (1, 2),
        dilation: (1, 2),
        groups: 2,
    };
    let x = Var::from_tensor(&made(noise(1, 2 * 4 * 5 * 6), (2, 4, 5, 6)))?;
    let w = Var::from_tensor(&made(noise(2, 6 * 2 * 3 * 2), (6, 2, 3, 2)))?;
    let b = Var::from_tensor(&made(noise(3, 6), 6))?;
    // The square makes the gradient depend on y.
    let loss =
        |x: &Tensor, w: &Tensor, b: &Tensor| conv2d(x, w, Some(b), &params)?.sqr()?.sum_all();
    let (_, _, gradients) = value_and_grad(|| Ok((loss(&x, &w, &b)?, ())))?;
    let step = 1e-5;
    for (which, var) in [&x, &w, &b].into_iter().enumerate() {
        let gradient = gradients
            .get(var)
            .map(flat)
            .transpose()?
            .unwrap_or_default();
        let values = flat(var)?;
        assert_eq!(gradient.len(), values.len());
        for i in (0..values.len()).step_by(3) {
            let at = |delta: f64| {
                let mut v = values.clone();
                v[i] += delta;
                let moved = made(v, var.shape());
                let [x, w, b] = [&x, &w, &b].map(|t| t.as_tensor().clone());
                let (x, w, b) = match which {
                    0 => (moved, w, b),
                    1 => (x, moved, b),
                    _ => (x, w, moved),
                };
                loss(&x, &w, &b)?.to_scalar::<f64>()
            };
            let slope = (at(step)? - at(-step)?) / (2.0 * step);
            assert!(
                (slope - gradient[i]).abs() <= 1e-7 * slope.abs().max(1.0),
                "argument {which}[{i}]: {} against {slope}",
                gradient[i]
            );
        }
    }
    Ok(())
}

fn the_input_gradient_is_not_computed_for_a_plain_input() -> Result<()> {
    let x = made(noise(1, 3 * 25), (1, 3, 5, 5));
    let w = Var::from_tensor(&made(noise(2, 2 * 3 * 9), (2, 3, 3, 3)))?;
    let (_, _, gradients) = value_and_grad(|| {
        Ok((
            conv2d(&x, &w, None, &Conv2dParams::default())?.sum_all()?,
            (),
        ))
    })?;
    assert!(gradients.get(&w).is_some());
    assert!(gradients.get(&x).is_none());
    Ok(())
}

/// The message of the error that a convolution of zeros in f32 gives.
fn message(
    x: &[usize],
    w: &[usize],
    bias: Option<&Tensor>,
    params: &Conv2dParams,
) -> Result<String> {
    let zeros = |shape| Tensor::zeros(shape, DType::F32, &device());
    Ok(match conv2d(&zeros(x)?, &zeros(w)?, bias, params) {
        Ok(y) => format!("no error: {y:?}"),
        Err(e) => e.to_string(),
    })
}

/// The default parameters after `change`.
fn with(change: impl Fn(&mut Conv2dParams)) -> Conv2dParams {
    let mut params = Conv2dParams::default();
    change(&mut params);
    params
}

/// Numbers that overflow a size or a position, with 32 or 64 bits.
const HUGE: [usize; 8] = [
    i32::MAX as usize,
    u32::MAX as usize,
    usize::MAX / 5,
    usize::MAX / 3,
    usize::MAX / 2,
    usize::MAX / 2 + 1,
    usize::MAX - 1,
    usize::MAX,
];

fn sizes_that_overflow_are_refused() -> Result<()> {
    let (x, w) = ([1, 2, 5, 6], [2, 2, 3, 3]);
    for huge in HUGE {
        for (params, part) in [
            (with(|p| p.padding.0 = huge), "height 5 with padding"),
            (with(|p| p.padding.1 = huge), "width 6 with padding"),
            (with(|p| p.dilation.0 = huge), "too small"),
            (with(|p| p.dilation.1 = huge), "too small"),
            (with(|p| p.groups = huge), "groups"),
            (
                with(|p| (p.padding.0, p.dilation.0) = (huge, huge)),
                "too large",
            ),
            (
                with(|p| (p.padding, p.dilation) = ((huge, huge), (huge, huge))),
                "too large",
            ),
        ] {
            let message = message(&x, &w, None, &params)?;
            assert!(
                message.contains(part),
                "{message:?} should say {part:?}: {params:?}"
            );
        }
    }
    // Each size fits in a `usize`, but their product does not.
    let wide = with(|p| p.padding = (1 << 29, 1 << 29));
    assert!(message(&x, &[64, 2, 3, 3], None, &wide)?.contains("too large"));
    Ok(())
}

/// A result of petabytes is an error, not an abort.
#[test]
fn results_that_do_not_fit_in_memory_are_refused() -> Result<()> {
    let wide = with(|p| p.padding = (1 << 24, 1 << 24));
    for (x, w, groups) in [
        ([1, 2, 5, 6], [2, 2, 3, 3], 1),
        ([1, 2, 5, 6], [2, 1, 3, 3], 2),
    ] {
        let message = message(&x, &w, None, &Conv2dParams { groups, ..wide })?;
        assert!(message.contains("memory"), "{message}");
    }
    Ok(())
}

/// A stride larger than the image has no effect, and neither has the dilation of a kernel with one
/// tap. A dilation and a padding larger than the image allocate no memory for the distance.
#[test]
fn distances_beyond_the_image_agree_with_the_definition() -> Result<()> {
    for (c_in, c_out, groups) in [(2, 3, 1), (16, 32, 1), (1, 2, 3)] {
        for huge in HUGE {
            let mut case = plain(2, c_in, c_out, (5, 6), 3);
            case.params.groups = groups;
            case.bias = true;
            let mut cases = vec![case; 3];
            cases[0].params.stride = (huge, huge);
            cases[1].params.stride = (1, huge);
            cases[2].kernel = (3, 1);
            cases[2].params.dilation = (1, huge);
            for case in cases {
                check(&case, DType::F32, 2e-6)?;
                check(&case, DType::F64, 1e-13)?;
            }
        }
        for far in [1000, 1 << 20, (1 << 30) - 8] {
            let mut case = plain(2, c_in, c_out, (5, 6), 3);
            case.params.groups = groups;
            case.params.padding = (far, 1);
            case.params.dilation = (far, 1);
            check(&case, DType::F32, 2e-6)?;
            check(&case, DType::F64, 1e-13)?;
            case.kernel = (2, 2);
            case.params.padding = (far / 2, far / 2);
            case.params.dilation = (far, far);
            check(&case, DType::F32, 2e-6)?;
            check(&case, DType::F64, 1e-13)?;
        }
    }
    Ok(())
}

/// Candle takes the output padding of its input gradient from the height for both axes.
fn odd_sizes_under_a_stride_have_a_gradient_where_candle_fails() -> Result<()> {
    let mut case = plain(2, 3, 4, (7, 8), 3);
    case.params.stride = (2, 2);
    let x = Var::from_tensor(&made(noise(1, 2 * 3 * 7 * 8), (2, 3, 7, 8)))?;
    let w = Var::from_tensor(&made(noise(2, 4 * 3 * 9), (4, 3, 3, 3)))?;
    let candles = x.conv2d(&w, 1, 2, 1, 1)?.sum_all()?.backward();
    assert!(
        candles.is_err(),
        "Candle computes it now: this test can be removed"
    );
    check(&case, DType::F64, 1e-13)?;
    check(&case, DType::F32, 2e-6)
}

/// Candle's time grows with the square of the groups, but its values are correct.
fn groups_agree_with_candle() -> Result<()> {
    let x = made(noise(1, 2 * 12 * 49), (2, 12, 7, 7));
    for groups in [1, 2, 3, 6, 12] {
        let w = made(noise(2, 24 * 12 / groups * 9), (24, 12 / groups, 3, 3));
        let params = Conv2dParams {
            padding: (1, 1),
            groups,
            ..Conv2dParams::default()
        };
        let difference = (conv2d(&x, &w, None, &params)? - x.conv2d(&w, 1, 1, 1, groups)?)?;
        let largest = difference.abs()?.flatten_all()?.max(D::Minus1)?;
        let largest = support::values(&largest)[0];
        let least = if real() == DType::F32 { 1e-5 } else { 1e-12 };
        assert!(largest < least, "groups = {groups}: {largest}");
    }
    Ok(())
}

fn what_does_not_fit_is_named() -> Result<()> {
    let device = &device();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, device);
    let (x, w) = ([1, 4, 5, 5], [6, 4, 3, 3]);
    let default = Conv2dParams::default();
    let of_dtypes = |x_dtype, w_dtype| -> Result<String> {
        let (x, w) = (zeros(&x)?.to_dtype(x_dtype)?, zeros(&w)?.to_dtype(w_dtype)?);
        Ok(match conv2d(&x, &w, None, &default) {
            Ok(y) => format!("no error: {y:?}"),
            Err(e) => e.to_string(),
        })
    };
    for (message, part) in [
        (message(&[1, 3, 5, 5], &w, None, &default)?, "has 3"),
        (message(&[4, 5, 5], &w, None, &default)?, "4 dimensions"),
        (message(&x, &[6, 4, 3], None, &default)?, "4 dimensions"),
        (message(&x, &w, None, &with(|p| p.groups = 4))?, "groups"),
        (
            message(&x, &w, None, &with(|p| p.groups = 2))?,
            "groups = 2 takes 8",
        ),
        (message(&x, &w, None, &with(|p| p.groups = 0))?, "groups"),
        (
            message(&x, &w, None, &with(|p| p.stride = (1, 0)))?,
            "stride",
        ),
        (
            message(&x, &w, None, &with(|p| p.dilation = (0, 1)))?,
            "dilation",
        ),
        (
            message(&x, &w, None, &with(|p| p.dilation = (1, 3)))?,
            "width 5",
        ),
        (message(&[1, 4, 2, 5], &w, None, &default)?, "height 2"),
        (message(&x, &[6, 4, 0, 3], None, &default)?, "empty"),
        (
            message(&x, &w, Some(&zeros(&[5])?), &default)?,
            "bias must be [6]",
        ),
        (of_dtypes(DType::F32, DType::BF16)?, "BF16"),
        (of_dtypes(DType::U8, DType::U8)?, "U8"),
    ] {
        assert!(message.contains(part), "{message:?} should say {part:?}");
    }
    Ok(())
}
