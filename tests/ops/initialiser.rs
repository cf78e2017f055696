//! Initial weights by name: the distributions of Keras and PyTorch, and what is drawn from them.

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::Activation;
use candle_mish::nn::{
    Conv2dConfig, Initialisation, Initialiser, ParamStore, WeightDistribution, batch_norm2d,
    batch_norm2d_zero, conv2d, gain, linear,
};
use candle_nn::Init;
use serde_json::Value;

/// Made by `tests/reference/initialisers.py`.
const REFERENCE: &str = include_str!("../reference/initialisers.json");

#[test]
fn distributions_are_those_of_keras_and_pytorch() {
    let reference: Value = serde_json::from_str(REFERENCE).expect("valid JSON");
    let cases = reference["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 8 * 13);
    for case in cases {
        let number = |key: &str| case[key].as_f64().expect("a number");
        let name = case["name"].as_str().expect("a name");
        let dims: Vec<usize> = serde_json::from_value(case["shape"].clone()).expect("a shape");
        let initialiser: Initialiser = name.parse().expect("a known name");
        let found = initialiser.distribution(&dims, number("gain"));
        let (kind, found, expected) = match found {
            WeightDistribution::Normal { std } => ("normal", std, number("std")),
            WeightDistribution::TruncatedNormal { std, bound } => {
                assert_eq!(bound, 2.0 * std, "{case}");
                ("truncated normal", std, number("std"))
            }
            WeightDistribution::Uniform { bound } => ("uniform", bound, number("bound")),
            WeightDistribution::Orthogonal { .. } => panic!("{case}"),
        };
        assert_eq!(case["distribution"], kind, "{case}");
        assert!((found / expected - 1.0).abs() < 1e-12, "{case}: {found}");
    }
}

fn weight(shape: &[usize], initialisation: Initialisation, seed: u64) -> Result<Tensor> {
    let store = ParamStore::new(DType::F64, &Device::Cpu, seed);
    let store = store.with_initialisation(Some(initialisation));
    let asked = Init::Randn {
        mean: 0.0,
        stdev: 1.0,
    };
    let vb = store.var_builder();
    vb.get_with_hints(shape, "layer.weight", asked)
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

/// The distance of a mean of n draws from its expectation, in standard errors, is below 5 except with
/// a probability below 1e-6. The seed is fixed.
#[test]
fn weights_have_the_moments_and_bounds_of_their_distribution() -> Result<()> {
    for (name, initialiser) in Initialiser::ALL {
        if initialiser == Initialiser::Orthogonal {
            continue;
        }
        for shape in [&[64, 32, 3, 3][..], &[256, 1, 5, 5], &[200, 300]] {
            let gain = if initialiser.takes_gain() { 1.3 } else { 1.0 };
            let initialisation = Initialisation { initialiser, gain };
            let drawn = values(&weight(shape, initialisation, 7)?)?;
            let n = drawn.len() as f64;
            // Variance and kurtosis; of a normal truncated at ±2, by integration.
            let (variance, kurtosis, bound) = match initialisation.distribution(shape) {
                WeightDistribution::Normal { std } => (std.powi(2), 3.0, f64::INFINITY),
                WeightDistribution::TruncatedNormal { std, bound } => {
                    let variance = (std * 0.879_625_661_034_239_8).powi(2);
                    (variance, 2.365, bound)
                }
                WeightDistribution::Uniform { bound } => (bound.powi(2) / 3.0, 1.8, bound),
                WeightDistribution::Orthogonal { .. } => continue,
            };
            let mean = drawn.iter().sum::<f64>() / n;
            let square = drawn.iter().map(|x| x * x).sum::<f64>() / n;
            let of_mean = (variance / n).sqrt();
            let of_square = variance * ((kurtosis - 1.0) / n).sqrt();
            assert!(mean.abs() < 5.0 * of_mean, "{name} {shape:?}: mean {mean}");
            assert!(
                (square - variance).abs() < 5.0 * of_square,
                "{name} {shape:?}: variance {square}, expected {variance}"
            );
            let most = drawn.iter().fold(0f64, |most, x| most.max(x.abs()));
            assert!(most <= bound, "{name} {shape:?}: {most} is beyond {bound}");
            if bound.is_finite() {
                assert!(most > 0.98 * bound, "{name} {shape:?}: {most} of {bound}");
            }
        }
    }
    Ok(())
}

#[test]
fn orthogonal_weights_are_orthogonal() -> Result<()> {
    // Fewer rows, fewer columns, square; one block of columns and several.
    for shape in [
        &[10, 4, 3, 3][..],
        &[96, 5, 2, 2],
        &[70, 70],
        &[8, 1, 3, 3],
        &[12, 1, 3, 3],
        &[1, 5],
    ] {
        let initialisation = Initialisation {
            initialiser: Initialiser::Orthogonal,
            gain: 1.5,
        };
        let weight = weight(shape, initialisation, 3)?.flatten_from(1)?;
        let (rows, columns) = weight.dims2()?;
        let gram = if rows <= columns {
            weight.matmul(&weight.t()?)?
        } else {
            weight.t()?.matmul(&weight)?
        };
        let unit = Tensor::eye(rows.min(columns), DType::F64, &Device::Cpu)?;
        let distance = values(&(gram - (unit * 2.25)?)?.abs()?)?;
        let most = distance.into_iter().fold(0.0, f64::max);
        assert!(most < 1e-12, "{shape:?}: {most:.1e}");
        // Uniformly distributed: no sign is preferred.
        let sum: f64 = values(&weight)?.iter().sum();
        assert!(
            sum.abs() < 5.0 * 1.5 * (rows.min(columns) as f64).sqrt(),
            "{sum}"
        );
    }
    Ok(())
}

/// The Gram-Schmidt process of the same draws, column by column.
#[test]
fn orthogonal_weights_are_the_q_of_qr() -> Result<()> {
    let of = |initialiser, gain| weight(&[40, 36], Initialisation { initialiser, gain }, 11);
    let q = of(Initialiser::Orthogonal, 1.0)?;
    // The same generator draws the same standard normal numbers.
    let normal = (of(Initialiser::RandomNormal, 1.0)? / 0.05)?;
    let r = q.t()?.matmul(&normal)?.to_vec2::<f64>()?;
    for (i, row) in r.iter().enumerate() {
        assert!(row[i] > 0.0, "the diagonal of R is positive");
        let below = row[..i].iter().fold(0f64, |most, x| most.max(x.abs()));
        assert!(below < 1e-12, "{below:.1e}");
    }
    let again = q.matmul(&Tensor::new(r, &Device::Cpu)?)?;
    let most = values(&(again - normal)?.abs()?)?
        .into_iter()
        .fold(0.0, f64::max);
    assert!(most < 1e-12, "{most:.1e}");
    Ok(())
}

/// A network of each kind of layer, with or without an initialisation.
fn network(initialisation: Option<Initialisation>, seed: u64) -> Result<Vec<(String, Vec<f64>)>> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, seed);
    let store = store.with_initialisation(initialisation);
    let vb = store.var_builder();
    let conv = Conv2dConfig::same(3).bias(true);
    conv2d(8, 8, conv, vb.pp("conv"))?;
    conv2d(8, 8, conv.groups(8), vb.pp("depthwise"))?;
    batch_norm2d(8, vb.pp("bn"))?;
    batch_norm2d_zero(8, vb.pp("last"))?;
    linear(8, 4, vb.pp("fc"))?;
    let tensors = store.tensors().into_iter();
    tensors
        .map(|(name, tensor)| Ok((name, values(&tensor)?)))
        .collect()
}

#[test]
fn an_initialisation_concerns_weights_and_biases_only() -> Result<()> {
    let he = Initialisation {
        initialiser: Initialiser::HeNormal,
        gain: gain(&Activation::Mish),
    };
    let (own, drawn) = (network(None, 1)?, network(Some(he), 1)?);
    for ((name, own), (_, drawn)) in own.iter().zip(&drawn) {
        match name.as_str() {
            "conv.weight" | "depthwise.weight" | "fc.weight" => assert_ne!(own, drawn, "{name}"),
            "conv.bias" | "depthwise.bias" | "fc.bias" => {
                assert!(own.iter().any(|x| *x != 0.0), "{name}");
                assert!(drawn.iter().all(|x| *x == 0.0), "{name}");
            }
            _ => assert_eq!(own, drawn, "{name}"),
        }
    }
    // The seed decides, and every tensor has a sequence of its own.
    assert_eq!(network(Some(he), 1)?, drawn);
    assert_ne!(network(Some(he), 2)?, drawn);
    let named = |name: &str| &drawn.iter().find(|(other, _)| other == name).expect(name).1;
    assert_ne!(named("conv.weight")[..32], named("fc.weight")[..]);
    Ok(())
}

#[test]
fn initialisers_have_names() {
    for (name, initialiser) in Initialiser::ALL {
        assert_eq!(name.parse(), Ok(initialiser));
        assert_eq!(initialiser.to_string(), name);
        let json = serde_json::to_string(&initialiser).expect("JSON");
        assert_eq!(json, format!("\"{name}\""));
        assert_eq!(
            serde_json::from_str::<Initialiser>(&json).ok(),
            Some(initialiser)
        );
    }
    assert_eq!("kaiming_uniform".parse(), Ok(Initialiser::HeUniform));
    assert_eq!("xavier_uniform".parse(), Ok(Initialiser::GlorotUniform));
    let error = "he_norml".parse::<Initialiser>().expect_err("unknown");
    assert_eq!(
        error,
        "unknown initialiser 'he_norml'; did you mean 'he_normal'?"
    );
}
