//! One initialiser for a whole network.

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::nn::{Initialisation, Initialiser, ParamStore};
use candle_mish_models::{ModelSpec, create, find};

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
