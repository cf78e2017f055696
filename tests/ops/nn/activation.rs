//! Activation layers: blends of two, and the ranges of random slopes.

use candle_core::{Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{Act, Blend, act, batch_norm2d, map_pre_activations, summarize};
use candle_mish::rng::Generator;
use candle_nn::ModuleT;

use super::store;
use crate::support::{assert_close, assert_values, check_gradients, device, uniform, values};

test_devices! {
    blended_activations_go_from_the_old_one_to_the_new_one,
    a_blend_of_a_blend_has_both_shares,
    a_blend_that_is_over_is_the_new_layer,
    random_slopes_need_a_finite_range,
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
