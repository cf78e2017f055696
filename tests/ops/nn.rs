//! The layers: PyTorch's values and keys, initial weights, and random layers in training.

use std::collections::HashMap;
use std::f64::consts::PI;

use candle_core::{DType, Module, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{
    Act, AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Blend, ChannelShuffle, Conv2d, Conv2dConfig,
    ConvNormAct, DropPath, Dropout, GlobalAvgPool, GroupNorm, LayerNorm, Linear, LinearConfig,
    MaxPool2d, ParamStore, SqueezeExcite, SqueezeExciteConfig, WeightInit, act, batch_norm2d,
    batch_norm2d_zero, conv_norm_act, conv2d, gain, group_norm, layer_norm, linear, linear_no_bias,
    linear_with, map_pre_activations, squeeze_excite, summarize,
};
use candle_mish::ops::{
    Conv2dParams, DropPathScale, Pool2dParams, channel_shuffle, drop_path, dropout,
};
use candle_mish::rng::Generator;
use candle_nn::ModuleT;
use serde::Deserialize;

use crate::support::{
    assert_close, assert_values, check_gradients, device, strided, uniform, values,
};

test_devices! {
    keys_and_values_equal_pytorch,
    conv_norm_act_trains_its_parts_and_joins_a_residual,
    squeeze_excite_trains_and_rounds_its_channels,
    squeeze_excite_joins_a_residual_and_an_activation,
    norms_start_as_the_identity_on_normalised_values_and_train,
    dropout_keeps_the_mean_and_repeats_its_mask,
    drop_path_drops_whole_samples,
    channels_are_shuffled_between_groups,
    gains_keep_the_mean_square,
    convolutions_start_as_configured_and_check_their_sizes,
    blended_activations_go_from_the_old_one_to_the_new_one,
    a_blend_of_a_blend_has_both_shares,
    a_blend_that_is_over_is_the_new_layer,
    kept_scales_belong_to_one_eps,
    random_slopes_need_a_finite_range,
    cumulative_statistics_are_the_mean_over_all_batches,
    layers_from_tensors_equal_those_of_a_builder,
    layers_from_tensors_check_their_shapes,
}

const HALVES: [DType; 2] = [DType::F16, DType::BF16];

fn store() -> ParamStore {
    ParamStore::new(DType::F64, &device(), 0)
}

fn names(store: &ParamStore) -> Vec<String> {
    let tensors = store.tensors().into_iter();
    tensors.map(|(name, _)| name).collect()
}

/// Fails unless every parameter of `store` has a gradient in the sum of squares of `y`.
fn check_reached(store: &ParamStore, y: impl FnOnce() -> Result<Tensor>) -> Result<()> {
    let (_, (), gradients) = value_and_grad(|| Ok((y()?.sqr()?.sum_all()?, ())))?;
    for (name, var) in store.params() {
        let gradient = gradients.get(&var).map(values).unwrap_or_default();
        assert_eq!(gradient.len(), var.elem_count(), "{name}");
        assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Stored {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Stored {
    fn tensor(&self) -> Tensor {
        let values = Tensor::new(self.values.as_slice(), &device()).unwrap();
        values.reshape(self.shape.as_slice()).unwrap()
    }
}

#[derive(Deserialize)]
struct Case {
    name: String,
    x: Stored,
    y: Stored,
    state: HashMap<String, Stored>,
}

fn keys_and_values_equal_pytorch() -> Result<()> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../reference/layers.json")).unwrap();
    assert_eq!(cases.len(), 11);
    let generator = &Generator::new(0);
    let params = Pool2dParams::new((3, 3));
    let params = params.with_stride((2, 2)).with_padding((1, 1));
    for case in cases {
        let store = store();
        let vb = store.var_builder();
        let excite = |activation, gate| {
            let config = SqueezeExciteConfig {
                activation,
                gate,
                ..Default::default()
            };
            squeeze_excite(16, &config, vb.clone(), generator)
        };
        let layer: Box<dyn ModuleT> = match case.name.as_str() {
            "conv_norm_act" => {
                let config = Conv2dConfig::same(3).stride(2).groups(2);
                let vb = vb.clone();
                let mish = &Activation::Mish;
                Box::new(conv_norm_act(4, 6, config, mish, vb, generator)?)
            }
            "squeeze_excite" => Box::new(excite(Activation::Relu, Activation::Sigmoid)?),
            "squeeze_excite_mish" => Box::new(excite(Activation::Mish, Activation::HardSigmoid)?),
            "channel_shuffle" => Box::new(ChannelShuffle::new(3)?),
            "group_norm" => Box::new(group_norm(2, 4, vb.clone())?),
            "layer_norm" => Box::new(layer_norm(5, vb.clone())?),
            "max_pool" => Box::new(MaxPool2d::new(params)),
            "avg_pool" => Box::new(AvgPool2d::new(params)),
            "avg_pool_inside" => Box::new(AvgPool2d::new(params).count_include_pad(false)),
            "adaptive_pool" => Box::new(AdaptiveAvgPool2d::new((3, 2))),
            "global_pool" => Box::new(GlobalAvgPool),
            name => panic!("no layer {name}"),
        };
        let state = case.state.iter().map(|(k, v)| (k.clone(), v.tensor()));
        let report = store.load_tensors(&state.collect())?;
        assert!(report.is_exact(), "{}: {report}", case.name);
        let y = layer.forward_t(&case.x.tensor(), false)?;
        assert_close(&y, &case.y.tensor(), 1e-12);
    }
    Ok(())
}

fn conv_norm_act_trains_its_parts_and_joins_a_residual() -> Result<()> {
    let store = store();
    let config = Conv2dConfig::same(3);
    let prelu = "prelu".parse().unwrap();
    let vb = store.var_builder();
    let layer = conv_norm_act(3, 4, config, &prelu, vb, &Generator::new(0))?;
    let mut keys = names(&store);
    keys.sort();
    assert_eq!(
        keys,
        [
            "bn.act.weight",
            "bn.bias",
            "bn.num_batches_tracked",
            "bn.running_mean",
            "bn.running_var",
            "bn.weight",
            "conv.weight",
        ]
    );
    let (x, residual) = (uniform(1, (2, 3, 5, 5)), uniform(2, (2, 4, 5, 5)));
    check_reached(&store, || layer.forward_add(&x, &residual, true))?;
    let buffers: HashMap<_, _> = store.buffers().into_iter().collect();
    assert_eq!(buffers["bn.num_batches_tracked"].to_scalar::<i64>()?, 1);
    assert!(
        values(&buffers["bn.running_mean"])
            .iter()
            .all(|m| *m != 0.0)
    );

    // Another store with the same seed draws the same convolution.
    let plain = self::store();
    let (vb, relu) = (plain.var_builder(), Activation::Relu);
    let joined = conv_norm_act(3, 4, config, &relu, vb.clone(), &Generator::new(0))?;
    let none = Activation::Identity;
    let linear = conv_norm_act(3, 4, config, &none, vb, &Generator::new(0))?;
    let expected = (linear.forward_t(&x, false)? + &residual)?.relu()?;
    let y = joined.forward_add(&x, &residual, false)?;
    assert_close(&y, &expected, 1e-12);
    assert!(joined.forward_add(&x, &x, false).is_err());
    Ok(())
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

fn norms_start_as_the_identity_on_normalised_values_and_train() -> Result<()> {
    let store = store();
    let vb = store.var_builder();
    let group = group_norm(2, 4, vb.pp("group"))?;
    let layer = layer_norm((4, 3, 3), vb.pp("layer"))?;
    let keys = ["group.weight", "group.bias", "layer.weight", "layer.bias"];
    assert_eq!(names(&store), keys);
    let x = uniform(1, (2, 4, 3, 3));
    let y = layer.forward(&x)?.flatten_from(1)?;
    let squares = y.sqr()?.mean(1)?;
    assert_close(
        &y.mean(1)?,
        &Tensor::zeros(2, DType::F64, &device())?,
        1e-12,
    );
    assert_close(&squares, &Tensor::ones(2, DType::F64, &device())?, 1e-4);
    // An eps that outweighs the variance shrinks the values.
    let small = layer.clone().with_eps(1e4).forward(&x)?;
    assert!(values(&small).iter().all(|v| v.abs() < 0.05));
    let small = group.clone().with_eps(1e4).forward(&x)?;
    assert!(values(&small).iter().all(|v| v.abs() < 0.05));
    check_reached(&store, || layer.forward(&(group.forward(&x)? * &x)?))?;
    assert!(group_norm(3, 4, vb.pp("other")).is_err());
    assert!(group_norm(0, 4, vb.pp("other")).is_err());
    Ok(())
}

fn dropout_keeps_the_mean_and_repeats_its_mask() -> Result<()> {
    const N: usize = 200_000;
    let ones = Tensor::ones(N, DType::F64, &device())?;
    for p in [0.1, 0.5, 0.9] {
        let layer = |seed| Dropout::new(p, &Generator::new(seed));
        let (first, again, other) = (layer(7)?, layer(7)?, layer(8)?);
        let y = values(&first.forward_t(&ones, true)?);
        assert_eq!(y, values(&again.forward_t(&ones, true)?));
        assert_ne!(y, values(&first.forward_t(&ones, true)?));
        assert_ne!(y, values(&other.forward_t(&ones, true)?));
        let kept = 1.0 / (1.0 - p);
        assert!(y.iter().all(|v| *v == 0.0 || *v == kept));
        // Five standard deviations of the mean of N values.
        let bound = 5.0 * (p / (1.0 - p) / N as f64).sqrt();
        let mean = y.iter().sum::<f64>() / N as f64;
        assert!((mean - 1.0).abs() < bound, "{p}: {mean}");
        assert_eq!(values(&first.forward_t(&ones, false)?), values(&ones));
    }
    let none = Dropout::new(0.0, &Generator::new(7))?;
    assert_eq!(values(&none.forward_t(&ones, true)?), values(&ones));
    let x = uniform(1, (3, 4, 5));
    check_gradients(std::slice::from_ref(&x), |x| dropout(&x[0], 0.4, 9));
    assert_close(&dropout(&strided(&x), 0.4, 9)?, &dropout(&x, 0.4, 9)?, 0.0);
    for p in [-0.1, 1.0, f64::NAN] {
        assert!(Dropout::new(p, &Generator::new(7)).is_err());
        assert!(dropout(&x, p, 9).is_err());
    }
    Ok(())
}

fn drop_path_drops_whole_samples() -> Result<()> {
    const N: usize = 20_000;
    let ones = Tensor::ones((N, 3, 1), DType::F64, &device())?;
    for p in [0.2, 0.75] {
        let layer = |seed| DropPath::new(p, &Generator::new(seed));
        let y = values(&layer(3)?.forward_t(&ones, true)?);
        assert_eq!(y, values(&layer(3)?.forward_t(&ones, true)?));
        assert_ne!(y, values(&layer(4)?.forward_t(&ones, true)?));
        let kept = 1.0 / (1.0 - p);
        let whole = |s: &[f64]| s == [0.0; 3] || s == [kept; 3];
        assert!(y.chunks(3).all(whole));
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let bound = 5.0 * (p / (1.0 - p) / N as f64).sqrt();
        assert!((mean - 1.0).abs() < bound, "{p}: {mean}");
        let unscaled = layer(3)?.scale_by_keep(false).forward_t(&ones, true)?;
        assert_close(
            &unscaled,
            &((Tensor::new(y, &device())? / kept)?.reshape((N, 3, 1))?),
            1e-15,
        );
        assert_eq!(values(&layer(3)?.forward_t(&ones, false)?), values(&ones));
    }
    let x = uniform(1, (6, 2, 3));
    check_gradients(std::slice::from_ref(&x), |x| {
        drop_path(&x[0], 0.5, DropPathScale::KeepMean, 2)
    });
    let y = drop_path(&x, 0.5, DropPathScale::KeepMean, 2)?;
    assert!(values(&y).contains(&0.0) && values(&y).iter().any(|v| *v != 0.0));
    assert_close(
        &drop_path(&strided(&x), 0.5, DropPathScale::KeepMean, 2)?,
        &y,
        0.0,
    );
    for dtype in HALVES {
        let x = x.to_dtype(dtype)?;
        let y = drop_path(&x, 0.5, DropPathScale::KeepMean, 2)?;
        // A factor of two is exact.
        assert_eq!(y.dtype(), dtype);
        assert_eq!(
            values(&y),
            values(&drop_path(
                &x.to_dtype(DType::F64)?,
                0.5,
                DropPathScale::KeepMean,
                2
            )?)
        );
    }
    // A dropped value is zero, even if it was infinite.
    let infinite = (&x * f64::INFINITY)?;
    assert_eq!(
        values(&drop_path(&infinite, 1.0, DropPathScale::KeepMean, 2)?),
        vec![0.0; 36]
    );
    let empty = uniform(1, (0, 2, 3));
    assert_eq!(
        drop_path(&empty, 0.5, DropPathScale::KeepMean, 2)?.dims(),
        [0, 2, 3]
    );
    for p in [-0.1, 1.1, f64::NAN] {
        assert!(DropPath::new(p, &Generator::new(7)).is_err());
        assert!(drop_path(&x, p, DropPathScale::KeepMean, 9).is_err());
    }
    Ok(())
}

fn channels_are_shuffled_between_groups() -> Result<()> {
    for (groups, per_group) in [(1, 4), (4, 1), (2, 3), (3, 2), (3, 4)] {
        let channels = groups * per_group;
        let x = uniform(1, (2, channels, 3, 2));
        let expected = x
            .reshape((2, groups, per_group, 6))?
            .transpose(1, 2)?
            .reshape((2, channels, 3, 2))?;
        assert_close(&channel_shuffle(&x, groups)?, &expected, 0.0);
        assert_close(&channel_shuffle(&strided(&x), groups)?, &expected, 0.0);
        check_gradients(std::slice::from_ref(&x), |x| channel_shuffle(&x[0], groups));
        for dtype in HALVES {
            let y = channel_shuffle(&x.to_dtype(dtype)?, groups)?;
            assert_eq!(values(&y), values(&expected.to_dtype(dtype)?));
        }
    }
    for shape in [(0, 6, 2, 2), (2, 0, 2, 2), (2, 6, 0, 2)] {
        let y = channel_shuffle(&uniform(1, shape), 3)?;
        assert_eq!(y.dims4()?, shape);
    }
    let x = uniform(1, (2, 4, 2, 2));
    assert!(channel_shuffle(&x, 3).is_err());
    assert!(channel_shuffle(&x, 0).is_err());
    assert!(channel_shuffle(&uniform(1, 4), 2).is_err());
    assert!(ChannelShuffle::new(0).is_err());
    Ok(())
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

fn blended_activations_go_from_the_old_one_to_the_new_one() -> Result<()> {
    let store = store();
    let generator = Generator::new(0);
    let act = |name| act(name, 3, store.var_builder().pp("act"), &generator);
    let blend = Blend::default();
    let blended = act(&Activation::Relu)?.blended(act(&Activation::Mish)?, blend.clone());
    let x = Var::randn(0f64, 2.0, (2, 3, 4, 5), &device())?;
    let (old, new) = (
        act(&Activation::Relu)?.forward_t(&x, false)?,
        act(&Activation::Mish)?.forward_t(&x, false)?,
    );
    for share in [0.0, 0.25, 1.0, 7.0] {
        blend.set(share);
        let share = share.min(1.0);
        let (y, (), gradients) =
            value_and_grad(|| Ok((blended.forward_t(&x, true)?.sqr()?.sum_all()?, ())))?;
        let want = ((&old * (1.0 - share))? + (&new * share)?)?;
        let want = want.sqr()?.sum_all()?.to_scalar::<f64>()?;
        assert!(
            (y.to_scalar::<f64>()? / want - 1.0).abs() < 1e-12,
            "{share}"
        );
        let gradient = gradients.get(&x).expect("a gradient");
        assert!(gradient.sqr()?.sum_all()?.to_scalar::<f64>()? > 0.0);
        // A norm must not fuse the old activation alone.
        let norm = batch_norm2d(3, store.var_builder().pp("bn"))?;
        let y = norm.forward_act(&x, None, &blended, false)?;
        let want = blended.forward_t(&norm.forward_t(&x, false)?, false)?;
        let difference = (y - want)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-12, "{share}: {difference}");
    }
    Ok(())
}

fn a_blend_of_a_blend_has_both_shares() -> Result<()> {
    let [relu, mish, tanh] = [Activation::Relu, Activation::Mish, Activation::Tanh];
    let (first, second) = (Blend::default(), Blend::default());
    let inner = Act::new(&mish)?.blended(Act::new(&tanh)?, second.clone());
    let layer = Act::new(&relu)?.blended(inner, first.clone());
    let x = uniform(1, (2, 3, 4));
    for (to_inner, to_tanh) in [(0.5, 0.0), (0.5, 0.25), (1.0, 0.25), (0.25, 1.0)] {
        first.set(to_inner);
        second.set(to_tanh);
        let expected: Vec<f64> = values(&x)
            .into_iter()
            .map(|x| {
                let inner = (1.0 - to_tanh) * mish.value(x) + to_tanh * tanh.value(x);
                (1.0 - to_inner) * relu.value(x) + to_inner * inner
            })
            .collect();
        assert_values(&values(&layer.forward_t(&x, true)?), &expected, 1e-12);
        check_gradients(std::slice::from_ref(&x), |x| layer.forward_t(&x[0], true));
    }
    Ok(())
}

/// With its values, its name in summaries and its parameters, and observed once.
fn a_blend_that_is_over_is_the_new_layer() -> Result<()> {
    let store = store();
    let generator = Generator::new(0);
    let layer = |activation: &Activation| {
        let vb = store.var_builder().pp("act");
        act(activation, 3, vb, &generator)
    };
    let norm = batch_norm2d(3, store.var_builder().pp("bn"))?;
    let x = uniform(1, (2, 3, 4, 5));
    let prelu = Activation::PRelu { init: 0.25 };
    for (old, new) in [
        (Activation::Identity, Activation::Mish),
        (Activation::Relu, Activation::Mish),
        (Activation::Relu, prelu),
    ] {
        let blend = Blend::default();
        let blended = layer(&old)?.blended(layer(&new)?, blend.clone());
        let alone = layer(&new)?;
        blend.set(1.0);
        assert_eq!(blended.params().len(), alone.params().len());
        for separate in [false, true] {
            let forward = |act: &Act| match separate {
                true => act.forward_t(&norm.forward_t(&x, false)?, false),
                false => norm.forward_act(&x, None, act, false),
            };
            let (y, layers) = summarize(|| forward(&blended))?;
            let (expected, expected_layers) = summarize(|| forward(&alone))?;
            assert_close(&y, &expected, 0.0);
            assert_eq!(layers, expected_layers);
            assert_eq!(layers.len(), 2);
            let map = |x: &Tensor| Ok(values(x));
            let (_, seen) = map_pre_activations(map, || forward(&blended))?;
            let (_, expected_seen) = map_pre_activations(map, || forward(&alone))?;
            assert_eq!(seen, expected_seen);
            assert_eq!(seen.len(), 1);
        }
    }
    Ok(())
}

fn kept_scales_belong_to_one_eps() -> Result<()> {
    let random = |seed, shape: &[usize]| uniform(seed, shape).to_dtype(DType::F32);
    let conv = Conv2d::new(random(1, &[3, 2, 3, 3])?, None, Conv2dParams::default());
    let (weight, bias) = (random(2, &[3])?, random(3, &[3])?);
    let norm = BatchNorm2d::new(weight, bias, random(4, &[3])?, random(5, &[3])?.abs()?)?;
    let norm = norm.with_constant_statistics();
    let (x, act) = (random(6, &[2, 2, 6, 6])?, Act::new(&Activation::Relu)?);
    norm.forward_conv(&conv, &x, None, &act, false)?;
    let other = norm.with_eps(0.5);
    let y = other.forward_conv(&conv, &x, None, &act, false)?;
    let expected = other.forward_act(&conv.forward(&x)?, None, &act, false)?;
    assert_close(&y, &expected, 1e-6);
    Ok(())
}

fn random_slopes_need_a_finite_range() {
    let generator = Generator::new(0);
    let store = store();
    for (lower, upper) in [
        (0.5, 0.1),
        (f64::NAN, 0.5),
        (0.1, f64::NAN),
        (0.1, f64::INFINITY),
        (f64::MIN, f64::MAX),
    ] {
        let error = Act::rrelu(lower, upper, &generator).expect_err("no range");
        assert!(error.to_string().contains("rrelu"), "{error}");
        let rrelu = Activation::RRelu { lower, upper };
        let vb = store.var_builder();
        assert!(act(&rrelu, 3, vb, &generator).is_err(), "{rrelu:?}");
    }
    assert!(Act::rrelu(0.2, 0.2, &generator).is_ok());
    // Other functions are checked too.
    assert!(Act::new(&Activation::Celu { alpha: 0.0 }).is_err());
}

fn cumulative_statistics_are_the_mean_over_all_batches() -> Result<()> {
    let store = store();
    let norm = batch_norm2d(2, store.var_builder())?.with_cumulative_statistics();
    let mut means = [0f64; 2];
    for batch in 0..5 {
        let x = Tensor::randn(f64::from(batch), 2.0, (3, 2, 4, 4), &device())?;
        norm.forward_t(&x, true)?;
        let mean = x.mean((0, 2, 3))?.to_vec1::<f64>()?;
        means
            .iter_mut()
            .zip(mean)
            .for_each(|(sum, m)| *sum += m / 5.0);
    }
    let buffers: HashMap<String, Var> = store.buffers().into_iter().collect();
    let got = buffers["running_mean"].to_vec1::<f64>()?;
    for (got, want) in got.iter().zip(means) {
        assert!((got - want).abs() < 1e-12, "{got} is not {want}");
    }
    assert_eq!(buffers["num_batches_tracked"].to_scalar::<i64>()?, 5);
    Ok(())
}

fn layers_from_tensors_equal_those_of_a_builder() -> Result<()> {
    let store = store();
    let vb = store.var_builder();
    let generator = &Generator::new(0);
    let x = uniform(1, (2, 4, 5, 5));
    let rows = uniform(2, (3, 4));
    let check = |built: &dyn ModuleT, copy: &dyn ModuleT, x: &Tensor| -> Result<()> {
        for train in [false, true] {
            let (expected, y) = (built.forward_t(x, train)?, copy.forward_t(x, train)?);
            assert_eq!(values(&expected), values(&y));
        }
        Ok(())
    };

    let built = linear(4, 3, vb.pp("linear"))?;
    let copy = Linear::new(built.weight().clone(), built.bias().cloned());
    assert!(built.bias().is_some());
    check(&built, &copy, &rows)?;
    let built = linear_no_bias(4, 3, vb.pp("no_bias"))?;
    let copy = Linear::new(built.weight().clone(), None);
    assert!(built.bias().is_none());
    check(&built, &copy, &rows)?;

    let config = Conv2dConfig::same(3).stride(2).groups(2).bias(true);
    let built = conv2d(4, 6, config, vb.pp("conv"))?;
    let (weight, bias) = (built.weight().clone(), built.bias().cloned());
    check(&built, &Conv2d::new(weight, bias, *built.params()), &x)?;

    let built = batch_norm2d(4, vb.pp("bn"))?;
    let statistics = [built.running_mean(), built.running_var()].map(Tensor::copy);
    let [mean, variance] = statistics;
    let (weight, bias) = (built.weight().clone(), built.bias().clone());
    let copy = BatchNorm2d::new(weight, bias, mean?, variance?)?;
    check(&built, &copy, &x)?;
    // Both have seen one batch and updated their own statistics.
    assert_eq!(values(built.running_mean()), values(copy.running_mean()));
    assert_eq!(values(built.running_var()), values(copy.running_var()));
    assert_eq!(built.eps(), copy.eps());

    let built = group_norm(2, 4, vb.pp("group"))?;
    let (weight, bias) = (built.weight().clone(), built.bias().clone());
    check(
        &built,
        &GroupNorm::new(built.num_groups(), weight, bias)?,
        &x,
    )?;
    let built = layer_norm((5, 5), vb.pp("layer"))?;
    check(
        &built,
        &LayerNorm::new(built.weight().clone(), built.bias().clone()),
        &x,
    )?;

    for (name, count) in [("mish", 0), ("prelu", 1), ("prelu_shared", 1), ("srelu", 4)] {
        let built = act(&name.parse().unwrap(), 4, vb.pp(name), generator)?;
        let params: Vec<Tensor> = built.params().into_iter().cloned().collect();
        assert_eq!(params.len(), count, "{name}");
        let copy = match <[Tensor; 4]>::try_from(params.clone()) {
            Ok(params) => Act::srelu(params)?,
            Err(_) => match params.first() {
                Some(slope) => Act::prelu(slope.clone())?,
                None => Act::new(built.activation())?,
            },
        };
        check(&built, &copy, &x)?;
    }
    let drawn = Act::rrelu(0.1, 0.3, &Generator::new(3))?.forward_t(&x, true)?;
    let rrelu = Activation::RRelu {
        lower: 0.1,
        upper: 0.3,
    };
    let expected = act(&rrelu, 4, vb.clone(), &Generator::new(3))?.forward_t(&x, true)?;
    assert_eq!(values(&drawn), values(&expected));

    let config = SqueezeExciteConfig::default();
    let built = squeeze_excite(4, &config, vb.pp("se"), generator)?;
    let (relu, gate) = (Act::new(&config.activation)?, Act::new(&config.gate)?);
    let copy = SqueezeExcite::new(built.fc1().clone(), relu, built.fc2().clone(), gate);
    check(&built, &copy, &x)?;
    let mish = &Activation::Mish;
    let built = conv_norm_act(4, 3, Conv2dConfig::same(3), mish, vb.pp("block"), generator)?;
    let act = Act::new(built.act().activation())?;
    let copy = ConvNormAct::new(built.conv().clone(), built.norm().clone(), act);
    assert_eq!(
        values(&built.forward_t(&x, false)?),
        values(&copy.forward_t(&x, false)?)
    );

    // A path names the layer in a summary.
    let layer = Linear::new(copy.norm().weight().reshape((1, 3))?, None).with_path("head");
    let (_, records) = summarize(|| layer.forward(&uniform(3, (2, 3))))?;
    assert_eq!((records[0].path.as_str(), records[0].params), ("head", 3));
    Ok(())
}

fn layers_from_tensors_check_their_shapes() -> Result<()> {
    let of = |len: usize| Tensor::ones(len, DType::F64, &device());
    let error = BatchNorm2d::new(of(3)?, of(3)?, of(2)?, of(3)?).expect_err("another length");
    assert!(error.to_string().contains("running_mean"), "{error}");
    let matrix = of(4)?.reshape((2, 2))?;
    assert!(BatchNorm2d::new(matrix.clone(), of(2)?, of(2)?, of(2)?).is_err());
    assert!(GroupNorm::new(2, of(4)?, of(3)?).is_err());
    assert!(GroupNorm::new(3, of(4)?, of(4)?).is_err());
    assert!(GroupNorm::new(0, of(4)?, of(4)?).is_err());
    assert!(Act::prelu(matrix).is_err());
    assert!(Act::srelu([of(2)?, of(2)?, of(3)?, of(2)?]).is_err());
    for name in ["prelu", "prelu_shared", "srelu", "rrelu"] {
        let error = Act::new(&name.parse().unwrap()).expect_err("has parameters or draws");
        assert!(
            error.to_string().contains("not a fixed function"),
            "{error}"
        );
    }
    Ok(())
}
