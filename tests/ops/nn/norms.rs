//! Norms: initial parameters, eps and running statistics.

use std::collections::HashMap;

use candle_core::{DType, Module, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::nn::{Act, BatchNorm2d, Conv2d, batch_norm2d, group_norm, layer_norm};
use candle_mish::ops::Conv2dParams;
use candle_nn::ModuleT;

use super::{check_reached, names, store};
use crate::support::{assert_close, device, uniform, values};

test_devices! {
    norms_start_as_the_identity_on_normalised_values_and_train,
    kept_scales_belong_to_one_eps,
    cumulative_statistics_are_the_mean_over_all_batches,
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
