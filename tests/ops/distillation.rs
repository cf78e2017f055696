//! The loss of distillation against PyTorch and finite differences.

use candle_core::{DType, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{activation, add, distillation_loss, linear, squared_error};
use serde::Deserialize;

use crate::support::{
    array, assert_close, assert_values, check_gradients, device, made, real, strided, uniform,
    values,
};

test_all_devices! {
    values_and_gradients_of_distillation_are_those_of_pytorch,
    a_training_with_logits_and_features_is_that_of_pytorch,
    distillation_has_every_type_and_layout,
    a_class_that_the_teacher_rules_out_adds_nothing,
    distillation_refuses_what_does_not_fit,
}

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
    training: Training,
}

#[derive(Deserialize)]
struct Case {
    temperature: f64,
    student: Vec<Vec<f64>>,
    teacher: Vec<Vec<f64>>,
    loss: f64,
    grad: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Training {
    losses: Vec<f64>,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/distillation.json")).unwrap()
}

fn table(rows: &[Vec<f64>]) -> Tensor {
    made(rows.concat(), (rows.len(), rows[0].len()))
}

fn values_and_gradients_of_distillation_are_those_of_pytorch() {
    for case in reference().cases {
        let student = Var::from_tensor(&table(&case.student)).unwrap();
        let loss = distillation_loss(&student, &table(&case.teacher), case.temperature).unwrap();
        assert_values(&values(&loss), &[case.loss], 1e-12);
        let grads = loss.backward().unwrap();
        assert_close(grads.get(&student).unwrap(), &table(&case.grad), 1e-12);
    }
    let teacher = uniform(2, (3, 4));
    check_gradients(&[uniform(1, (3, 4))], |x| {
        distillation_loss(&x[0], &teacher, 2.0)
    });
}

fn sines(start: f64, rows: usize, columns: usize) -> Tensor {
    let numbers = (0..rows * columns).map(|i| (start + 1.7 * i as f64).sin());
    made(numbers.collect(), (rows, columns))
}

/// Stochastic gradient descent with a momentum of 0.9 at a rate of 0.1, as in the reference.
fn a_training_with_logits_and_features_is_that_of_pytorch() {
    let Training {
        losses,
        first,
        second,
    } = reference().training;
    let weights = [sines(1.0, 6, 5), sines(2.0, 4, 6)];
    let weights = weights.map(|weight| Var::from_tensor(&weight).unwrap());
    let wanted = [sines(3.0, 6, 5), sines(4.0, 4, 6)];
    let mut momenta = weights
        .each_ref()
        .map(|weight| weight.zeros_like().unwrap());
    let forward = |images: &Tensor, weights: [&Tensor; 2]| {
        let features = linear(images, weights[0], None)?;
        let hidden = activation(&features, &Activation::Relu)?;
        Ok::<_, candle_core::Error>((linear(&hidden, weights[1], None)?, features))
    };
    for (step, expected) in losses.iter().enumerate() {
        let images = sines(0.3 * step as f64, 8, 5);
        let (teacher, target) = forward(&images, wanted.each_ref()).unwrap();
        let square: f64 = values(&target).iter().map(|x| x * x).sum();
        let (loss, (), gradients) = value_and_grad(|| {
            let weights = weights.each_ref().map(|weight| weight.as_tensor());
            let (logits, features) = forward(&images, weights)?;
            let loss = distillation_loss(&logits, &teacher, 4.0)?;
            let distance = squared_error(&features, &target, 8.0 * 0.7 / square)?;
            Ok((add(&loss, &distance)?, ()))
        })
        .unwrap();
        let found = values(&loss)[0];
        assert!(
            (found - expected).abs() <= 1e-6 * expected,
            "step {step}: {found} {expected}"
        );
        for (weight, momentum) in weights.iter().zip(&mut momenta) {
            let gradient = gradients.get(weight).unwrap();
            *momentum = ((&*momentum * 0.9).unwrap() + gradient).unwrap();
            let new = (weight.as_detached_tensor() - (&*momentum * 0.1).unwrap()).unwrap();
            weight.set(&new).unwrap();
        }
    }
    assert_close(&weights[0], &table(&first), 1e-6);
    assert_close(&weights[1], &table(&second), 1e-6);
}

fn distillation_has_every_type_and_layout() {
    let (student, teacher) = (uniform(3, (40, 10)), uniform(4, (40, 10)));
    let expected = values(&distillation_loss(&student, &teacher, 3.0).unwrap());
    let turned = distillation_loss(&strided(&student), &strided(&teacher), 3.0).unwrap();
    assert_values(&values(&turned), &expected, 1e-12);
    for (dtype, tolerance) in [
        (real(), 1e-12),
        (DType::F32, 1e-6),
        (DType::F16, 2e-3),
        (DType::BF16, 2e-2),
    ] {
        let [student, teacher] = [&student, &teacher].map(|x| x.to_dtype(dtype).unwrap());
        let loss = distillation_loss(&student, &teacher, 3.0).unwrap();
        assert_eq!(loss.dtype(), dtype);
        assert_values(&values(&loss), &expected, tolerance);
    }
    // The teacher's own logits have no loss, and huge ones do not overflow.
    assert_values(
        &values(&distillation_loss(&student, &student, 1.0).unwrap()),
        &[0.0],
        1e-12,
    );
    let huge = array(&[[1e4f64, -1e4]]).to_dtype(DType::F32).unwrap();
    let other = array(&[[-1e4f64, 1e4]]).to_dtype(DType::F32).unwrap();
    let loss = values(&distillation_loss(&huge, &other, 1.0).unwrap());
    assert_values(&loss, &[2e4], 1e-6);
}

fn a_class_that_the_teacher_rules_out_adds_nothing() {
    let teacher = array(&[[0.0, f64::NEG_INFINITY]]);
    let student = Var::from_tensor(&array(&[[0.0, 0.0]])).unwrap();
    let loss = distillation_loss(&student, &teacher, 1.0).unwrap();
    assert_values(&values(&loss), &[2f64.ln()], 1e-12);
    let grads = loss.backward().unwrap();
    assert_values(&values(grads.get(&student).unwrap()), &[-0.5, 0.5], 1e-12);
    let unknown = array(&[[0.0, f64::NAN]]);
    let loss = distillation_loss(&student, &unknown, 1.0).unwrap();
    assert!(values(&loss)[0].is_nan());
}

fn distillation_refuses_what_does_not_fit() {
    let student = uniform(1, (2, 3));
    let refused = |teacher: &Tensor, temperature: f64, part: &str| {
        let error = distillation_loss(&student, teacher, temperature)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&uniform(1, (3, 2)), 1.0, "logits of one shape");
    for temperature in [0.0, -1.0, f64::NAN] {
        refused(&student, temperature, "temperature must be positive");
    }
    let none = Tensor::zeros((0, 3), DType::F32, &device()).unwrap();
    assert!(values(&distillation_loss(&none, &none, 1.0).unwrap())[0].is_nan());
}
