//! Convolutions whose kernel covers the image, against the definition.

use proptest::prelude::*;

use super::super::element::Element;
use super::super::geometry::{Conv2dParams, Geometry};
use super::super::whole_image;
use super::support::{Definition, check, geometry, pair};
use crate::ops::storage::written;

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

fn whole_image_passes<F: Element>(g: &Geometry, tolerance: f64) {
    let Definition {
        x,
        w,
        dy,
        y,
        dx,
        dw,
    } = Definition::<F>::new(g);
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

proptest! {
    #[test]
    fn whole_images_in_f32(g in whole_images()) {
        prop_assert!(whole_image::covers(&g));
        whole_image_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn whole_images_in_f64(g in whole_images()) {
        whole_image_passes::<f64>(&g, 1e-13);
    }
}
