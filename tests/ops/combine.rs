//! Sums, concatenations and channel scales against Candle's ops and finite differences.

use candle_core::{DType, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{
    add, add_scaled, cat, flatten_from, narrow, pad, permute, reshape, scale, scale_channels, stack,
};
use proptest::prelude::*;

use crate::support::{
    assert_close, check_gradients, device, every_device, gradients, real, strided, uniform,
};

test_all_devices! {
    a_sum_of_every_type_and_layout,
    parts_may_be_empty_and_must_fit,
    parts_and_shapes_must_fit,
    the_halves_of_a_tensor_make_its_gradient_together,
    many_channels_of_every_type_are_scaled,
}

fn a_sum_of_every_type_and_layout() {
    let (a, b) = (uniform(1, (3, 4, 5)), uniform(2, (3, 4, 5)));
    let sum = (&a + &b).unwrap();
    assert_close(&add(&a, &b).unwrap(), &sum, 0.0);
    assert_close(&add(&strided(&a), &b).unwrap(), &sum, 0.0);
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        let y = add(&a.to_dtype(dtype).unwrap(), &b.to_dtype(dtype).unwrap()).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &sum, tolerance);
    }
    check_gradients(&[a.clone(), b], |x| add(&x[0], &x[1]));
    check_gradients(std::slice::from_ref(&a), |x| add(&x[0], &x[0]));
    let (b, damped) = (uniform(3, (3, 4, 5)), |x: &[Tensor]| {
        add_scaled(&x[0], &x[1], 0.17)
    });
    let expected = (&a + (&b * 0.17).unwrap()).unwrap();
    assert_close(&add_scaled(&a, &b, 0.17).unwrap(), &expected, 1e-15);
    check_gradients(&[a, b], damped);
    let (a, b) = (uniform(1, (7, 9001)), uniform(2, (7, 9001)));
    assert_close(&add(&a, &b).unwrap(), &(&a + &b).unwrap(), 0.0);
    assert!(add(&a, &uniform(1, (7, 1))).is_err());
    assert!(add(&a, &b.to_dtype(DType::BF16).unwrap()).is_err());
}

proptest! {
    #[test]
    fn any_number_of_parts_along_any_axis(
        count in 1usize..9, dim in 0usize..3, a in 1usize..4, b in 1usize..4, seed: u64,
    ) {
        every_device(|| {
            let part = |i: usize| {
                let mut dims = vec![a, b];
                dims.insert(dim, (i + seed as usize % 3) % 3 + 1);
                uniform(seed.wrapping_add(i as u64), dims)
            };
            let parts: Vec<Tensor> = (0..count).map(part).collect();
            let all = |parts: &[Tensor]| cat(&parts.iter().collect::<Vec<_>>(), dim);
            let expected = Tensor::cat(&parts, dim).unwrap();
            assert_close(&all(&parts).unwrap(), &expected, 0.0);
            let views: Vec<Tensor> = parts.iter().map(strided).collect();
            assert_close(&all(&views).unwrap(), &expected, 0.0);
            check_gradients(&parts, all);
            Ok(())
        })?;
    }
}

fn parts_may_be_empty_and_must_fit() {
    let (a, b) = (uniform(1, (2, 3)), uniform(2, (2, 0)));
    assert_close(&cat(&[&a, &b], 1).unwrap(), &a, 0.0);
    assert!(cat(&[], 0).is_err());
    assert!(cat(&[&a], 2).is_err());
    assert!(cat(&[&a, &uniform(1, (3, 3))], 1).is_err());
    assert!(cat(&[&a, &a.to_dtype(DType::BF16).unwrap()], 1).is_err());
    let pair = [uniform(1, 4), uniform(2, 4)];
    let expected = Tensor::stack(&pair, 0).unwrap();
    assert_close(&stack(&[&pair[0], &pair[1]]).unwrap(), &expected, 0.0);
    check_gradients(&pair, |x| stack(&[&x[0], &x[1]]));
}

proptest! {
    #[test]
    fn parts_of_any_axis(
        dim in 0usize..3, before in 0usize..3, len in 0usize..4, after in 0usize..3, seed: u64,
    ) {
        every_device(|| {
            let mut dims = vec![2, 3];
            dims.insert(dim, before + len + after);
            let x = uniform(seed, dims);
            let expected = x.narrow(dim, before, len).unwrap();
            assert_close(&narrow(&x, dim, before, len).unwrap(), &expected, 0.0);
            assert_close(&narrow(&strided(&x), dim, before, len).unwrap(), &expected, 0.0);
            check_gradients(&[x], |x| narrow(&x[0], dim, before, len));
            Ok(())
        })?;
    }
}

proptest! {
    #[test]
    fn zeros_around_any_axis(
        dim in 0usize..3, before in 0usize..3, len in 0usize..4, after in 0usize..3, seed: u64,
    ) {
        every_device(|| {
            let mut dims = vec![2, 3];
            dims.insert(dim, len);
            let x = uniform(seed, dims);
            let expected = x.pad_with_zeros(dim, before, after).unwrap();
            for dtype in [DType::F64, DType::F32, DType::BF16] {
                let (x, expected) = (x.to_dtype(dtype).unwrap(), expected.to_dtype(dtype).unwrap());
                assert_close(&pad(&x, dim, before, after).unwrap(), &expected, 0.0);
                assert_close(&pad(&strided(&x), dim, before, after).unwrap(), &expected, 0.0);
            }
            check_gradients(&[x], |x| pad(&x[0], dim, before, after));
            Ok(())
        })?;
    }
}

fn parts_and_shapes_must_fit() {
    let x = uniform(1, (2, 3, 4, 5));
    for (dim, before, after) in [(4, 1, 1), (1, usize::MAX, 0), (1, 0, usize::MAX / 60)] {
        assert!(
            pad(&x, dim, before, after).is_err(),
            "{dim} {before} {after}"
        );
    }
    for (dim, start, len) in [(4, 0, 1), (1, 0, 4), (1, 3, 1), (1, usize::MAX, 2)] {
        assert!(narrow(&x, dim, start, len).is_err(), "{dim} {start} {len}");
    }
    let flat = flatten_from(&x, 1).unwrap();
    assert_close(&flat, &x.flatten_from(1).unwrap(), 0.0);
    let turned = strided(&x);
    assert_close(
        &reshape(&turned, (6, 20)).unwrap(),
        &x.reshape((6, 20)).unwrap(),
        0.0,
    );
    let axes = [0, 3, 1, 2];
    let permuted = x.permute(axes.as_slice()).unwrap();
    assert_close(&permute(&x, &axes).unwrap(), &permuted, 0.0);
    assert_close(&permute(&turned, &axes).unwrap(), &permuted, 0.0);
    check_gradients(std::slice::from_ref(&x), |x| permute(&x[0], &axes));
    for axes in [
        vec![0, 1, 2],
        vec![0, 1, 2, 2],
        vec![0, 1, 2, 4],
        vec![0, 1, 2, 3, 3],
    ] {
        assert!(permute(&x, &axes).is_err(), "{axes:?}");
    }
    assert!(flatten_from(&x, 5).is_err());
    assert!(reshape(&x, (2, 61)).is_err());
    check_gradients(std::slice::from_ref(&x), |x| flatten_from(&x[0], 2));
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let x = x.to_dtype(dtype).unwrap();
        let y = reshape(&narrow(&x, 1, 1, 2).unwrap(), 80).unwrap();
        assert_eq!(y.dtype(), dtype);
        let expected = x.narrow(1, 1, 2).unwrap().flatten_all().unwrap();
        assert_close(&y, &expected, 0.0);
    }
}

/// Both halves of a tensor on the tape: the sum of their gradients is the gradient of the tensor.
fn the_halves_of_a_tensor_make_its_gradient_together() {
    let x = candle_core::Var::from_tensor(&uniform(1, (2, 4, 3))).unwrap();
    let (_, (), gradients) = value_and_grad(|| {
        let x = add(&x, &x)?;
        let (a, b) = (narrow(&x, 1, 0, 2)?, narrow(&x, 1, 2, 2)?);
        Ok((flatten_from(&cat(&[&b, &a], 1)?, 0)?, ()))
    })
    .unwrap();
    let expected = Tensor::full(2f32, (2, 4, 3), &device()).unwrap();
    assert_close(gradients.get(&x).unwrap(), &expected, 0.0);
}

proptest! {
    #[test]
    fn channels_are_scaled(n in 1usize..4, c in 1usize..4, h in 1usize..4, w in 1usize..4, seed: u64) {
        every_device(|| {
            let (x, s) = (uniform(seed, (n, c, h, w)), uniform(seed ^ 1, (n, c, 1, 1)));
            let expected = x.broadcast_mul(&s).unwrap();
            assert_close(&scale_channels(&x, &s).unwrap(), &expected, 0.0);
            let flat = s.reshape((n, c)).unwrap();
            assert_close(&scale_channels(&strided(&x), &strided(&flat)).unwrap(), &expected, 0.0);
            check_gradients(&[x.clone(), s], |x| scale_channels(&x[0], &x[1]));
            check_gradients(&[x, flat], |x| scale_channels(&x[0], &x[1]));
            Ok(())
        })?;
    }
}

fn many_channels_of_every_type_are_scaled() {
    let (x, s) = (uniform(1, (8, 16, 17, 17)), uniform(2, (8, 16)));
    let expected = x.broadcast_mul(&s.reshape((8, 16, 1, 1)).unwrap()).unwrap();
    for (dtype, tolerance) in [
        (real(), 0.0),
        (DType::F32, 1e-6),
        (DType::F16, 2e-3),
        (DType::BF16, 2e-2),
    ] {
        let to = |t: &Tensor| t.to_dtype(dtype).unwrap();
        assert_close(
            &scale_channels(&to(&x), &to(&s)).unwrap(),
            &expected,
            tolerance,
        );
    }
    let [dx, ds] = gradients(&[x.clone(), s.clone()], |x| scale_channels(&x[0], &x[1]))
        .try_into()
        .unwrap();
    assert_eq!((dx.dims(), ds.dims()), (x.dims(), s.dims()));
    let none = Tensor::zeros((0, 2, 3, 3), DType::F32, &device()).unwrap();
    let factors = Tensor::zeros((0, 2), DType::F32, &device()).unwrap();
    assert_eq!(
        scale_channels(&none, &factors).unwrap().dims(),
        [0, 2, 3, 3]
    );
    assert!(scale_channels(&x, &uniform(1, (8, 15))).is_err());
    assert!(scale_channels(&s, &s).is_err());
}

#[test]
fn a_multiple_of_every_type_and_layout() {
    let x = uniform(4, (3, 4, 5));
    let expected = (&x * -0.3).unwrap();
    assert_close(&scale(&x, -0.3).unwrap(), &expected, 1e-15);
    assert_close(&scale(&strided(&x), -0.3).unwrap(), &expected, 1e-15);
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        let y = scale(&x.to_dtype(dtype).unwrap(), -0.3).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &expected, tolerance);
    }
    assert_eq!(scale(&uniform(1, (0, 2)), 2.0).unwrap().dims(), [0, 2]);
    // On several threads.
    let many = uniform(1, (7, 9001));
    let expected = (&many * -0.3).unwrap();
    assert_close(&scale(&many, -0.3).unwrap(), &expected, 1e-15);
    check_gradients(&[x], |x| scale(&x[0], -0.3));
}
