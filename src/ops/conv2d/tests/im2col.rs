//! The convolution and the input gradient by im2col, against the definition.

use proptest::prelude::*;

use super::super::geometry::Geometry;
use super::super::im2col;
use super::support::{Definition, check, geometries};
use crate::ops::storage::written;

/// The convolution and the input gradient by im2col, against the definition.
pub(super) fn im2col_passes(g: &Geometry) {
    let Definition {
        x, w, dy, y, dx, ..
    } = Definition::<f64>::new(g);
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

proptest! {
    #[test]
    fn by_im2col(g in geometries(0..6)) {
        im2col_passes(&g);
    }
}
