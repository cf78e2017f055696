//! Every optimizer by its name, over the parameters of a small network, against the trajectories of
//! timm and PyTorch.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::Gradients;
use candle_mish::ops::composed;
use candle_mish::train::optimizer::{Optimizer, ParameterGroup, RuleOptimizer};
use candle_mish::train::{OptimizerKind, Recipe};
use serde_json::Value;

/// Made by `tests/reference/optimizers_timm.py`.
const REFERENCE: &str = include_str!("../../reference/optimizers_timm.json");

const SHAPES: [(&str, &[usize]); 6] = [
    ("conv.weight", &[4, 2, 2, 2]),
    ("depthwise.weight", &[4, 1, 2, 2]),
    ("norm.weight", &[4]),
    ("tall.weight", &[6, 4]),
    ("head.weight", &[4, 5]),
    ("head.bias", &[4]),
];
const DECAY: f64 = 0.05;

type Parameters = Vec<(String, Var)>;

/// A tensor of `value(i)` in the shape of a parameter.
fn tensor(shape: &[usize], dtype: DType, value: impl Fn(f64) -> f64) -> Result<Tensor> {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| value(i as f64)).collect::<Vec<_>>();
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)
}

pub fn parameters(dtype: DType) -> Result<Parameters> {
    let parameter = |(n, (name, shape)): (usize, &(&str, &[usize]))| {
        let start = tensor(shape, dtype, |i| 1.5 * (2.0 * i + n as f64).cos() + 0.05)?;
        Ok((name.to_string(), Var::from_tensor(&start)?))
    };
    SHAPES.iter().enumerate().map(parameter).collect()
}

fn gradient(var: &Var, step: usize) -> Result<Tensor> {
    let w = var.as_detached_tensor();
    let of = |value: &dyn Fn(f64) -> f64| tensor(w.dims(), w.dtype(), value);
    let pull = of(&|i| 1.0 + (i % 5.0) / 4.0)?.mul(&(&w - of(&f64::sin)?)?)?;
    let wave = ((&w * 3.0)?.cos()? / 2.0)?;
    (pull + wave)? + of(&|i| (i + step as f64).sin() / 4.0)?
}

fn rate(step: usize) -> f64 {
    0.05 / (1.0 + step as f64 / 8.0)
}

pub fn optimizer(recipe: &Recipe, parameters: &Parameters) -> Result<RuleOptimizer> {
    let groups = ParameterGroup::split(parameters.clone(), DECAY);
    let groups = ParameterGroup::with_fallback_list(groups, &recipe.fallback_list);
    Ok(RuleOptimizer::new(recipe.optimizer(), groups)?.with_head("head"))
}

/// Takes the steps `steps` of the run.
pub fn advance(
    optimizer: &mut RuleOptimizer,
    recipe: &Recipe,
    parameters: &Parameters,
    steps: std::ops::Range<usize>,
) -> Result<()> {
    let cycle = recipe.cycle_momentum.then(|| recipe.schedule(1));
    for step in steps {
        let mut gradients = Gradients::default();
        for (_, var) in parameters {
            gradients.insert(var.as_tensor(), gradient(var, step)?);
        }
        let rates = match &cycle {
            Some(schedule) => schedule.rates(step as u64),
            None => rate(step).into(),
        };
        optimizer.step(&gradients, rates, recipe.clip())?;
    }
    Ok(())
}

pub fn values(var: &Var) -> Result<Vec<f64>> {
    var.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

fn reference() -> Value {
    serde_json::from_str(REFERENCE).expect("valid JSON")
}

/// The largest distance of a parameter from the reference, relative to 1 or the parameter.
fn distance(case: &Value, dtype: DType) -> Result<f64> {
    let recipe: Recipe = serde_json::from_value(case["settings"].clone()).expect("a recipe");
    recipe.validate().expect("a valid recipe");
    let expected: BTreeMap<String, Vec<f64>> =
        serde_json::from_value(case["values"].clone()).expect("values");
    let mut parameters = parameters(dtype)?;
    parameters.retain(|(name, _)| expected.contains_key(name));
    let mut optimizer = optimizer(&recipe, &parameters)?;
    let steps = case["steps"].as_u64().expect("a number") as usize;
    let epoch_ends: Vec<usize> =
        serde_json::from_value(case["epoch_ends"].clone()).expect("a list of steps");
    for step in 0..steps {
        advance(&mut optimizer, &recipe, &parameters, step..step + 1)?;
        if epoch_ends.contains(&(step + 1)) {
            optimizer.end_epoch()?;
        }
    }
    let mut largest = 0.0_f64;
    for (name, var) in &parameters {
        let found = values(var)?;
        assert_eq!(found.len(), expected[name].len());
        for (found, expected) in found.iter().zip(&expected[name]) {
            let distance = (found - expected).abs() / expected.abs().max(1.0);
            assert!(distance.is_finite(), "{name}: {found}");
            largest = largest.max(distance);
        }
    }
    Ok(largest)
}

fn check(names: impl Fn(&str) -> bool) -> Result<()> {
    let reference = reference();
    let cases = reference["cases"].as_object().expect("cases");
    for (name, case) in cases.iter().filter(|(name, _)| names(name)) {
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-5)] {
            let kernel = distance(case, dtype)?;
            let composed = composed::everywhere(|| distance(case, dtype))?;
            let distance = kernel.max(composed);
            assert!(distance <= tolerance, "{name} {dtype:?}: {distance:e}");
        }
    }
    Ok(())
}

fn is_muon(name: &str) -> bool {
    name.contains("muon")
}

#[test]
fn every_optimizer_follows_timm() -> Result<()> {
    let reference = reference();
    for name in OptimizerKind::NAMES {
        assert!(reference["cases"].get(name).is_some(), "{name}");
    }
    check(|name| !is_muon(name))
}

#[test]
fn muon_follows_timm_and_pytorch() -> Result<()> {
    check(is_muon)
}

/// timm and PyTorch iterate in bfloat16, whose precision is 2^-8.
#[test]
fn muon_agrees_with_timm_in_bfloat16() -> Result<()> {
    let case = &reference()["one step in bfloat16"];
    // The largest change of a weight in this step.
    let change = rate(0) * 0.2 * 8_f64.sqrt();
    let distance = distance(case, DType::F32)?;
    assert!(distance < 0.02 * change, "{distance:e}");
    // The two do differ, so the case is what it says.
    assert!(distance > 1e-5 * change, "{distance:e}");
    Ok(())
}

#[test]
fn buffers_have_the_names_of_timm() -> Result<()> {
    let reference = reference();
    let parameters = parameters(DType::F32)?;
    for (name, case) in reference["cases"].as_object().expect("cases") {
        let Some(buffers) = case["buffers"].as_array() else {
            continue;
        };
        let recipe: Recipe = serde_json::from_value(case["settings"].clone()).expect("a recipe");
        let state = optimizer(&recipe, &parameters)?.state();
        let mut found = state.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        found.sort();
        let expected: Vec<_> = buffers.iter().filter_map(Value::as_str).collect();
        assert_eq!(found, expected, "{name}");
    }
    Ok(())
}
