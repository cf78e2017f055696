//! Accumulated gradients: as in timm, and resumed exactly.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_mish::Activation;
use candle_mish::nn::{Conv2dConfig, ConvNormAct, Linear, ParamStore, conv_norm_act, linear};
use candle_mish::ops::{Target, global_avg_pool2d};
use candle_mish::rng::Generator;
use candle_mish::train::optimizer::{ParameterGroup, RuleOptimizer};
use candle_mish::train::run_folder::{BEST, LAST, STATE};
use candle_mish::train::{Accumulation, Outcome, Recipe, ScheduleKind, TrainError, step};
use serde_json::Value;

use crate::trainer::{Session, metrics, timeless};

/// Made by `tests/reference/accumulation.py`.
const REFERENCE: &str = include_str!("../reference/accumulation.json");
const EPOCHS: usize = 8;
const BATCHES: usize = 7;

struct Network(ConvNormAct, Linear);

impl Network {
    fn new(store: &ParamStore) -> Result<Self> {
        let (mish, random) = (Activation::Mish, Generator::new(0));
        let vb = store.var_builder();
        let conv = conv_norm_act(2, 4, Conv2dConfig::same(3), &mish, vb.pp("block"), &random)?;
        Ok(Self(conv, linear(4, 3, vb.pp("fc"))?))
    }

    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let features = global_avg_pool2d(&self.0.forward_t(images, true)?)?;
        self.1.forward(&features)
    }
}

fn wave(shape: &[usize], a: f64, b: f64) -> Result<Tensor> {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| (a * i as f64 + b).sin());
    Tensor::from_vec(values.collect::<Vec<_>>(), shape, &Device::Cpu)
}

/// The names that PyTorch's network has for our tensors.
fn renamed(store: &ParamStore) -> BTreeMap<String, (String, Tensor)> {
    let short = |name: &str| {
        let name = name.strip_prefix("block.").unwrap_or(name);
        name.to_string()
    };
    let tensors = store.tensors().into_iter();
    tensors
        .map(|(name, tensor)| (short(&name), (name, tensor)))
        .collect()
}

fn network() -> Result<(ParamStore, Network)> {
    let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
    let network = Network::new(&store)?;
    let names = renamed(&store);
    let start = [
        ("conv.weight", (wave(&[4, 2, 3, 3], 0.7, 0.1)? / 2.0)?),
        ("fc.weight", wave(&[3, 4], 1.3, 0.2)?),
        ("fc.bias", (wave(&[3], 1.0, 0.3)? / 4.0)?),
    ];
    let start = start.map(|(name, tensor)| (names[name].0.clone(), tensor));
    let mut all: HashMap<String, Tensor> = store.tensors().into_iter().collect();
    all.extend(start);
    store.load_tensors(&all)?;
    Ok((store, network))
}

fn batch(number: usize) -> Result<(Tensor, Tensor)> {
    let labels: Vec<u32> = (0..4).map(|i| (i * i + number as u32) % 3).collect();
    let shift = Tensor::from_iter(labels.iter().map(|l| f64::from(*l) / 2.0), &Device::Cpu)?;
    let images = wave(&[4, 2, 5, 5], 0.37, number as f64)?;
    let images = images.broadcast_add(&shift.reshape((4, 1, 1, 1))?)?;
    Ok((images, Tensor::new(labels, &Device::Cpu)?))
}

fn recipe() -> Recipe {
    Recipe {
        smoothing: 0.1,
        weight_decay: 0.01,
        clip_grad: Some(0.5),
        grad_accum_steps: 3,
        ..Recipe::default()
    }
}

#[test]
fn accumulation_follows_timm_over_24_updates() -> Result<()> {
    let reference: Value = serde_json::from_str(REFERENCE).expect("valid JSON");
    let numbers = |value: &Value| -> Vec<f64> {
        serde_json::from_value(value.clone()).expect("a list of numbers")
    };
    let losses = numbers(&reference["losses"]);
    let (store, network) = network()?;
    let recipe = recipe();
    let groups = ParameterGroup::split(store.params(), recipe.weight_decay);
    let mut optimizer = RuleOptimizer::new(recipe.optimizer(), groups)?;
    let mut updates = 0;
    for epoch in 0..EPOCHS {
        let mut batches = (0..BATCHES).map(|i| epoch * BATCHES + i).peekable();
        while batches.peek().is_some() {
            let mut accumulation = Accumulation::default();
            for number in batches.by_ref().take(recipe.grad_accum_steps) {
                let (images, labels) = batch(number)?;
                let forward = || Ok((network.logits(&images)?, None));
                let step = accumulation.add(forward, &Target::Classes(&labels), &recipe);
                let loss = step.map_err(candle_core::Error::wrap)?.loss;
                let expected = losses[number];
                assert!(
                    (loss - expected).abs() < 1e-9 * expected,
                    "batch {number}: {loss}"
                );
            }
            accumulation.update(&recipe, &mut optimizer, 0.2)?;
            updates += 1;
        }
    }
    assert_eq!(updates, EPOCHS * recipe.updates(BATCHES));
    let mut found = renamed(&store);
    found.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let expected = reference["values"].as_object().expect("values");
    assert_eq!(found.len(), expected.len());
    let mut largest = 0.0_f64;
    for (name, expected) in expected {
        let found = found[name].1.flatten_all()?.to_vec1::<f64>()?;
        for (found, expected) in found.iter().zip(numbers(expected)) {
            largest = largest.max((found - expected).abs() / expected.abs().max(1.0));
        }
    }
    assert!(largest < 1e-9, "{largest:e}");
    Ok(())
}

/// Without batch statistics, two batches have the gradient of one batch with the images of both.
#[test]
fn one_batch_is_a_step_and_a_failed_batch_changes_nothing() -> Result<()> {
    let recipe = recipe();
    let (images, labels) = batch(1)?;
    let target = Target::Classes(&labels);
    let run = |apart: bool| -> Result<Vec<f64>> {
        let (store, network) = network()?;
        let groups = ParameterGroup::split(store.params(), recipe.weight_decay);
        let mut optimizer = RuleOptimizer::new(recipe.optimizer(), groups)?;
        let forward = || Ok((network.logits(&images)?, None));
        if apart {
            let mut accumulation = Accumulation::default();
            let nan = || Ok(((network.logits(&images)? * f64::NAN)?, None));
            assert!(accumulation.add(nan, &target, &recipe).is_err());
            let added = accumulation.add(forward, &target, &recipe);
            added.map_err(candle_core::Error::wrap)?;
            accumulation.update(&recipe, &mut optimizer, 0.2)?;
        } else {
            let taken = step(forward, &target, &recipe, &mut optimizer, 0.2);
            taken.map_err(candle_core::Error::wrap)?;
        }
        let params = store.params().into_iter();
        let values = params.map(|(_, var)| var.flatten_all()?.to_vec1::<f64>());
        Ok(values.collect::<Result<Vec<_>>>()?.concat())
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

fn session(folder: &Path) -> Session<'_> {
    let mut session = Session::new(folder);
    session.recipe.grad_accum_steps = 4;
    session.recipe.sched = ScheduleKind::Cosine;
    session.recipe.warmup_epochs = 0.5;
    session
}

/// 6 batches in an epoch: an update of 4 and one of 2.
#[test]
fn a_run_that_accumulates_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    let (outcome, _) = session(&straight).run().expect("a run");
    let Outcome::Finished(record) = outcome else {
        panic!("{outcome:?}");
    };
    let steps: Vec<u64> = record.epochs.iter().map(|epoch| epoch.step).collect();
    assert_eq!(steps, [2, 4, 6]);
    for stops in [vec![1], vec![2], vec![3, 4, 5]] {
        let path = folder.path().join(format!("{stops:?}"));
        for (i, stop) in stops.iter().enumerate() {
            let mut session = session(&path);
            session.stop_after = Some(*stop);
            session.resume = i > 0;
            let (outcome, _) = session.run().expect("a run");
            assert_eq!(outcome, Outcome::Interrupted { step: *stop });
        }
        let mut session = session(&path);
        session.resume = true;
        session.run().expect("a run");
        for file in [BEST, LAST] {
            let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect("weights");
            assert!(bytes(&straight) == bytes(&path), "{file} after {stops:?}");
        }
        assert_eq!(timeless(&metrics(&straight)), timeless(&metrics(&path)));
    }
}

#[test]
fn more_batches_than_an_epoch_has_are_one_update() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = session(folder.path());
    session.recipe.grad_accum_steps = 100;
    let (outcome, _) = session.run().expect("a run");
    assert!(
        matches!(&outcome, Outcome::Finished(record) if record.epochs[2].step == 3),
        "{outcome:?}"
    );
}

/// After 4 of 6 batches there is one update, so an update of 3 batches does not end there.
#[test]
fn a_state_between_other_updates_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = session(folder.path());
    first.stop_after = Some(1);
    first.run().expect("a run");
    assert!(folder.path().join(STATE).is_file());
    for other in [1, 3, 5, 6] {
        let mut second = session(folder.path());
        second.resume = true;
        second.recipe.grad_accum_steps = other;
        let error = second.run().err().expect("another run");
        assert!(matches!(error, TrainError::ForeignState { .. }), "{error}");
    }
}
