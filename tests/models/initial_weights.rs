//! Initial weights: the same seed gives the same ones for every activation, up to the activation's gain, and
//! their distributions are timm's and torchvision's.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result};
use candle_mish::activation::Activation;
use candle_mish::nn::{Initialisation, Initialiser, ParamStore, gain};
use candle_mish_models::{ModelSpec, Stem, create};
use serde::Deserialize;

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
            // Norms and classifiers are the same, convolutions are scaled unless they start as PyTorch's.
            let scales = !["squeezenet_bn", "shufflenet_v2_x1_0"].contains(&model);
            assert!(
                same > 0 && (scaled > 0) == scales,
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

/// Made by `tests/reference/initial_weights.py`.
const REFERENCE: &str = include_str!("../reference/initial_weights.json");

#[derive(Deserialize)]
struct Reference {
    networks: BTreeMap<String, BTreeMap<String, Layer>>,
}

/// The standard deviation of the weight, whether it is uniform, and whether there is no bias or it is zero.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Layer(f64, bool, bool);

/// The largest relative difference of two standard deviations of 2000 weights: five standard errors.
const TOLERANCE: f64 = 0.12;

#[test]
fn distributions_are_the_same_as_in_timm_and_torchvision() -> Result<()> {
    let reference: Reference = serde_json::from_str(REFERENCE).expect("a stored reference");
    for (model, layers) in &reference.networks {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 7);
        let spec = ModelSpec {
            activation: Activation::Relu,
            num_classes: 1000,
            stem: Stem::ImageNet,
            ..ModelSpec::new(model)
        };
        create(&spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
        let tensors: BTreeMap<String, candle_core::Tensor> = store.tensors().into_iter().collect();
        for (name, Layer(std, uniform, zero_bias)) in layers {
            let values = |part: &str| -> Result<Option<Vec<f32>>> {
                let tensor = tensors.get(&format!("{name}.{part}"));
                tensor.map(|t| t.flatten_all()?.to_vec1()).transpose()
            };
            let weight = values("weight")?.unwrap_or_else(|| panic!("{model} has no {name}"));
            let squares: f64 = weight.iter().map(|x| f64::from(*x).powi(2)).sum();
            let found = (squares / weight.len() as f64).sqrt();
            assert!(
                (found / std - 1.0).abs() < TOLERANCE,
                "{model} {name}: {found}, not {std}"
            );
            let largest = weight
                .iter()
                .fold(0.0, |largest: f32, x| largest.max(x.abs()));
            let is_uniform = f64::from(largest) < 1.8 * found;
            assert_eq!(is_uniform, *uniform, "{model} {name}");
            let bias = values("bias")?.unwrap_or_default();
            assert_eq!(bias.iter().all(|x| *x == 0.0), *zero_bias, "{model} {name}");
        }
    }
    Ok(())
}
