//! The state of every optimizer: a restored one continues bit for bit.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var};
use candle_mish::ops::composed;
use candle_mish::train::optimizer::{Optimizer, ParameterGroup, RuleOptimizer};
use candle_mish::train::{ClipMode, OptimizerKind, OptimizerName, Recipe};

use super::network::{advance, optimizer, parameters, values};

const STEPS: usize = 20;

/// Every optimizer, with and without Lookahead.
fn recipes() -> impl Iterator<Item = Recipe> {
    let names = OptimizerKind::NAMES.iter();
    let names = names.flat_map(|name| [name.to_string(), format!("lookahead_{name}")]);
    names.map(|name| {
        let opt: OptimizerName = name.parse().expect("a listed name");
        assert_eq!(opt.to_string(), name);
        Recipe {
            opt,
            l1_penalty: 0.01,
            l2_penalty: 0.02,
            clip_grad: Some(0.5),
            clip_mode: ClipMode::Agc,
            ..Recipe::default()
        }
    })
}

/// The parameters after an undisturbed run, and after one that was saved and restored.
fn run(recipe: &Recipe, saved_at: Option<usize>) -> Result<Vec<Vec<f64>>> {
    let mut weights = parameters(DType::F32)?;
    let mut current = optimizer(recipe, &weights)?;
    let first = saved_at.unwrap_or(0);
    advance(&mut current, recipe, &weights, 0..first)?;
    if saved_at.is_some() {
        // The bytes of a file, which share no memory with the optimizer.
        let copy = |(key, tensor): (String, Tensor)| Ok((key, tensor.force_contiguous()?));
        let state = current.state().into_iter().map(copy);
        let state = state.collect::<Result<HashMap<_, _>>>()?;
        for (_, var) in &mut weights {
            *var = Var::from_tensor(&var.as_detached_tensor().force_contiguous()?)?;
        }
        let mut restored = optimizer(recipe, &weights)?;
        restored.restore(&state, current.steps())?;
        assert_eq!(restored.steps(), first as u64);
        current = restored;
    }
    advance(&mut current, recipe, &weights, first..STEPS)?;
    current.end_epoch()?;
    weights.iter().map(|(_, var)| values(var)).collect()
}

#[test]
fn every_optimizer_resumes_bit_for_bit() -> Result<()> {
    let check = || {
        for recipe in recipes() {
            let straight = run(&recipe, None)?;
            // Before, at and between the moves of Lookahead.
            for step in [0, 1, 5, 6, 7, 13] {
                assert!(
                    run(&recipe, Some(step))? == straight,
                    "{} at step {step}",
                    recipe.opt
                );
            }
        }
        Ok(())
    };
    check()?;
    composed::everywhere(check)
}

#[test]
fn an_incomplete_state_is_refused() -> Result<()> {
    // Before and after the first move of Lookahead.
    for (recipe, steps) in recipes().flat_map(|recipe| [(recipe.clone(), 1), (recipe, 6)]) {
        let weights = parameters(DType::F32)?;
        let mut optimizer = optimizer(&recipe, &weights)?;
        advance(&mut optimizer, &recipe, &weights, 0..steps)?;
        let state = optimizer.state();
        for (key, tensor) in &state {
            let mut part: HashMap<_, _> = state.iter().cloned().collect();
            part.remove(key);
            let message = optimizer
                .restore(&part, steps as u64)
                .expect_err(key)
                .to_string();
            assert!(message.contains(key), "{message}");
            part.insert(key.clone(), tensor.to_dtype(DType::F64)?);
            assert!(optimizer.restore(&part, steps as u64).is_err(), "{key}");
            part.insert(key.clone(), tensor.unsqueeze(0)?);
            assert!(optimizer.restore(&part, steps as u64).is_err(), "{key}");
        }
        optimizer.restore(&state.into_iter().collect(), steps as u64)?;
    }
    Ok(())
}

/// The parts of a network that start later have their own steps.
#[test]
fn lookahead_and_corrections_count_from_the_start_of_a_group() -> Result<()> {
    for recipe in recipes() {
        let (early, late) = (parameters(DType::F64)?, parameters(DType::F64)?);
        let of = |weights: &Vec<(String, Var)>, start| {
            let groups = ParameterGroup::split(weights.clone(), 0.05);
            let groups = groups.into_iter();
            let groups = groups.map(|group| ParameterGroup { start, ..group });
            RuleOptimizer::new(recipe.optimizer(), groups.collect())
        };
        let (mut first, mut second) = (of(&early, 0)?, of(&late, 4)?);
        // The second takes four steps without effect.
        advance(&mut second, &recipe, &late, 0..4)?;
        advance(&mut first, &recipe, &early, 0..13)?;
        advance(&mut second, &recipe, &late, 0..13)?;
        for ((name, a), (_, b)) in early.iter().zip(&late) {
            assert!(values(a)? == values(b)?, "{} {name}", recipe.opt);
        }
    }
    Ok(())
}
