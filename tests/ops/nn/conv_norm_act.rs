//! A convolution with its norm and activation: parameters, statistics and a residual.

use std::collections::HashMap;

use candle_core::Result;
use candle_mish::Activation;
use candle_mish::nn::{Conv2dConfig, conv_norm_act};
use candle_mish::rng::Generator;
use candle_nn::ModuleT;

use super::{check_reached, names, store};
use crate::support::{assert_close, uniform, values};

test_devices! {
    conv_norm_act_trains_its_parts_and_joins_a_residual,
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
