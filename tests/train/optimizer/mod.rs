//! Optimizers against the trajectories of PyTorch and timm.

mod network;
mod state;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::Gradients;
use candle_mish::ops::composed;
use candle_mish::train::optimizer::{
    Adam, Clip, Optimizer, OptimizerConfig, ParameterGroup, RmsProp, Rule, RuleOptimizer, Sgd,
    WeightDecay,
};
use serde_json::Value;

/// Made by `tests/reference/optimizers.py`.
pub const REFERENCE: &str = include_str!("../../reference/optimizers.json");

const STEPS: usize = 12;
const BETAS: [f64; 2] = [0.8, 0.99];
const EPS: f64 = 1e-6;

fn parameters(dtype: DType) -> Result<Vec<(String, Var)>> {
    let weight = [[0.5, -1.25, 2.0], [0.0, 3.0, -0.75]];
    let weight = Tensor::new(&weight, &Device::Cpu)?.to_dtype(dtype)?;
    let bias = Tensor::new(&[0.25, -2.0], &Device::Cpu)?.to_dtype(dtype)?;
    Ok(vec![
        ("weight".to_string(), Var::from_tensor(&weight)?),
        ("bias".to_string(), Var::from_tensor(&bias)?),
    ])
}

fn gradients(parameters: &[(String, Var)]) -> Result<Gradients> {
    let mut gradients = Gradients::default();
    for (_, var) in parameters {
        let w = var.as_detached_tensor();
        let i = Tensor::arange(0u32, w.elem_count() as u32, &Device::Cpu)?;
        let factor = ((i.to_dtype(w.dtype())? / 4.0)? + 1.0)?.reshape(w.shape())?;
        let gradient = ((factor * (&w - 1.0)?.powf(3.0)?)? + w.cos()?)?;
        gradients.insert(var.as_tensor(), gradient);
    }
    Ok(gradients)
}

fn rate(step: usize) -> f64 {
    0.02 / (1 + step) as f64
}

fn values(parameters: &[(String, Var)]) -> Result<Vec<Vec<f64>>> {
    let flat = |(_, var): &(String, Var)| var.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    parameters.iter().map(flat).collect()
}

/// Checks the CPU kernels and the compositions for other devices.
fn check(case: &str, rule: impl Into<OptimizerConfig>, clip: Option<Clip>) -> Result<()> {
    let rule = rule.into();
    follow(case, rule, clip)?;
    composed::everywhere(|| follow(case, rule, clip))
}

fn follow(case: &str, rule: OptimizerConfig, clip: Option<Clip>) -> Result<()> {
    let reference: Value = serde_json::from_str(REFERENCE).expect("valid JSON");
    let reference = &reference["optimizers"][case];
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
        let parameters = parameters(dtype)?;
        let groups = ParameterGroup::split(parameters.clone(), 0.05);
        let mut optimizer = RuleOptimizer::new(rule, groups)?;
        for step in 0..STEPS {
            optimizer.step(&gradients(&parameters)?, rate(step).into(), clip)?;
        }
        assert_eq!(optimizer.steps(), STEPS as u64);
        for ((name, _), got) in parameters.iter().zip(values(&parameters)?) {
            let expected = reference[name].as_array().expect("a list");
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(expected) {
                let expected = expected.as_f64().expect("a number");
                let bound = tolerance * expected.abs().max(1.0);
                assert!(
                    (got - expected).abs() <= bound,
                    "{case} {dtype:?} {name}: {got} instead of {expected}"
                );
            }
        }
    }
    Ok(())
}

fn sgd(momentum: f64, nesterov: bool) -> Rule {
    Rule::Sgd(Sgd { momentum, nesterov })
}

fn adam() -> Rule {
    Rule::Adam(Adam {
        betas: BETAS,
        eps: EPS,
        nesterov: false,
    })
}

fn adamw() -> OptimizerConfig {
    OptimizerConfig {
        weight_decay: WeightDecay::Decoupled,
        ..adam().into()
    }
}

fn rms_prop(momentum: f64, centered: bool) -> Rule {
    Rule::RmsProp(RmsProp {
        alpha: 0.9,
        momentum,
        eps: EPS,
        centered,
    })
}

#[test]
fn sgd_follows_pytorch() -> Result<()> {
    check("sgd", sgd(0.0, false), None)?;
    check("momentum", sgd(0.9, false), None)?;
    check("nesterov", sgd(0.9, true), None)
}

#[test]
fn clipping_follows_pytorch() -> Result<()> {
    let nesterov = sgd(0.9, true);
    check("nesterov, clipped by norm", nesterov, Some(Clip::Norm(2.0)))?;
    check(
        "nesterov, clipped by value",
        nesterov,
        Some(Clip::Value(0.5)),
    )
}

#[test]
fn adam_and_adamw_follow_pytorch() -> Result<()> {
    check("adam", adam(), None)?;
    check("adamw", adamw(), None)
}

#[test]
fn rmsprop_follows_pytorch() -> Result<()> {
    check("rmsprop", rms_prop(0.0, false), None)?;
    check("rmsprop, momentum", rms_prop(0.9, false), None)?;
    check("rmsprop, centered", rms_prop(0.0, true), None)?;
    check("rmsprop, centered, momentum", rms_prop(0.9, true), None)
}

#[test]
fn norms_and_biases_are_not_decayed() -> Result<()> {
    let var = |dims: &[usize]| Var::zeros(dims, DType::F32, &Device::Cpu);
    let named = |name: &str, var: Var| (name.to_string(), var);
    let parameters = vec![
        named("conv1.weight", var(&[2, 1, 3, 3])?),
        named("bn1.weight", var(&[2])?),
        named("bn1.bias", var(&[2])?),
        named("fc.weight", var(&[4, 2])?),
        named("odd.bias", var(&[2, 2])?),
    ];
    let groups = ParameterGroup::split(parameters, 5e-4);
    let names = |group: &ParameterGroup| -> Vec<String> {
        group
            .parameters
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    };
    assert_eq!(names(&groups[0]), ["conv1.weight", "fc.weight"]);
    assert_eq!(groups[0].weight_decay, 5e-4);
    assert_eq!(names(&groups[1]), ["bn1.weight", "bn1.bias", "odd.bias"]);
    assert_eq!(groups[1].weight_decay, 0.0);
    Ok(())
}

#[test]
fn a_restored_state_continues_bit_for_bit() -> Result<()> {
    let rules = [sgd(0.9, true).into(), adamw(), rms_prop(0.9, true).into()];
    for rule in rules {
        let optimizer_of = |parameters: &[(String, Var)]| {
            RuleOptimizer::new(rule, ParameterGroup::split(parameters.to_vec(), 0.05))
        };
        let straight = parameters(DType::F32)?;
        let mut optimizer = optimizer_of(&straight)?;
        for step in 0..STEPS {
            optimizer.step(&gradients(&straight)?, rate(step).into(), None)?;
        }

        let first = parameters(DType::F32)?;
        let mut optimizer = optimizer_of(&first)?;
        for step in 0..5 {
            optimizer.step(&gradients(&first)?, rate(step).into(), None)?;
        }
        let saved = optimizer.state().into_iter().collect();
        let copy = |(name, var): &(String, Var)| {
            Ok((
                name.clone(),
                Var::from_tensor(&var.as_detached_tensor().copy()?)?,
            ))
        };
        let second = first.iter().map(copy).collect::<Result<Vec<_>>>()?;
        let mut continued = optimizer_of(&second)?;
        continued.restore(&saved, optimizer.steps())?;
        for step in 5..STEPS {
            continued.step(&gradients(&second)?, rate(step).into(), None)?;
        }
        assert_eq!(values(&straight)?, values(&second)?);

        // The restored optimizer does not write to the saved tensors.
        let missing = saved.into_iter().skip(1).collect();
        assert!(continued.restore(&missing, 5).is_err());
    }
    Ok(())
}

#[test]
fn large_tensors_are_updated_as_small_ones() -> Result<()> {
    // Large enough for several tasks, with an odd remainder.
    let n = 300_001;
    let ramp = |scale: f64| {
        let ramp = Tensor::arange(0u32, n as u32, &Device::Cpu)?;
        (ramp.to_dtype(DType::F32)? * (scale / n as f64))? - scale / 2.0
    };
    let large = Var::from_tensor(&ramp(3.0)?.reshape((1, n))?)?;
    let gradient = ramp(-7.0)?.reshape((1, n))?;
    let rule = sgd(0.9, true);
    let group = |var: &Var| ParameterGroup::split(vec![("w".to_string(), var.clone())], 0.1);
    let mut optimizer = RuleOptimizer::new(rule, group(&large))?;
    let mut gradients = Gradients::default();
    gradients.insert(large.as_tensor(), gradient.clone());
    let pieces = |tensor: &Tensor| -> Result<Vec<Tensor>> {
        (0..n)
            .step_by(9_973)
            .map(|at| tensor.narrow(1, at, 9_973.min(n - at)))
            .collect()
    };
    let vars = pieces(large.as_tensor())?;
    let vars = vars.iter().map(|piece| Var::from_tensor(&piece.copy()?));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let mut others = vars
        .iter()
        .map(|var| RuleOptimizer::new(rule, group(var)))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..3 {
        optimizer.step(&gradients, 0.1.into(), None)?;
        // Pieces of the gradient are strided views.
        for ((other, var), piece) in others.iter_mut().zip(&vars).zip(pieces(&gradient)?) {
            let mut gradients = Gradients::default();
            gradients.insert(var.as_tensor(), piece);
            other.step(&gradients, 0.1.into(), None)?;
        }
    }
    let whole = large.flatten_all()?.to_vec1::<f32>()?;
    let joined = vars.iter().map(|var| var.flatten_all()?.to_vec1::<f32>());
    assert_eq!(whole, joined.collect::<Result<Vec<_>>>()?.concat());
    Ok(())
}

#[test]
fn a_step_reports_the_norm_and_refuses_wrong_gradients() -> Result<()> {
    let var = Var::zeros((2, 2), DType::F32, &Device::Cpu)?;
    let groups = ParameterGroup::split(vec![("w".to_string(), var.clone())], 0.0);
    let mut optimizer = RuleOptimizer::new(sgd(0.0, false), groups)?;
    let mut gradients = Gradients::default();
    gradients.insert(
        var.as_tensor(),
        Tensor::new(&[[3f32, 0.], [0., 4.]], &Device::Cpu)?,
    );
    assert_eq!(
        optimizer.step(&gradients, 1.0.into(), Some(Clip::Norm(100.0)))?,
        Some(5.0)
    );
    assert_eq!(var.to_vec2::<f32>()?, [[-3.0, 0.0], [0.0, -4.0]]);
    assert_eq!(optimizer.step(&gradients, 0.0.into(), None)?, None);

    gradients.insert(var.as_tensor(), Tensor::zeros(4, DType::F32, &Device::Cpu)?);
    let message = optimizer
        .step(&gradients, 1.0.into(), None)
        .expect_err("a shape")
        .to_string();
    assert!(message.contains("gradient of w"), "{message}");
    gradients.insert(
        var.as_tensor(),
        Tensor::zeros((2, 2), DType::F64, &Device::Cpu)?,
    );
    assert!(optimizer.step(&gradients, 1.0.into(), None).is_err());
    Ok(())
}
