//! Gradient checkpointing of parts of a computation.

use std::rc::Rc;

use candle_core::{DType, Device, ModuleT, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::{Forward, is_recomputing, recompute, value_and_grad};
use candle_mish::nn::{Act, BatchNorm2d, Blend, Dropout};
use candle_mish::ops::{add, mish, scale};
use candle_mish::rng::Generator;

fn variable(values: &[f32]) -> Result<Var> {
    Var::from_tensor(&Tensor::new(values, &Device::Cpu)?)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// mish(w + x), with dropout.
fn part(w: &Var, generator: &Generator) -> Result<Forward> {
    let (w, dropout) = (w.clone(), Dropout::new(0.5, generator)?);
    Ok(Rc::new(move |x: &Tensor| {
        dropout.forward_t(&mish(&add(x, &w)?)?, true)
    }))
}

#[test]
fn parts_and_parts_of_parts_have_the_gradients_of_the_whole() -> Result<()> {
    let (x, w) = (variable(&[0.5, -1.0, 2.0])?, variable(&[1.0, 0.25, -3.0])?);
    let run = |depth: usize| -> Result<_> {
        let generator = Generator::new(7);
        let inner = part(&w, &generator)?;
        let twice: Forward = {
            let generator = generator.clone();
            Rc::new(move |x: &Tensor| {
                let y = match depth {
                    2 => recompute(&generator, inner.clone(), x)?,
                    _ => inner(x)?,
                };
                inner(&scale(&y, 3.0)?)
            })
        };
        let (loss, (), gradients) = value_and_grad(|| {
            let y = mish(&x)?;
            let z = match depth {
                0 => twice(&y)?,
                _ => recompute(&generator, twice, &y)?,
            };
            // The input of the part has another use.
            Ok((mish(&add(&z, &y)?)?, ()))
        })?;
        assert_eq!(gradients.tensors().count(), 2);
        let [of_x, of_w] = [&x, &w].map(|var| values(gradients.get(var).expect("a gradient")));
        Ok((values(&loss)?, of_x?, of_w?, generator.state()))
    };
    let plain = run(0)?;
    assert_eq!(run(1)?, plain);
    assert_eq!(run(2)?, plain);
    Ok(())
}

#[test]
fn running_statistics_move_once() -> Result<()> {
    let images = Tensor::arange(0f32, 24.0, &Device::Cpu)?.reshape((2, 3, 2, 2))?;
    let running_mean = |again: bool| -> Result<Vec<f32>> {
        let vector = |value: f32| Tensor::full(value, 3, &Device::Cpu);
        let weight = Var::ones(3, DType::F32, &Device::Cpu)?;
        let norm = BatchNorm2d::new(
            weight.into_inner(),
            vector(0.0)?,
            vector(0.0)?,
            vector(1.0)?,
        )?;
        let layer = norm.clone();
        let forward: Forward = Rc::new(move |x: &Tensor| layer.forward_t(x, true));
        value_and_grad(|| {
            let y = match again {
                true => recompute(&Generator::new(0), forward, &images)?,
                false => forward(&images)?,
            };
            Ok((mish(&y)?, ()))
        })?;
        values(norm.running_mean())
    };
    assert_eq!(running_mean(true)?, running_mean(false)?);
    assert!(!is_recomputing());
    Ok(())
}

#[test]
fn nothing_is_recomputed_without_gradients() -> Result<()> {
    let calls = Rc::new(std::cell::Cell::new(0));
    let counted: Forward = {
        let calls = Rc::clone(&calls);
        Rc::new(move |x: &Tensor| {
            calls.set(calls.get() + 1);
            mish(x)
        })
    };
    let (x, generator) = (variable(&[1.0])?, Generator::new(0));
    recompute(&generator, counted.clone(), &x)?;
    assert_eq!(calls.take(), 1, "without a tape");
    let constant = x.as_detached_tensor();
    value_and_grad(|| {
        let y = recompute(&generator, counted.clone(), &constant)?;
        assert!(!y.track_op());
        Ok((add(&mish(&x)?, &y)?, ()))
    })?;
    assert_eq!(calls.take(), 1, "of a constant");
    value_and_grad(|| Ok((mish(&recompute(&generator, counted.clone(), &x)?)?, ())))?;
    assert_eq!(calls.take(), 2);
    Ok(())
}

/// Candle's ops may come before a part and inside of it. After it, their gradients would be lost.
#[test]
fn ops_of_candle_after_a_part_are_refused() -> Result<()> {
    let (x, generator) = (variable(&[1.0, -2.0])?, Generator::new(0));
    let cube: Forward = Rc::new(|x: &Tensor| mish(&(x * x)?.mul(x)?));
    let gradient = |again: bool| -> Result<Vec<f32>> {
        let (_, (), gradients) = value_and_grad(|| {
            let y = (x.as_tensor() * 0.5)?;
            let y = match again {
                true => recompute(&generator, cube.clone(), &y)?,
                false => cube(&y)?,
            };
            Ok((mish(&y)?, ()))
        })?;
        values(gradients.get(&x).expect("a gradient"))
    };
    assert_eq!(gradient(true)?, gradient(false)?);
    let last = || Ok((recompute(&generator, cube.clone(), &x)?.sqr()?, ()));
    let between = || {
        let y = recompute(&generator, cube.clone(), &x)?.sqr()?;
        Ok((mish(&y)?, ()))
    };
    for error in [value_and_grad(last).err(), value_and_grad(between).err()] {
        let text = error.expect("an error").to_string();
        assert!(text.starts_with("gradient checkpointing: "), "{text}");
    }
    Ok(())
}

/// A blend of activations in a part and after it is no op of Candle.
#[test]
fn a_blend_takes_the_result_of_a_part() -> Result<()> {
    let (x, generator) = (variable(&[0.5, -1.0, 2.0])?, Generator::new(0));
    let blend = Blend::default();
    let layer = Act::new(&Activation::Relu)?;
    let layer = layer.blended(Act::new(&Activation::Mish)?, blend.clone());
    let part: Forward = {
        let layer = layer.clone();
        Rc::new(move |x: &Tensor| layer.forward_t(&mish(x)?, true))
    };
    for share in [0.0, 0.25, 1.0] {
        blend.set(share);
        let gradient = |again: bool| -> Result<Vec<f32>> {
            let (_, (), gradients) = value_and_grad(|| {
                let y = match again {
                    true => recompute(&generator, part.clone(), x.as_tensor())?,
                    false => part(x.as_tensor())?,
                };
                Ok((layer.forward_t(&y, true)?, ()))
            })?;
            assert_eq!(gradients.tensors().count(), 1, "{share}");
            values(gradients.get(&x).expect("a gradient"))
        };
        assert_eq!(gradient(true)?, gradient(false)?, "{share}");
    }
    Ok(())
}
