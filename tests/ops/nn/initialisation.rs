//! Gains, and the initial weights of convolutions, linear layers and norms.

use std::f64::consts::PI;

use candle_core::{Module, Result};
use candle_mish::Activation;
use candle_mish::nn::{
    Conv2dConfig, LinearConfig, WeightInit, batch_norm2d_zero, conv2d, gain, linear_with,
};
use candle_nn::ModuleT;

use super::{names, store};
use crate::support::{uniform, values};

test_devices! {
    gains_keep_the_mean_square,
    convolutions_start_as_configured_and_check_their_sizes,
}

fn gains_keep_the_mean_square() {
    let density_at_one = (-0.5f64).exp() / (2.0 * PI).sqrt();
    let known = [
        (Activation::Identity, 1.0),
        (Activation::Relu, 0.5),
        (Activation::LeakyRelu { slope: 0.1 }, (1.0 + 0.01) / 2.0),
        (Activation::LeakyRelu { slope: 1.0 }, 1.0),
        // Integration by parts over [-1, 1]; the square is one outside.
        ("hardtanh".parse().unwrap(), 1.0 - 2.0 * density_at_one),
        // E[z^2 Phi(z)^2], by Stein's lemma applied twice.
        (Activation::Gelu, 1.0 / 3.0 + 1.0 / (2.0 * PI * 3f64.sqrt())),
    ];
    for (activation, mean_square) in known {
        let found = gain(&activation);
        let expected = 1.0 / f64::sqrt(mean_square);
        assert!(
            (found - expected).abs() < 1e-6,
            "{activation}: {found}, not {expected}"
        );
    }
    assert!((gain(&Activation::Relu) - 2f64.sqrt()).abs() < 1e-6);
}

fn convolutions_start_as_configured_and_check_their_sizes() -> Result<()> {
    let store = store();
    let vb = store.var_builder();
    let std = |name: &str, config: Conv2dConfig| -> Result<f64> {
        conv2d(64, 128, config, vb.pp(name))?;
        let weight = store.tensors().into_iter();
        let mut weight = weight.filter(|(key, _)| key == &format!("{name}.weight"));
        let weight = values(&weight.next().unwrap().1);
        Ok((weight.iter().map(|w| w * w).sum::<f64>() / weight.len() as f64).sqrt())
    };
    let config = Conv2dConfig::same(3);
    for gain in [1.0, 2f64.sqrt(), 3.0] {
        let init = config.init(WeightInit::KaimingFanOut { gain });
        let (found, expected) = (
            std(&format!("{gain}"), init)?,
            gain / (128.0 * 9.0f64).sqrt(),
        );
        // The standard deviation of 73,728 values has an error of 0.3 %.
        assert!(
            (found / expected - 1.0).abs() < 0.01,
            "{found}, not {expected}"
        );
    }
    // Uniform in ±1/sqrt(64 * 9).
    let expected = 1.0 / 24.0 / 3f64.sqrt();
    let found = std("default", config)?;
    assert!(
        (found / expected - 1.0).abs() < 0.01,
        "{found}, not {expected}"
    );
    for (name, init, expected) in [
        ("in", WeightInit::KaimingFanIn { gain: 1.5 }, 1.5 / 24.0),
        ("normal", WeightInit::Normal { std: 0.01 }, 0.01),
        (
            "out",
            WeightInit::UniformFanOut,
            (128.0f64 * 27.0).sqrt().recip(),
        ),
    ] {
        let found = std(name, config.init(init).bias(true))?;
        assert!(
            (found / expected - 1.0).abs() < 0.01,
            "{name}: {found}, not {expected}"
        );
        let bias = values(&vb.get(128, &format!("{name}.bias"))?);
        assert!(bias.iter().all(|b| *b == 0.0), "{name}: {bias:?}");
    }
    let normal = LinearConfig {
        bias: true,
        init: WeightInit::Normal { std: 1.0 },
    };
    linear_with(3, 4, normal, vb.pp("linear"))?;
    assert_eq!(values(&vb.get(4, "linear.bias")?), [0.0; 4]);
    let norm = batch_norm2d_zero(3, vb.pp("zero"))?;
    assert_eq!(
        values(&norm.forward_t(&uniform(2, (2, 3, 4, 4)), true)?),
        [0.0; 96]
    );
    // By default the bias starts like the weight.
    let biased = conv2d(4, 6, config.bias(true).groups(2), vb.pp("biased"))?;
    assert_eq!(
        biased.forward(&uniform(1, (1, 4, 5, 5)))?.dims(),
        [1, 6, 5, 5]
    );
    let bias = vb.get(6, "biased.bias")?;
    assert!(
        values(&bias)
            .iter()
            .all(|b| *b != 0.0 && b.abs() <= 1.0 / 18f64.sqrt())
    );

    for groups in [0, 3, 4] {
        let error = conv2d(4, 6, config.groups(groups), vb.pp("wrong"));
        let error = error.expect_err("groups that do not divide").to_string();
        assert!(
            error.contains("wrong") && error.contains(&groups.to_string()),
            "{error}"
        );
    }
    for (inputs, outputs, kernel) in [(0, 6, 3), (4, 0, 3), (4, 6, 0)] {
        let config = Conv2dConfig::same(kernel);
        assert!(conv2d(inputs, outputs, config, vb.pp("wrong")).is_err());
    }
    assert!(names(&store).iter().all(|name| !name.starts_with("wrong")));
    Ok(())
}
