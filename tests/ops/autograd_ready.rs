//! Gradients that are reported while the backward pass runs.

use std::rc::Rc;

use candle_core::{Device, ModuleT, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::{Forward, Gradients, recompute, value_and_grad_reporting};
use candle_mish::nn::{Act, Blend};
use candle_mish::ops::{add, mish, scale};
use candle_mish::rng::Generator;

fn variables() -> Result<[Var; 3]> {
    let variable = |values: &[f32]| Var::from_tensor(&Tensor::new(values, &Device::Cpu)?);
    Ok([
        variable(&[0.5, -1.0, 2.0])?,
        variable(&[1.0, 0.25, -3.0])?,
        variable(&[0.1, 0.7, 1.5])?,
    ])
}

/// The reported variables in their order, by position in `vars`. Each has its final gradient.
fn reported(
    vars: &[Var; 3],
    forward: impl FnOnce() -> Result<Tensor>,
) -> Result<(Vec<usize>, Gradients)> {
    let mut reports: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut ready = |var: &Tensor, gradient: &Tensor| {
        let position = vars.iter().position(|v| v.id() == var.id());
        reports.push((position.expect("a variable"), gradient.to_vec1()?));
        Ok(())
    };
    let (_, (), gradients) = value_and_grad_reporting(|| Ok((forward()?, ())), &mut ready)?;
    for (position, reported) in &reports {
        let found = gradients.get(&vars[*position]).expect("a gradient");
        assert_eq!(*reported, found.to_vec1::<f32>()?);
    }
    let order = reports.into_iter().map(|(position, _)| position);
    Ok((order.collect(), gradients))
}

#[test]
fn the_last_variables_are_complete_first() -> Result<()> {
    let vars = variables()?;
    let [a, b, c] = &vars;
    let (order, gradients) = reported(&vars, || {
        let x = add(&mish(a)?, b)?;
        mish(&add(&mish(&x)?, c)?)
    })?;
    assert_eq!(order, [2, 1, 0]);
    assert_eq!(gradients.tensors().count(), 3);
    Ok(())
}

#[test]
fn a_variable_with_two_uses_is_complete_after_the_first_op_that_uses_it() -> Result<()> {
    let vars = variables()?;
    let [a, b, c] = &vars;
    let (order, _) = reported(&vars, || {
        let x = add(&mish(c)?, a)?;
        let y = add(&mish(&x)?, b)?;
        mish(&add(&y, c)?)
    })?;
    assert_eq!(order, [1, 0, 2]);
    // Both arguments of one op.
    let (order, _) = reported(&vars, || mish(&add(&add(a, a)?, b)?))?;
    assert_eq!(order, [1, 0]);
    Ok(())
}

#[test]
fn an_op_outside_of_the_loss_does_not_hold_a_variable_back() -> Result<()> {
    let vars = variables()?;
    let [a, b, _] = &vars;
    let (order, _) = reported(&vars, || {
        let y = mish(&add(&mish(a)?, b)?)?;
        scale(a, 2.0)?;
        Ok(y)
    })?;
    assert_eq!(order, [1, 0]);
    Ok(())
}

#[test]
fn gradients_that_may_grow_later_are_not_reported() -> Result<()> {
    let vars = variables()?;
    let [a, b, _] = &vars;
    // An op of Candle before a recorded op.
    let (order, gradients) = reported(&vars, || mish(&add(&(a.as_tensor() * 2.0)?, b)?))?;
    assert!(order.is_empty());
    assert!(gradients.get(a).is_some() && gradients.get(b).is_some());
    assert_eq!(gradients.tensors().count(), 2);
    // A part that runs again.
    let inner = b.clone();
    let part: Forward = Rc::new(move |x: &Tensor| mish(&add(x, &inner)?));
    let generator = Generator::new(1);
    let (order, gradients) = reported(&vars, || mish(&recompute(&generator, part, &mish(a)?)?))?;
    assert!(order.is_empty());
    assert_eq!(gradients.tensors().count(), 2);
    Ok(())
}

/// A blend has no op of Candle, after which no variable would be reported.
#[test]
fn the_variables_before_a_blend_are_reported() -> Result<()> {
    let vars = variables()?;
    let [a, b, c] = &vars;
    let blend = Blend::default();
    let layer = Act::new(&Activation::Relu)?;
    let layer = layer.blended(Act::new(&Activation::Mish)?, blend.clone());
    for share in [0.0, 0.25, 1.0] {
        blend.set(share);
        let (order, gradients) = reported(&vars, || {
            let x = layer.forward_t(&add(&mish(a)?, b)?, true)?;
            mish(&add(&x, c)?)
        })?;
        assert_eq!(order, [2, 1, 0], "{share}");
        assert_eq!(gradients.tensors().count(), 3);
    }
    Ok(())
}

#[test]
fn an_error_of_the_report_ends_the_backward_pass() -> Result<()> {
    let [a, ..] = variables()?;
    let mut refuse = |_: &Tensor, _: &Tensor| candle_core::bail!("no more");
    let result = value_and_grad_reporting(|| Ok((mish(&a)?, ())), &mut refuse);
    let error = result.map(|_| ()).expect_err("refused");
    assert!(error.to_string().contains("no more"), "{error}");
    Ok(())
}
