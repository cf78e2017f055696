//! The affine map against Candle's matrix product and finite differences.

use candle_core::{DType, Tensor};
use candle_mish::ops::linear;
use proptest::prelude::*;

use crate::support::{
    assert_close, check_gradients, device, every_device_with_products, real, strided, uniform,
};

test_all_devices_with_products! {
    leading_axes_are_kept,
    a_large_product_of_every_type,
    nothing_in_gives_the_bias_or_nothing_out,
    what_does_not_fit_is_refused,
    sizes_do_not_wrap,
}

fn oracle(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let y = x.matmul(&weight.t().unwrap()).unwrap();
    bias.map_or(y.clone(), |bias| y.broadcast_add(bias).unwrap())
}

proptest! {
    #[test]
    fn any_shape(rows in 1usize..6, inputs in 1usize..7, outputs in 1usize..6, seed: u64) {
        every_device_with_products(|| {
            let x = uniform(seed, (rows, inputs));
            let weight = uniform(seed ^ 1, (outputs, inputs));
            let bias = uniform(seed ^ 2, outputs);
            let expected = oracle(&x, &weight, Some(&bias));
            assert_close(&linear(&x, &weight, Some(&bias)).unwrap(), &expected, 1e-13);
            let y = linear(&strided(&x), &strided(&weight), Some(&bias)).unwrap();
            assert_close(&y, &expected, 1e-13);
            let y = linear(&x, &weight, None).unwrap();
            assert_close(&y, &oracle(&x, &weight, None), 1e-13);
            let inputs = [x, weight, bias];
            check_gradients(&inputs[..2], |x| linear(&x[0], &x[1], None));
            check_gradients(&inputs, |x| linear(&x[0], &x[1], Some(&x[2])));
            Ok(())
        })?;
    }
}

fn leading_axes_are_kept() {
    let (x, weight) = (uniform(1, (2, 3, 4)), uniform(2, (5, 4)));
    let bias = uniform(3, 5);
    let y = linear(&x, &weight, Some(&bias)).unwrap();
    assert_eq!(y.dims(), [2, 3, 5]);
    let flat = oracle(&x.reshape((6, 4)).unwrap(), &weight, Some(&bias));
    assert_close(&y.reshape((6, 5)).unwrap(), &flat, 1e-13);
    check_gradients(&[x.clone(), weight, bias], |x| {
        linear(&x[0], &x[1], Some(&x[2]))
    });
    let row = x.get(0).unwrap().get(0).unwrap();
    let vector = linear(&row, &uniform(2, (5, 4)), None).unwrap();
    assert_eq!(vector.dims(), [5]);
}

fn a_large_product_of_every_type() {
    let (x, weight, bias) = (uniform(1, (64, 96)), uniform(2, (100, 96)), uniform(3, 100));
    let expected = oracle(&x, &weight, Some(&bias));
    for (dtype, tolerance) in [
        (real(), 1e-12),
        (DType::F32, 1e-5),
        (DType::F16, 2e-2),
        (DType::BF16, 1e-1),
    ] {
        let to = |t: &Tensor| t.to_dtype(dtype).unwrap();
        let y = linear(&to(&x), &to(&weight), Some(&to(&bias))).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &expected, tolerance);
    }
}

fn nothing_in_gives_the_bias_or_nothing_out() {
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, real(), &device()).unwrap();
    let bias = uniform(1, 3);
    assert_eq!(
        linear(&zeros((0, 4)), &zeros((3, 4)), Some(&bias))
            .unwrap()
            .dims(),
        [0, 3]
    );
    let y = linear(&zeros((2, 0)), &zeros((3, 0)), Some(&bias)).unwrap();
    assert_close(&y, &bias.broadcast_as((2, 3)).unwrap(), 0.0);
    let y = linear(&zeros((2, 0)), &zeros((3, 0)), None).unwrap();
    assert_close(&y, &zeros((2, 3)), 0.0);
}

fn what_does_not_fit_is_refused() {
    let (x, weight) = (uniform(1, (2, 4)), uniform(2, (3, 4)));
    assert!(linear(&x, &uniform(2, (3, 5)), None).is_err());
    assert!(linear(&x, &uniform(2, 4), None).is_err());
    assert!(linear(&x, &weight, Some(&uniform(3, 4))).is_err());
    assert!(linear(&x, &weight.to_dtype(DType::BF16).unwrap(), None).is_err());
}

fn sizes_do_not_wrap() {
    const HUGE: usize = 1 << 40;
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, real(), &device()).unwrap();
    // Without inputs the operands are empty, but the result would be huge.
    assert!(linear(&zeros((HUGE, 0)), &zeros((HUGE, 0)), None).is_err());
}
