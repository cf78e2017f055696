//! Gradients of pools that a finite difference does not see: their bits at ties, infinities and NaN,
//! long lines, and views.

use candle_core::{DType, Result, Tensor, Var};
use candle_mish::ops::{
    Pool2dParams, adaptive_avg_pool2d, add, avg_pool2d, global_avg_pool2d, max_pool2d, reshape,
    scale, scale_channels,
};
use proptest::prelude::*;

use crate::pool2d::{avg_oracle, axis, divisor};
use crate::support::{assert_close, check_gradients, gradients, made, real, uniform, values};

/// A result of some tensors.
type Function = fn(&[Tensor]) -> Result<Tensor>;

test_all_devices_with_products! {
    gradients_of_mean_planes_join_others,
}

/// The gradients of maxima in f32: windows in row-major order, each adding to the first of its equal
/// maxima or to its last NaN.
fn max_gradient_oracle(x: &Tensor, p: &Pool2dParams, grad: &[f32]) -> Vec<f32> {
    let (n, c, h, w) = x.dims4().unwrap();
    let data: Vec<f64> = values(x);
    let (rows, columns) = p.output_size((h, w)).unwrap();
    let mut dx = vec![0f32; data.len()];
    let mut grad = grad.iter();
    for plane in 0..n * c {
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            let g = grad.next().unwrap();
            let mut best: Option<usize> = None;
            for a in 0..p.kernel.0 {
                for b in 0..p.kernel.1 {
                    let y = (i * p.stride.0 + a * p.dilation.0).checked_sub(p.padding.0);
                    let x = (j * p.stride.1 + b * p.dilation.1).checked_sub(p.padding.1);
                    if let (Some(y), Some(x)) = (y.filter(|y| *y < h), x.filter(|x| *x < w)) {
                        let at = plane * h * w + y * w + x;
                        if best.is_none_or(|b| data[at] > data[b] || data[at].is_nan()) {
                            best = Some(at);
                        }
                    }
                }
            }
            if let Some(best) = best {
                dx[best] += g;
            }
        }
    }
    dx
}

/// Values with many ties, infinities and NaN.
fn with_ties(seed: u64, shape: (usize, usize, usize, usize)) -> Tensor {
    let special = [
        f64::NEG_INFINITY,
        -1.0,
        -0.0,
        0.0,
        0.5,
        f64::INFINITY,
        f64::NAN,
    ];
    let chosen = values(&uniform(seed, shape)).into_iter().map(|x| {
        let place = ((x + 2.0) * 10.0) as usize;
        special
            .get(place)
            .copied()
            .unwrap_or((x * 4.0).round() / 4.0)
    });
    made(chosen.collect(), shape).to_dtype(DType::F32).unwrap()
}

/// The gradient of each output is its random `grad`, exactly.
fn pool_gradient(x: &Tensor, grad: &Tensor, pool: impl Fn(&Tensor) -> Result<Tensor>) -> Tensor {
    let x = Var::from_tensor(x).unwrap();
    let loss = (pool(&x).unwrap() * grad).unwrap().sum_all().unwrap();
    loss.backward().unwrap().remove(&x).unwrap()
}

proptest! {
    #[test]
    fn gradients_of_maxima_have_the_bits_of_the_search(
        rows in axis(), columns in axis(), dilation in 1usize..3, ceil_mode: bool, wide: bool,
        seed: u64,
    ) {
        let params = Pool2dParams::new((rows.0, columns.0))
            .with_stride((rows.1, columns.1))
            .with_padding((rows.2, columns.2))
            .with_dilation((dilation, dilation))
            .with_ceil_mode(ceil_mode);
        let width = columns.3 * dilation + if wide { 40 } else { 0 };
        let x = with_ties(seed, (2, 2, rows.3 * dilation, width));
        let y = max_pool2d(&x, &params).unwrap();
        let grad = uniform(seed ^ 1, y.shape()).to_dtype(DType::F32).unwrap();
        let dx = pool_gradient(&x, &grad, |x| max_pool2d(x, &params));
        let grad: Vec<f32> = grad.flatten_all().unwrap().to_vec1().unwrap();
        let expected = max_gradient_oracle(&x, &params, &grad);
        let dx: Vec<f32> = dx.flatten_all().unwrap().to_vec1().unwrap();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&dx), bits(&expected));
    }
}

/// Lines of several vectors, and windows that overlap, touch and leave gaps.
#[test]
fn means_of_wide_planes_are_the_definition() {
    for stride in [(1, 1), (2, 2), (1, 3), (3, 2), (2, 1)] {
        for include in [false, true] {
            let params = Pool2dParams::new((3, 3))
                .with_stride(stride)
                .with_padding((1, 1))
                .with_ceil_mode(include);
            let pool = |x: &Tensor| avg_pool2d(x, &params, divisor(include));
            let x = uniform(7, (2, 3, 13, 67));
            let expected = avg_oracle(&x, &params, include);
            assert_close(&pool(&x).unwrap(), &expected, 1e-14);
            let single = x.to_dtype(DType::F32).unwrap();
            assert_close(&pool(&single).unwrap(), &expected, 5e-7);
            let small = x.narrow(0, 0, 1).unwrap().narrow(1, 0, 1).unwrap();
            let small = small.narrow(3, 0, 21).unwrap().contiguous().unwrap();
            check_gradients(std::slice::from_ref(&small), |x| pool(&x[0]));
            let grad = uniform(8, expected.shape());
            let of_double = pool_gradient(&x, &grad, pool);
            let grad = grad.to_dtype(DType::F32).unwrap();
            assert_close(&pool_gradient(&single, &grad, pool), &of_double, 5e-7);
        }
    }
}

/// The gradient of a mean has one value for each plane. It is added to others, or is the only one.
fn gradients_of_mean_planes_join_others() {
    for shape in [
        (2, 3, 4, 5),
        (2, 3, 1, 5),
        (2, 3, 4, 1),
        (2, 3, 1, 1),
        (1, 1, 3, 3),
    ] {
        let (n, c, h, w) = shape;
        let x = uniform(1, shape);
        let alone = |x: &[Tensor]| global_avg_pool2d(&scale(&x[0], 1.5)?);
        let joined = |x: &[Tensor]| {
            let x = scale(&x[0], 1.5)?;
            let mean = reshape(&adaptive_avg_pool2d(&x, (1, 1))?, (n, c))?;
            scale_channels(&x, &add(&mean, &global_avg_pool2d(&x)?)?)
        };
        check_gradients(std::slice::from_ref(&x), alone);
        check_gradients(std::slice::from_ref(&x), joined);
        check_gradients(std::slice::from_ref(&x), |x| global_avg_pool2d(&x[0]));
        check_gradients(&[x.get(0).unwrap()], |x| global_avg_pool2d(&x[0]));
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
            let x = x.to_dtype(dtype).unwrap();
            let wide = x.to_dtype(real()).unwrap();
            let functions: [Function; 2] = [alone, |x| {
                let x = scale(&x[0], 1.5)?;
                let mean = reshape(&global_avg_pool2d(&x)?, (x.dim(0)?, x.dim(1)?, 1, 1))?;
                scale_channels(&x, &mean)
            }];
            for f in functions {
                let f = |x: &[Tensor]| f(x)?.to_dtype(real());
                let expected = gradients(std::slice::from_ref(&wide), f);
                let found = gradients(std::slice::from_ref(&x), f);
                assert_eq!((found[0].dims(), found[0].dtype()), (x.dims(), dtype));
                assert_close(&found[0], &expected[0], tolerance * (h * w) as f64);
            }
        }
    }
}
