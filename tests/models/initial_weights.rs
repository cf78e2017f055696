//! The same seed gives the same initial weights for every activation, up to the activation's gain.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result};
use candle_mish::activation::Activation;
use candle_mish::nn::{Initialisation, Initialiser, ParamStore, gain};
use candle_mish_models::{ModelSpec, create};

/// The initial weights of a network with this activation.
fn weights(
    model: &str,
    activation: Activation,
    initialisation: Option<Initialisation>,
) -> Result<BTreeMap<String, Vec<f64>>> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 5);
    let store = store.with_initialisation(initialisation);
    let spec = ModelSpec {
        activation,
        ..ModelSpec::new(model)
    };
    create(&spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    let values = |(name, tensor): (String, candle_core::Tensor)| {
        let values = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        Ok((name, values))
    };
    store.tensors().into_iter().map(values).collect()
}

/// Checks that each tensor of `ours` is one of `factors` times that of `theirs`, and returns how many
/// have each factor.
fn count_factors(
    ours: &BTreeMap<String, Vec<f64>>,
    theirs: &BTreeMap<String, Vec<f64>>,
    factors: [f64; 2],
) -> [usize; 2] {
    assert!(ours.keys().eq(theirs.keys()));
    let mut counts = [0, 0];
    for (name, ours) in ours {
        let theirs = &theirs[name];
        let fits = |factor: &f64| {
            let mut pairs = ours.iter().zip(theirs);
            let close = |(a, b): (&f64, &f64)| (a - factor * b).abs() <= 3e-7 * a.abs();
            ours.len() == theirs.len() && pairs.all(close)
        };
        let Some(place) = factors.iter().position(fits) else {
            panic!("{name} has other weights");
        };
        counts[place] += 1;
    }
    counts
}

const MODELS: [&str; 6] = [
    "resnet20",
    "conv4_mlp_1x100",
    "squeezenet_bn",
    "shufflenet_v2_x1_0",
    "densenet_bc100_12",
    "mobilenetv2_100",
];

#[test]
fn activations_differ_by_their_gain_alone() -> Result<()> {
    for model in MODELS {
        let relu = weights(model, Activation::Relu, None)?;
        for activation in [Activation::Mish, Activation::Silu, Activation::Tanh] {
            let factor = gain(&activation) / gain(&Activation::Relu);
            let others = weights(model, activation, None)?;
            let [same, scaled] = count_factors(&others, &relu, [1.0, factor]);
            // Norms and classifiers are the same, convolutions are scaled.
            assert!(
                same > 0 && scaled > 0,
                "{model} with {activation}: {same} {scaled}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_given_gain_makes_weights_equal() -> Result<()> {
    let relu = Activation::Relu;
    for (name, initialiser) in Initialiser::ALL {
        let with = |activation: Activation, gain: f64| {
            let initialisation = Initialisation { initialiser, gain };
            weights("conv4_mlp_1x100", activation, Some(initialisation))
        };
        let (a, b) = (with(relu, 1.5)?, with(Activation::Mish, 1.5)?);
        assert_eq!(a, b, "{name}");
        let [_, scaled] = count_factors(&with(relu, 3.0)?, &a, [1.0, 2.0]);
        assert_eq!(scaled > 0, initialiser.takes_gain(), "{name}");
    }
    Ok(())
}
