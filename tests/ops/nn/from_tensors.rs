//! Layers made from tensors, against those of a builder.

use candle_core::{DType, Module, Result, Tensor};
use candle_mish::Activation;
use candle_mish::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNormAct, GroupNorm, LayerNorm, Linear,
    SqueezeExcite, SqueezeExciteConfig, act, batch_norm2d, conv_norm_act, conv2d, group_norm,
    layer_norm, linear, linear_no_bias, squeeze_excite, summarize,
};
use candle_mish::rng::Generator;
use candle_nn::ModuleT;

use super::store;
use crate::support::{device, uniform, values};

test_devices! {
    layers_from_tensors_equal_those_of_a_builder,
    layers_from_tensors_check_their_shapes,
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
