//! One initialiser for a whole network, and weights that follow the training images.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{Initialisation, Initialiser, ParamStore};
use candle_mish_models::{ModelSpec, create, find};

use crate::registry::is_fixed;
use crate::rule;

/// The initial tensors of a network, drawn as `mish train --init` does.
fn drawn(name: &str, initialiser: Option<Initialiser>) -> Result<Vec<(String, Tensor)>> {
    let entry = find(name).map_err(candle_core::Error::wrap)?;
    let gain = 1.0;
    let initialisation = initialiser.map(|initialiser| Initialisation { initialiser, gain });
    let store = ParamStore::new(DType::F32, &Device::Cpu, 3)
        .with_initialisation(initialisation)
        .with_own_initialisation(entry.own_initialisation);
    let spec = ModelSpec {
        num_classes: 2,
        ..ModelSpec::new(name)
    };
    create(&spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    Ok(store.tensors())
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The routing weights have four dimensions like a convolution, but are a matrix for each pair of
/// capsules.
#[test]
fn routing_weights_keep_their_distribution() -> Result<()> {
    for name in ["capsnet", "capsnet_reconstruction"] {
        let (own, he) = (
            drawn(name, None)?,
            drawn(name, Some(Initialiser::HeUniform))?,
        );
        for ((name, own), (_, drawn)) in own.iter().zip(&he) {
            if name.ends_with(".weight") {
                let is_same = values(own)? == values(drawn)?;
                assert_eq!(is_same, name == "digit_caps.weight", "{name}");
            }
        }
        assert!(he.iter().any(|(name, _)| name == "digit_caps.weight"));
    }
    Ok(())
}

/// The whitening filters and their negatives come from the images, and the other convolutions start with
/// the identity. No other tensor changes, and the filters do not learn.
#[test]
fn airbench_completes_its_weights_from_images() -> Result<()> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 3);
    let model = create(&ModelSpec::new("airbench94"), store.var_builder())
        .map_err(candle_core::Error::wrap)?;
    let before: HashMap<String, Tensor> = store
        .params()
        .into_iter()
        .map(|(name, var)| Ok((name, var.as_detached_tensor().copy()?)))
        .collect::<Result<_>>()?;
    let images = rule::images((4, 3, 32, 32))?;
    model.prepare(&store, &|| Ok(images.clone()))?;
    let mut changed = Vec::new();
    for (name, var) in store.params() {
        let tensor = var.as_detached_tensor();
        if values(&tensor)? != values(&before[&name])? {
            changed.push(name.clone());
        }
        if name == "whiten.weight" {
            let (filters, negatives) = (tensor.narrow(0, 0, 12)?, tensor.narrow(0, 12, 12)?);
            assert_eq!(values(&filters)?, values(&negatives.neg()?)?);
            let outputs = images.conv2d(&filters, 0, 1, 1, 1)?;
            let mean_square = outputs.sqr()?.mean_all()?.to_scalar::<f32>()?;
            assert!((0.5..1.01).contains(&mean_square), "{mean_square}");
        } else if name.contains("conv") {
            let (_, inputs, _, _) = tensor.dims4()?;
            let x = Tensor::rand(-1f32, 1f32, (1, inputs, 5, 5), &Device::Cpu)?;
            let y = x.conv2d(&tensor.narrow(0, 0, inputs)?, 1, 1, 1, 1)?;
            assert_eq!(values(&x)?, values(&y)?, "{name}");
        }
    }
    let convolutions = (1..=3).flat_map(|i| [1, 2].map(|k| format!("layers.{i}.conv{k}.weight")));
    let expected: Vec<String> = ["whiten.weight".to_string()]
        .into_iter()
        .chain(convolutions)
        .collect();
    assert_eq!(changed, expected);
    let (_, (), gradients) =
        value_and_grad(|| Ok((model.forward_t(&images, true)?.sqr()?.sum_all()?, ())))?;
    for (name, var) in store.params() {
        let learns = gradients.get(&var).is_some();
        assert_eq!(learns, !is_fixed("airbench94", &name), "{name}");
    }
    Ok(())
}
