//! Squeeze-and-excitation: channels, gradients, and the end of a residual block.

use candle_core::{Result, Tensor};
use candle_mish::Activation;
use candle_mish::nn::{
    Act, Blend, SqueezeExciteConfig, act, map_pre_activations, squeeze_excite, summarize,
};
use candle_mish::rng::Generator;
use candle_nn::ModuleT;

use super::{check_reached, names, store};
use crate::support::{assert_close, assert_values, check_gradients, uniform, values};

test_devices! {
    squeeze_excite_trains_and_rounds_its_channels,
    squeeze_excite_joins_a_residual_and_an_activation,
}

fn squeeze_excite_trains_and_rounds_its_channels() -> Result<()> {
    let config = SqueezeExciteConfig::default();
    // make_divisible(channels / 16, 8, round_limit=0) of timm.
    for (channels, hidden) in [
        (16, 8),
        (96, 8),
        (192, 16),
        (256, 16),
        (320, 24),
        (2048, 128),
    ] {
        assert_eq!(config.hidden_channels(channels), hidden, "{channels}");
    }
    let quarter = SqueezeExciteConfig {
        rd_ratio: 0.25,
        activation: "prelu".parse().unwrap(),
        ..config
    };
    assert_eq!(quarter.hidden_channels(72), 16);
    let given = SqueezeExciteConfig {
        rd_channels: Some(5),
        ..config
    };
    assert_eq!(given.hidden_channels(72), 5);

    let store = store();
    let layer = squeeze_excite(12, &quarter, store.var_builder(), &Generator::new(0))?;
    let keys = [
        "fc1.weight",
        "fc1.bias",
        "act.weight",
        "fc2.weight",
        "fc2.bias",
    ];
    assert_eq!(names(&store), keys);
    let x = uniform(1, (2, 12, 3, 2));
    check_gradients(std::slice::from_ref(&x), |x| layer.forward_t(&x[0], true));
    check_reached(&store, || layer.forward_t(&x, true))
}

/// The end of a residual block gives the values and gradients of the separate layers, with the same
/// layers in a summary, for fused, separate, learned and blended activations.
fn squeeze_excite_joins_a_residual_and_an_activation() -> Result<()> {
    let generator = Generator::new(0);
    let names = ["identity", "relu", "mish", "softsign", "prelu"];
    for (name, blended) in names.iter().map(|n| (*n, false)).chain([("relu", true)]) {
        let store = store();
        let vb = store.var_builder();
        let config = SqueezeExciteConfig::default();
        let layer = squeeze_excite(6, &config, vb.pp("se"), &generator)?;
        let mut act = act(&name.parse().unwrap(), 6, vb.pp("act"), &generator)?;
        if blended {
            let blend = Blend::default();
            blend.set(0.3);
            act = act.blended(Act::new(&Activation::Mish)?, blend);
        }
        let inputs = [uniform(1, (2, 6, 3, 3)), uniform(2, (2, 6, 3, 3))];
        let joined = |x: &[Tensor]| layer.forward_add_act(&x[0], &x[1], &act, true);
        let separate = |x: &[Tensor]| {
            let y = (layer.forward_t(&x[0], true)? + &x[1])?;
            act.forward_t(&y, true)
        };
        let (y, layers) = summarize(|| joined(&inputs))?;
        let (expected, expected_layers) = summarize(|| separate(&inputs))?;
        assert_close(&y, &expected, 1e-14);
        assert_eq!(layers, expected_layers, "{name}");
        check_gradients(&inputs, joined);
        check_reached(&store, || joined(&inputs))?;
        let map = |x: &Tensor| Ok(values(x));
        let (y, seen) = map_pre_activations(map, || joined(&inputs))?;
        let (_, expected_seen) = map_pre_activations(map, || separate(&inputs))?;
        assert_close(&y, &expected, 1e-14);
        for (seen, expected) in seen.iter().zip(&expected_seen) {
            assert_eq!(seen.0, expected.0);
            assert_values(&seen.1, &expected.1, 1e-14);
        }
        assert_eq!(seen.len(), expected_seen.len(), "{name}");
        assert!(
            layer
                .forward_add_act(&inputs[0], &uniform(1, (2, 6, 3, 1)), &act, true)
                .is_err()
        );
    }
    Ok(())
}
