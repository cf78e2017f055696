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
/// the identity, PyTorch's `dirac_`. No other tensor changes, and the filters do not learn.
#[test]
fn whitened_networks_complete_their_weights_from_images() -> Result<()> {
    for (network, whiten) in [("airbench94", "whiten"), ("speedrun75", "stem.conv")] {
        let whiten = format!("{whiten}.weight");
        let store = ParamStore::new(DType::F32, &Device::Cpu, 3);
        let model = create(&ModelSpec::new(network), store.var_builder())
            .map_err(candle_core::Error::wrap)?;
        let before: HashMap<String, Tensor> = store
            .params()
            .into_iter()
            .map(|(name, var)| Ok((name, var.as_detached_tensor().copy()?)))
            .collect::<Result<_>>()?;
        let images = rule::images((4, 3, 32, 32))?;
        model.prepare(&store, &|| Ok(images.clone()))?;
        for (name, var) in store.params() {
            let tensor = var.as_detached_tensor();
            let changed = values(&tensor)? != values(&before[&name])?;
            assert_eq!(changed, tensor.rank() == 4, "{network}: {name}");
            if name == whiten {
                let (filters, negatives) = (tensor.narrow(0, 0, 12)?, tensor.narrow(0, 12, 12)?);
                assert_eq!(values(&filters)?, values(&negatives.neg()?)?);
                let outputs = images.conv2d(&filters, 0, 1, 1, 1)?;
                let mean_square = outputs.sqr()?.mean_all()?.to_scalar::<f32>()?;
                assert!((0.5..1.01).contains(&mean_square), "{mean_square}");
            } else if let &[outputs, inputs, height, width] = tensor.dims() {
                let filters = tensor.narrow(0, 0, outputs.min(inputs))?;
                let centre = filters.narrow(2, height / 2, 1)?.narrow(3, width / 2, 1)?;
                let identity = Tensor::eye(inputs, DType::F32, &Device::Cpu)?;
                let identity = identity.narrow(0, 0, outputs.min(inputs))?;
                assert_eq!(values(&centre)?, values(&identity)?, "{network}: {name}");
                let sum = filters.abs()?.sum_all()?.to_scalar::<f32>()?;
                assert_eq!(sum, outputs.min(inputs) as f32, "{network}: {name}");
            }
        }
        assert!(before.contains_key(&whiten), "{network}");
        let (_, (), gradients) =
            value_and_grad(|| Ok((model.forward_t(&images, true)?.sqr()?.sum_all()?, ())))?;
        for (name, var) in store.params() {
            let learns = gradients.get(&var).is_some();
            assert_eq!(learns, !is_fixed(network, &name), "{network}: {name}");
        }
    }
    Ok(())
}
