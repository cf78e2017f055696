//! Any geometry, and every algorithm.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candle_core::DType;
use candle_mish::ops::Conv2dParams;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::case::{Case, check, plain};
use crate::support::every_device_with_products;

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
