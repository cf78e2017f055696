//! The keys and values of PyTorch's layers.

use std::collections::HashMap;

use candle_core::{Result, Tensor};
use candle_mish::Activation;
use candle_mish::nn::{
    AdaptiveAvgPool2d, AvgPool2d, ChannelShuffle, Conv2dConfig, GlobalAvgPool, MaxPool2d,
    SqueezeExciteConfig, conv_norm_act, group_norm, layer_norm, squeeze_excite,
};
use candle_mish::ops::Pool2dParams;
use candle_mish::rng::Generator;
use candle_nn::ModuleT;
use serde::Deserialize;

use super::store;
use crate::support::{assert_close, device};

test_devices! {
    keys_and_values_equal_pytorch,
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
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../reference/layers.json")).unwrap();
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
