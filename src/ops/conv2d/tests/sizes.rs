//! Sizes that are empty, wide, far apart or larger than the caches, by every algorithm.

use candle_core::DType;
use proptest::prelude::*;

use super::super::cost_model;
use super::super::dispatch::{self, Algorithm, Pass};
use super::super::geometry::{Conv2dParams, Geometry};
use super::depthwise::depthwise_passes;
use super::direct::direct_passes;
use super::dispatched::dispatched_passes;
use super::im2col::im2col_passes;
use super::support::{geometries, geometry, pair, plain};
use super::weight_gradients::{weight_grads_by_channels, weight_grads_by_pixels};

proptest! {
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
