//! Capsules against compositions of Candle's ops and finite differences.

use candle_core::{D, DType, Result, Tensor, Var};
use candle_mish::ops::capsule::{dynamic_routing, length, squash};
use candle_mish::ops::{Margin, margin_loss, squared_error};
use candle_nn::ops::softmax;
use proptest::prelude::*;

use crate::support::{
    array, assert_close, assert_values, check_gradients, device, every_device_with_products, real,
    strided, uniform, values,
};

test_all_devices_with_products! {
    vectors_are_squashed_and_measured,
    many_capsules_are_routed,
    capsules_and_weights_must_fit,
    lengths_are_held_to_their_margins,
    a_length_of_nan_is_no_success,
    reconstructions_are_compared,
}

fn squashed(x: &Tensor) -> Result<Tensor> {
    let square = x.sqr()?.sum_keepdim(D::Minus1)?;
    let factor = (square.sqrt()? / (&square + 1.0)?)?;
    x.broadcast_mul(&factor)
}

/// Procedure 1 of the paper with all predictions in memory.
fn routed(u: &Tensor, weight: &Tensor, iterations: usize) -> Result<Tensor> {
    let (inputs, depth, outputs, width) = weight.dims4()?;
    let images = u.dim(0)?;
    let matrix = weight.reshape((1, inputs, depth, outputs * width))?;
    let predictions = u.unsqueeze(2)?.broadcast_matmul(&matrix)?;
    let predictions = predictions.reshape((images, inputs, outputs, width))?;
    let mut logits = Tensor::zeros((images, inputs, outputs), u.dtype(), u.device())?;
    let mut output = None;
    for _ in 0..iterations {
        let couplings = softmax(&logits, D::Minus1)?.unsqueeze(3)?;
        let sum = predictions.broadcast_mul(&couplings)?.sum(1)?;
        let v = squashed(&sum)?;
        let agreement = predictions.broadcast_mul(&v.unsqueeze(1)?)?.sum(3)?;
        logits = (logits + agreement)?;
        output = Some(v);
    }
    output.ok_or_else(|| candle_core::Error::msg("no iterations"))
}

fn vectors_are_squashed_and_measured() {
    let x = uniform(1, (3, 4, 5));
    assert_close(&squash(&x).unwrap(), &squashed(&x).unwrap(), 1e-14);
    assert_close(
        &squash(&strided(&x)).unwrap(),
        &squashed(&x).unwrap(),
        1e-14,
    );
    let lengths = x.sqr().unwrap().sum(D::Minus1).unwrap().sqrt().unwrap();
    assert_close(&length(&x).unwrap(), &lengths, 1e-14);
    check_gradients(std::slice::from_ref(&x), |x| squash(&x[0]));
    check_gradients(&[x], |x| length(&x[0]));
    let zeros = Tensor::zeros((2, 3), real(), &device()).unwrap();
    assert_close(&squash(&zeros).unwrap(), &zeros, 0.0);
    assert!(squash(&Tensor::zeros((), real(), &device()).unwrap()).is_err());
    assert!(length(&Tensor::zeros((2, 0), real(), &device()).unwrap()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn routing_is_that_of_the_paper(
        n in 1usize..4, i in 1usize..5, d in 1usize..4, j in 1usize..4, e in 1usize..4,
        iterations in 1usize..5, seed: u64,
    ) {
        every_device_with_products(|| {
            let (u, w) = (uniform(seed, (n, i, d)), uniform(seed ^ 1, (i, d, j, e)));
            let expected = routed(&u, &w, iterations).unwrap();
            assert_close(&dynamic_routing(&u, &w, iterations).unwrap(), &expected, 1e-12);
            let views = dynamic_routing(&strided(&u), &strided(&w), iterations).unwrap();
            assert_close(&views, &expected, 1e-12);
            check_gradients(&[u, w], |x| dynamic_routing(&x[0], &x[1], iterations));
            Ok(())
        })?;
    }
}

/// More capsules than a chunk has, and long vectors.
fn many_capsules_are_routed() {
    let (u, w) = (uniform(1, (2, 150, 3)), uniform(2, (150, 3, 4, 17)));
    let w = (w * 0.1).unwrap();
    let expected = routed(&u, &w, 3).unwrap();
    assert_close(&dynamic_routing(&u, &w, 3).unwrap(), &expected, 1e-12);
    let narrow = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
    let y = dynamic_routing(&narrow(&u), &narrow(&w), 3).unwrap();
    assert_close(&y, &expected, 1e-5);
    let (u, w) = (uniform(3, (2, 70, 2)), uniform(4, (70, 2, 2, 9)));
    let w = (w * 0.1).unwrap();
    check_gradients(&[u, w], |x| dynamic_routing(&x[0], &x[1], 3));
}

fn capsules_and_weights_must_fit() {
    let (u, w) = (uniform(1, (2, 3, 4)), uniform(2, (3, 4, 5, 6)));
    assert!(dynamic_routing(&u, &w, 0).is_err());
    assert!(dynamic_routing(&u, &uniform(2, (3, 5, 5, 6)), 3).is_err());
    assert!(dynamic_routing(&u, &uniform(2, (3, 4, 0, 6)), 3).is_err());
    assert!(dynamic_routing(&u, &uniform(2, (3, 4, 5)), 3).is_err());
    assert!(dynamic_routing(&u, &w.to_dtype(DType::BF16).unwrap(), 3).is_err());
    assert!(dynamic_routing(&uniform(1, (3, 4)), &w, 3).is_err());
}

fn lengths_are_held_to_their_margins() {
    let rows = [[0.95, 0.05, 0.3], [0.2, 0.6, 0.0]];
    let lengths = array(&rows);
    let labels = Tensor::new(&[0u32, 2], &device()).unwrap();
    let loss = margin_loss(&lengths, &labels, &Margin::default()).unwrap();
    // The first row: 0.5 (0.3 - 0.1)²; the second: 0.9² + 0.5 (0.1² + 0.5²).
    let expected = (0.5 * 0.04 + 0.81 + 0.5 * (0.01 + 0.25)) / 2.0;
    assert_values(&values(&loss), &[expected], 1e-15);
    check_gradients(std::slice::from_ref(&lengths), |x| {
        margin_loss(&x[0], &labels, &Margin::default())
    });
    let outside = Tensor::new(&[0u32, 3], &device()).unwrap();
    let error = margin_loss(&lengths, &outside, &Margin::default()).unwrap_err();
    assert!(error.to_string().contains("label 3"), "{error}");
    assert!(margin_loss(&lengths, &lengths, &Margin::default()).is_err());
}

/// Of the correct class or of another one, as PyTorch's relu.
fn a_length_of_nan_is_no_success() {
    let labels = Tensor::new(&[0u32], &device()).unwrap();
    for row in [[f64::NAN, 0.05], [0.95, f64::NAN]] {
        let lengths = Var::from_tensor(&array(&[row])).unwrap();
        let loss = margin_loss(&lengths, &labels, &Margin::default()).unwrap();
        assert!(values(&loss)[0].is_nan());
        let grads = loss.backward().unwrap();
        let expected = row.map(|length| length * 0.0);
        assert_values(&values(grads.get(&lengths).unwrap()), &expected, 0.0);
    }
}

fn reconstructions_are_compared() {
    let (x, target) = (uniform(1, (3, 2, 5)), uniform(2, (3, 2, 5)));
    let composed = (&x - &target).unwrap().sqr().unwrap().sum_all().unwrap();
    let expected = (composed * (0.7 / 3.0)).unwrap();
    assert_close(&squared_error(&x, &target, 0.7).unwrap(), &expected, 1e-14);
    let views = squared_error(&strided(&x), &strided(&target), 0.7).unwrap();
    assert_close(&views, &expected, 1e-14);
    check_gradients(std::slice::from_ref(&x), |x| {
        squared_error(&x[0], &target.to_device(x[0].device())?, 0.7)
    });
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 1e-3), (DType::BF16, 1e-2)] {
        let narrow = |x: &Tensor| x.to_dtype(dtype).unwrap();
        let error = squared_error(&narrow(&x), &narrow(&target), 0.7).unwrap();
        assert_eq!(error.dtype(), dtype);
        assert_close(&error, &expected, tolerance);
    }
    assert!(squared_error(&x, &uniform(2, (3, 10)), 1.0).is_err());
    assert!(squared_error(&x, &target.to_dtype(DType::BF16).unwrap(), 1.0).is_err());
    let scalar = Tensor::new(1.0, &device()).unwrap();
    assert!(squared_error(&scalar, &scalar, 1.0).is_err());
}
