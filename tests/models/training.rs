//! Every network learns.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::ParamStore;
use candle_mish::ops::{CrossEntropy, Margin, Target, cross_entropy, margin_loss};
use candle_mish_models::{Entry, ModelSpec, create, entries};

use crate::rule;

/// The most steps.
const STEPS: usize = 60;
const BATCH: usize = 8;

/// Networks that train quickly, and the quickest of each family.
fn trained() -> Vec<&'static Entry> {
    let cost = |entry: &&Entry| entry.cifar.multiply_adds;
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    let quickest = families.into_iter().filter_map(|family| {
        let members = entries().filter(|entry| entry.family == family);
        members.min_by_key(cost)
    });
    let quick = entries().filter(|entry| cost(entry) < 100_000_000);
    let names: BTreeSet<&str> = quickest.chain(quick).map(|entry| entry.name).collect();
    entries()
        .filter(|entry| names.contains(entry.name))
        .collect()
}

/// The loss of the network's recipe.
fn loss_of(entry: &Entry, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    if entry.recipe.contains("loss = 'margin'") {
        return margin_loss(logits, labels, &Margin::default());
    }
    cross_entropy(logits, &Target::Classes(labels), &CrossEntropy::default())
}

/// The loss to reach: 80 % of the loss of a guess, which is ln(100) for the cross-entropy.
fn goal(entry: &Entry, first: f32) -> f32 {
    if entry.recipe.contains("loss = 'margin'") {
        return 0.8 * first;
    }
    0.8 * 100f32.ln()
}

/// Steps along the normalised gradient, which need no learning rate per network, bring the loss of
/// one batch well below the loss of a guess. After a step that increases the loss, as in networks
/// without norms, steps are half as long.
#[test]
fn the_loss_of_a_batch_falls() -> Result<()> {
    for entry in trained() {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
        let model = create(&ModelSpec::new(entry.name), store.var_builder())
            .map_err(candle_core::Error::wrap)?;
        let (c, h, w) = entry.cifar.input;
        let images = rule::images((BATCH, c, h, w))?;
        let labels: Vec<u32> = (0..BATCH as u32).map(|i| i * 11 % 100).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let mut losses: Vec<f32> = Vec::new();
        let mut length = 0.5;
        for _ in 0..STEPS {
            let (loss, (), gradients) = value_and_grad(|| {
                let logits = model.forward_t(&images, true)?;
                Ok((loss_of(entry, &logits, &labels)?, ()))
            })?;
            let loss = loss.to_scalar::<f32>()?;
            if losses.last().is_some_and(|last| loss > *last) {
                length /= 2.0;
            }
            losses.push(loss);
            if loss < goal(entry, losses[0]) {
                break;
            }
            let pairs: Vec<(Var, Tensor)> = store
                .params()
                .into_iter()
                .filter_map(|(_, var)| gradients.get(&var).map(|g| (var.clone(), g.clone())))
                .collect();
            let mut square = 0f32;
            for (_, gradient) in &pairs {
                square += gradient.sqr()?.sum_all()?.to_scalar::<f32>()?;
            }
            for (var, gradient) in pairs {
                let step = (gradient * f64::from(length / square.sqrt()))?;
                var.set(&(var.as_detached_tensor() - step)?)?;
            }
        }
        let reached = losses
            .last()
            .is_some_and(|last| *last < goal(entry, losses[0]));
        assert!(reached, "{}: {losses:?}", entry.name);
    }
    Ok(())
}
