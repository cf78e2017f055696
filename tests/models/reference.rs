//! The CIFAR ResNets against PyTorch: tests/reference/resnet_cifar.py.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::ParamStore;
use candle_mish::ops::{CrossEntropy, Target, cross_entropy};
use candle_mish_models::{Model, Options, create};
use serde::Deserialize;

use crate::rule;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    activation: String,
    params: usize,
    logits: Vec<Vec<f64>>,
    norm: f64,
    loss: Option<f64>,
    gradient_norms: Option<BTreeMap<String, f64>>,
}

fn cases() -> Vec<Case> {
    let json = include_str!("../reference/resnet_cifar.json");
    let reference: Reference = serde_json::from_str(json).expect("the stored reference");
    assert_eq!(reference.cases.len(), 22);
    reference.cases
}

fn build(case: &Case, dtype: DType) -> Result<(ParamStore, Box<dyn Model>, Tensor)> {
    let store = ParamStore::new(dtype, &Device::Cpu, 0);
    let options = Options {
        activation: case.activation.parse().expect("a known activation"),
        ..Options::default()
    };
    let model =
        create(&case.model, &options, store.var_builder()).map_err(candle_core::Error::wrap)?;
    rule::fill(&store)?;
    let images = rule::tensor("input", &(2, 3, 32, 32).into())?.to_dtype(dtype)?;
    Ok((store, model, images))
}

/// The logits of f32 arithmetic lie within 1e-4 of the norm of the double-precision reference.
#[test]
fn logits_equal_the_reference() -> Result<()> {
    for case in cases() {
        let (store, model, images) = build(&case, DType::F32)?;
        assert_eq!(store.num_params(), case.params, "{}", case.model);
        let logits = model.forward_t(&images, false)?.to_dtype(DType::F64)?;
        let norm = logits.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
        let context = format!("{} {}", case.model, case.activation);
        assert!((norm / case.norm - 1.0).abs() < 1e-4, "{context}: {norm}");
        // The norm is over 200 logits; a typical one is norm / sqrt(200).
        let typical = case.norm / 200f64.sqrt();
        for (got, want) in logits.to_vec2::<f64>()?.iter().zip(&case.logits) {
            for (got, want) in got.iter().zip(want) {
                let error = (got - want).abs() / typical.max(want.abs());
                assert!(error < 1e-4, "{context}: {got} is not {want}");
            }
        }
    }
    Ok(())
}

/// In double precision nothing but the order of sums differs, so that a wrong gradient of any
/// single parameter shows.
#[test]
fn training_losses_and_gradients_equal_the_reference() -> Result<()> {
    let mut compared = 0;
    for case in cases() {
        let (Some(loss), Some(norms)) = (case.loss, &case.gradient_norms) else {
            continue;
        };
        let (store, model, images) = build(&case, DType::F64)?;
        let labels = Tensor::new(&[3u32, 71], &Device::Cpu)?;
        let (got, (), gradients) = value_and_grad(|| {
            let logits = model.forward_t(&images, true)?;
            let loss = cross_entropy(&logits, &Target::Classes(&labels), &CrossEntropy::default())?;
            Ok((loss, ()))
        })?;
        let got = got.to_scalar::<f64>()?;
        let context = format!("{} {}", case.model, case.activation);
        assert!(
            (got / loss - 1.0).abs() < 1e-9,
            "{context}: {got} is not {loss}"
        );
        assert_eq!(store.params().len(), norms.len(), "{context}");
        for (name, var) in store.params() {
            let (Some(gradient), Some(want)) = (gradients.get(&var), norms.get(&name)) else {
                panic!("{context}: {name} is not on both sides")
            };
            let norm = gradient.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
            // Biases in front of a norm have no gradient but rounding on either side.
            let close = (norm - want).abs() < 1e-8 * want.max(1e-3);
            assert!(close, "{context}: gradient of {name} is {norm}, not {want}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
    Ok(())
}
