//! Cross-entropy against the definition, PyTorch and finite differences.

use candle_core::{DType, Device, Tensor, Var};
use candle_mish::ops::{CrossEntropy, Reduction, Target, cross_entropy};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{
    array, assert_close, assert_values, check_gradients, device, every_device, real, strided,
    uniform, values,
};

test_all_devices! {
    values_and_gradients_are_those_of_pytorch,
    huge_logits_neither_overflow_nor_lose_the_loss,
    a_class_that_is_ruled_out_adds_nothing,
    soft_labels_and_smoothing_are_here_and_not_in_candle,
    many_rows_of_every_type,
    what_does_not_fit_is_refused,
}

fn labels(rows: usize, classes: usize, seed: u64) -> Vec<u32> {
    let label = |row: usize| (seed as usize % 1000 + row * 7) % classes;
    (0..rows).map(|row| label(row) as u32).collect()
}

fn vector<T: candle_core::WithDType>(values: Vec<T>) -> Tensor {
    let len = values.len();
    let x = Tensor::from_vec(values, len, &Device::Cpu).unwrap();
    let dtype = match x.dtype() {
        DType::F64 => real(),
        dtype => dtype,
    };
    x.to_dtype(dtype).unwrap().to_device(&device()).unwrap()
}

/// The definition of the loss, in f64.
fn oracle(logits: &[Vec<f64>], shares: &[Vec<f64>], weights: &[f64], smoothing: f64) -> f64 {
    let mut loss = 0.0;
    for (x, shares) in logits.iter().zip(shares) {
        let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
        for ((x, share), weight) in x.iter().zip(shares).zip(weights) {
            let share = share * (1.0 - smoothing) + smoothing / weights.len() as f64;
            loss -= weight * share * (x - max - sum.ln());
        }
    }
    loss
}

fn table(x: &Tensor) -> Vec<Vec<f64>> {
    let (_, columns) = x.dims2().unwrap();
    values(x).chunks(columns).map(<[f64]>::to_vec).collect()
}

fn one_hot(labels: &[u32], classes: usize) -> Vec<Vec<f64>> {
    let row = |label: &u32| {
        let mut row = vec![0.0; classes];
        row[*label as usize] = 1.0;
        row
    };
    labels.iter().map(row).collect()
}

proptest! {
    #[test]
    fn the_loss_is_its_definition(
        rows in 1usize..6, classes in 1usize..7, smoothing in 0.0f64..1.0, weighted: bool,
        sum: bool, seed: u64,
    ) {
        every_device(|| {
            let logits = uniform(seed, (rows, classes));
            let table = table(&logits);
            let weights: Vec<f64> = match weighted {
                true => (0..classes).map(|k| 0.5 + k as f64).collect(),
                false => vec![1.0; classes],
            };
            let options = CrossEntropy {
                label_smoothing: smoothing,
                class_weights: weighted.then(|| vector(weights.clone())),
                reduction: if sum { Reduction::Sum } else { Reduction::Mean },
            };
            let labels = labels(rows, classes, seed);
            let expected = oracle(&table, &one_hot(&labels, classes), &weights, smoothing);
            let total: f64 = labels.iter().map(|l| weights[*l as usize]).sum();
            let expected = if sum { expected } else { expected / total };
            let labels = vector(labels);
            let target = Target::Classes(&labels);
            let loss = cross_entropy(&logits, &target, &options).unwrap();
            assert_values(&values(&loss), &[expected], 1e-12);
            let loss = cross_entropy(&strided(&logits), &target, &options).unwrap();
            assert_values(&values(&loss), &[expected], 1e-12);
            let run = |x: &[Tensor]| cross_entropy(&x[0], &target, &options);
            check_gradients(std::slice::from_ref(&logits), run);

            let probabilities = uniform(seed ^ 1, (rows, classes));
            let probabilities = candle_nn::ops::softmax(&probabilities, 1).unwrap();
            let shares = self::table(&probabilities);
            let expected = oracle(&table, &shares, &weights, smoothing);
            let expected = if sum { expected } else { expected / rows as f64 };
            let target = Target::Probabilities(&probabilities);
            let loss = cross_entropy(&logits, &target, &options).unwrap();
            assert_values(&values(&loss), &[expected], 1e-12);
            check_gradients(&[logits], |x| cross_entropy(&x[0], &target, &options));
            Ok(())
        })?;
    }
}

#[derive(Deserialize)]
struct Case {
    soft: bool,
    smoothing: f64,
    reduction: String,
    logits: Vec<Vec<f64>>,
    weights: Option<Vec<f64>>,
    target: Vec<f64>,
    loss: f64,
    grad: Vec<Vec<f64>>,
}

fn values_and_gradients_are_those_of_pytorch() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../reference/loss.json")).unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let logits = array(case.logits);
        let logits = Var::from_tensor(&logits).unwrap();
        let probabilities;
        let classes;
        let target = if case.soft {
            probabilities = vector(case.target).reshape(logits.shape()).unwrap();
            Target::Probabilities(&probabilities)
        } else {
            classes = vector(case.target.iter().map(|label| *label as i64).collect());
            Target::Classes(&classes)
        };
        let options = CrossEntropy {
            label_smoothing: case.smoothing,
            class_weights: case.weights.map(vector),
            reduction: match case.reduction.as_str() {
                "mean" => Reduction::Mean,
                _ => Reduction::Sum,
            },
        };
        let loss = cross_entropy(&logits, &target, &options).unwrap();
        assert_values(&values(&loss), &[case.loss], 1e-12);
        let grads = loss.backward().unwrap();
        let expected = array(case.grad);
        assert_close(grads.get(&logits).unwrap(), &expected, 1e-12);
    }
}

fn huge_logits_neither_overflow_nor_lose_the_loss() {
    for dtype in [DType::F32, real(), DType::BF16] {
        let logits = array(&[[1e4f64, -1e4, 0.0], [-1e4, 1e4, -1e4]]);
        let logits = logits.to_dtype(dtype).unwrap();
        let ten_thousand = values(&logits)[0];
        let logits = Var::from_tensor(&logits).unwrap();
        let labels = vector(vec![1u32, 1]);
        let options = CrossEntropy::default();
        let loss = cross_entropy(&logits, &Target::Classes(&labels), &options).unwrap();
        assert_values(&values(&loss), &[ten_thousand], 1e-2);
        let grads = loss.backward().unwrap();
        let expected = [0.5, -0.5, 0.0, 0.0, 0.0, 0.0];
        assert_values(&values(grads.get(&logits).unwrap()), &expected, 1e-6);
    }
}

fn a_class_that_is_ruled_out_adds_nothing() {
    let logits = Tensor::new(&[[0.0f32, f32::NEG_INFINITY, 0.0]], &device()).unwrap();
    let labels = vector(vec![0i64]);
    let options = CrossEntropy::default();
    let loss = cross_entropy(&logits, &Target::Classes(&labels), &options).unwrap();
    assert_values(&values(&loss), &[2f64.ln()], 1e-6);
}

fn soft_labels_and_smoothing_are_here_and_not_in_candle() {
    let logits = uniform(4, (3, 5));
    let probabilities = candle_nn::ops::softmax(&uniform(5, (3, 5)), 1).unwrap();
    assert!(candle_nn::loss::cross_entropy(&logits, &probabilities).is_err());
    let target = Target::Probabilities(&probabilities);
    assert!(cross_entropy(&logits, &target, &CrossEntropy::default()).is_ok());
    let labels = vector(vec![1u32, 4, 0]);
    let plain = candle_nn::loss::cross_entropy(&logits, &labels).unwrap();
    let target = Target::Classes(&labels);
    let ours = cross_entropy(&logits, &target, &CrossEntropy::default()).unwrap();
    assert_close(&ours, &plain, 1e-12);
}

fn many_rows_of_every_type() {
    let logits = uniform(7, (300, 100));
    let labels = labels(300, 100, 3);
    let table = table(&logits);
    let expected = oracle(&table, &one_hot(&labels, 100), &[1.0; 100], 0.1) / 300.0;
    let labels = vector(labels);
    let options = CrossEntropy {
        label_smoothing: 0.1,
        ..Default::default()
    };
    for (dtype, tolerance) in [
        (real(), 1e-12),
        (DType::F32, 1e-6),
        (DType::F16, 2e-3),
        (DType::BF16, 1e-2),
    ] {
        let logits = logits.to_dtype(dtype).unwrap();
        let loss = cross_entropy(&logits, &Target::Classes(&labels), &options).unwrap();
        assert_eq!(loss.dtype(), dtype);
        assert_values(&values(&loss), &[expected], tolerance);
    }
}

fn what_does_not_fit_is_refused() {
    let logits = uniform(1, (2, 3));
    let refused = |logits: &Tensor, target: Target, options: &CrossEntropy, part: &str| {
        let message = cross_entropy(logits, &target, options)
            .unwrap_err()
            .to_string();
        assert!(message.contains(part), "{message}");
    };
    let plain = CrossEntropy::default();
    let fine = vector(vec![0u32, 1]);
    refused(
        &logits,
        Target::Classes(&vector(vec![0u32, 3])),
        &plain,
        "label 3 of row 1",
    );
    refused(
        &logits,
        Target::Classes(&vector(vec![-1i64, 1])),
        &plain,
        "label -1 of row 0",
    );
    refused(
        &logits,
        Target::Classes(&vector(vec![0u32])),
        &plain,
        "do not fit",
    );
    refused(
        &logits,
        Target::Classes(&vector(vec![0f32, 1.0])),
        &plain,
        "u8, u32 or i64",
    );
    refused(
        &logits,
        Target::Probabilities(&uniform(1, (3, 2))),
        &plain,
        "do not fit",
    );
    refused(&uniform(1, 6), Target::Classes(&fine), &plain, "[N, K]");
    let options = CrossEntropy {
        label_smoothing: 1.5,
        ..Default::default()
    };
    refused(&logits, Target::Classes(&fine), &options, "from 0 to 1");
    let options = CrossEntropy {
        class_weights: Some(vector(vec![1.0f64; 2])),
        ..Default::default()
    };
    refused(
        &logits,
        Target::Classes(&fine),
        &options,
        "do not fit 3 classes",
    );
    let none = Tensor::zeros((0, 3), DType::F32, &device()).unwrap();
    let labels = Tensor::zeros(0, DType::U32, &device()).unwrap();
    let loss = cross_entropy(&none, &Target::Classes(&labels), &plain).unwrap();
    assert!(values(&loss)[0].is_nan());
}
