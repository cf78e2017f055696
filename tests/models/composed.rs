//! One network per family: our ops compared with the compositions that other devices use.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::ParamStore;
use candle_mish::ops::composed::everywhere;
use candle_mish_models::{Entry, ModelSpec, create, entries};

use crate::registry::is_fixed;
use crate::rule;

/// The quickest network of each family.
fn quickest() -> impl Iterator<Item = &'static Entry> {
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    families.into_iter().filter_map(|family| {
        let members = entries().filter(|entry| entry.family == family);
        members.min_by_key(|entry| entry.cifar.multiply_adds)
    })
}

/// The result of a training step.
struct Step {
    logits: Vec<f64>,
    /// The norm of each parameter's gradient.
    norms: Vec<(String, f64)>,
}

fn step(entry: &Entry) -> Result<Step> {
    let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
    let model = create(&ModelSpec::new(entry.name), store.var_builder())
        .map_err(candle_core::Error::wrap)?;
    let (c, h, w) = entry.cifar.input;
    let images = rule::images((3, c, h, w))?.to_dtype(DType::F64)?;
    let labels = Tensor::new(&[3u32, 71, 0], &Device::Cpu)?;
    let (_, logits, gradients) = value_and_grad(|| {
        let (logits, own) = match model.auxiliary() {
            None => (model.forward_t(&images, true)?, None),
            Some(network) => {
                let (logits, own) = network.forward_with_loss(&images, &labels)?;
                (logits, Some(own))
            }
        };
        let squares = logits.sqr()?.sum_all()?;
        let loss = match own {
            None => squares,
            Some(own) => (squares + own)?,
        };
        Ok((loss, logits.detach()))
    })?;
    let mut norms = Vec::new();
    for (name, var) in store.params() {
        let norm = match gradients.get(&var) {
            Some(gradient) => gradient.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt(),
            None if is_fixed(entry.name, &name) => continue,
            None => panic!("{}: no gradient for {name}", entry.name),
        };
        norms.push((name, norm));
    }
    let logits = logits.flatten_all()?.to_vec1()?;
    Ok(Step { logits, norms })
}

/// Whether two values are equal up to rounding, which is far smaller in f64 than the effect of a
/// wrong composition.
fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-9 * scale
}

#[test]
fn a_network_of_each_family_is_the_same_on_compositions() -> Result<()> {
    for entry in quickest() {
        println!("{}", entry.name);
        let (Step { logits, norms }, composed) = (step(entry)?, everywhere(|| step(entry))?);
        let scale = logits.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
        assert!(scale > 0.0, "{}: no logits", entry.name);
        assert_eq!(logits.len(), composed.logits.len());
        for (ours, other) in logits.iter().zip(&composed.logits) {
            assert!(
                close(*ours, *other, scale),
                "{}: logit {other}, not {ours}",
                entry.name
            );
        }
        let scale = norms
            .iter()
            .fold(0.0f64, |scale, (_, norm)| scale.max(*norm));
        assert_eq!(norms.len(), composed.norms.len());
        for ((name, ours), (_, other)) in norms.iter().zip(&composed.norms) {
            assert!(
                close(*ours, *other, scale),
                "{}: the gradient of {name} has norm {other}, not {ours}",
                entry.name
            );
        }
    }
    Ok(())
}
