//! The weight gradient by pixels and by channels, against the definition.

use proptest::prelude::*;

use super::super::element::Element;
use super::super::geometry::Geometry;
use super::super::weight_grad;
use super::support::{Definition, PRECISIONS, check, geometries, levels};

pub(super) fn weight_grads_by_pixels<F: Element>(g: &Geometry, tolerance: f64) {
    let Definition {
        x, dy, dw: want, ..
    } = Definition::<F>::new(g);
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

pub(super) fn weight_grads_by_channels(g: &Geometry) {
    let Definition {
        x, dy, dw: want, ..
    } = Definition::<f32>::new(g);
    // The values are exact in bfloat16.
    for (arch, precision) in levels()
        .into_iter()
        .flat_map(|a| PRECISIONS.map(|p| (a, p)))
    {
        let mut dw = vec![f32::NAN; want.len()];
        weight_grad::channel_lanes::weight_grad(arch, precision, g, &x, &dy, &mut dw);
        check(
            &format!("weight gradient by channels, {precision:?}, {arch:?}, {g:?}"),
            &dw,
            &want,
            2e-5,
        );
    }
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
    fn weight_gradient_by_channels(g in geometries(0..6)) {
        weight_grads_by_channels(&g);
    }
}
