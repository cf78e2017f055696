//! The tape gives the gradients of Candle's own backward.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, Var};
use candle_mish::autograd::{apply1, apply2, value_and_grad};

use crate::support::device;

test_devices! {
    recorded_ops_alone,
    a_tensor_used_twice_sums_its_gradients,
    candle_ops_at_the_end,
    candle_ops_in_between_and_at_the_start,
    an_op_reached_both_by_the_tape_and_by_candle,
    constants_receive_nothing,
    constants_of_candle_ops_receive_nothing,
    a_failed_forward_leaves_no_tape_behind,
    values_beside_the_loss_are_handed_on,
}

/// y = x², as an op with its own backward.
struct Square;

impl CustomOp1 for Square {
    fn name(&self) -> &'static str {
        "square"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (start, end) = layout
            .contiguous_offsets()
            .expect("the tests use contiguous tensors");
        let y = storage.as_slice::<f64>()?[start..end]
            .iter()
            .map(|x| x * x)
            .collect();
        Ok((CpuStorage::F64(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(((x.detach() * 2.0)? * grad)?))
    }
}

/// y = a b, as an op with its own backward.
struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        _l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (s1.as_slice::<f64>()?, s2.as_slice::<f64>()?);
        let y = a.iter().zip(b).map(|(a, b)| a * b).collect();
        Ok((CpuStorage::F64(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some((b.detach() * grad)?), Some((a.detach() * grad)?)))
    }
}

fn variables() -> Result<[Var; 2]> {
    let a = Var::from_tensor(&Tensor::new(&[1.0, -2.0, 3.0], &device())?)?;
    let b = Var::from_tensor(&Tensor::new(&[0.5, 4.0, -1.0], &device())?)?;
    Ok([a, b])
}

/// Differentiates one function both ways. With small integers the results must be equal bit by bit.
fn assert_same_gradients(f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<()> {
    let [a, b] = variables()?;
    let candle = f(&a, &b)?.backward()?;
    let (value, (), taped) = value_and_grad(|| Ok((f(&a, &b)?, ())))?;
    assert_eq!(
        value.sum_all()?.to_scalar::<f64>()?,
        f(&a, &b)?.sum_all()?.to_scalar::<f64>()?
    );
    for var in [&a, &b] {
        let expected = candle.get(var).map(|g| g.to_vec1::<f64>()).transpose()?;
        let got = taped.get(var).map(|g| g.to_vec1::<f64>()).transpose()?;
        assert_eq!(got, expected);
    }
    Ok(())
}

fn recorded_ops_alone() -> Result<()> {
    assert_same_gradients(|a, b| apply2(Product, &apply1(Square, a)?, b))
}

fn a_tensor_used_twice_sums_its_gradients() -> Result<()> {
    assert_same_gradients(|a, b| {
        let shared = apply2(Product, a, b)?;
        apply2(Product, &apply1(Square, &shared)?, &shared)
    })
}

fn candle_ops_at_the_end() -> Result<()> {
    assert_same_gradients(|a, b| apply2(Product, a, b)?.sqr()?.sum_all())
}

fn candle_ops_in_between_and_at_the_start() -> Result<()> {
    assert_same_gradients(|a, b| {
        let start = ((a * 3.0)? + b)?;
        let middle = (apply1(Square, &start)? - b)?;
        apply2(Product, &middle, &(a * b)?)
    })
}

fn an_op_reached_both_by_the_tape_and_by_candle() -> Result<()> {
    assert_same_gradients(|a, b| {
        let shared = apply1(Square, a)?;
        let native = (&shared * b)?;
        apply2(Product, &native, &shared)
    })
}

fn constants_receive_nothing() -> Result<()> {
    let [a, _] = variables()?;
    let constant = Tensor::new(&[1.0, 2.0, 3.0], &device())?;
    let (_, (), gradients) = value_and_grad(|| Ok((apply2(Product, &a, &constant)?, ())))?;
    assert!(gradients.get(&constant).is_none());
    assert_eq!(
        gradients.get(&a).map(|g| g.to_vec1::<f64>()).transpose()?,
        Some(vec![1.0, 2.0, 3.0])
    );
    let without_graph = apply1(Square, &constant)?;
    assert!(!without_graph.track_op());
    Ok(())
}

/// Candle's backward pass also has gradients of constants, which are activations for a product.
fn constants_of_candle_ops_receive_nothing() -> Result<()> {
    let [a, _] = variables()?;
    let constant = Tensor::new(&[1.0, 4.0, 3.0], &device())?;
    let at_the_start = || apply1(Square, &(a.as_tensor() * &constant)?);
    let in_between = || apply1(Square, &(apply1(Square, &a)? * &constant)?);
    let at_the_end = || apply1(Square, &a)? * &constant;
    let run = |forward: &dyn Fn() -> Result<Tensor>| -> Result<Vec<f64>> {
        let (_, (), gradients) = value_and_grad(|| Ok((forward()?, ())))?;
        assert_eq!(gradients.tensors().count(), 1);
        gradients.get(&a).expect("a gradient").to_vec1()
    };
    assert_eq!(run(&at_the_start)?, [2.0, -64.0, 54.0]);
    assert_eq!(run(&in_between)?, [4.0, -512.0, 972.0]);
    assert_eq!(run(&at_the_end)?, [2.0, -16.0, 18.0]);
    Ok(())
}

fn a_failed_forward_leaves_no_tape_behind() -> Result<()> {
    let [a, b] = variables()?;
    let failed = value_and_grad(|| {
        apply2(Product, &a, &b)?;
        let loss: Result<(Tensor, ())> = Err(candle_core::Error::Msg("stop".to_string()));
        loss
    });
    assert!(failed.is_err());
    assert_same_gradients(|a, b| apply2(Product, a, b))
}

fn values_beside_the_loss_are_handed_on() -> Result<()> {
    let [a, b] = variables()?;
    let (loss, extra, _) = value_and_grad(|| {
        let product = apply2(Product, &a, &b)?;
        Ok((apply1(Square, &product)?, product.detach()))
    })?;
    assert!(!loss.track_op());
    assert_eq!(loss.dtype(), DType::F64);
    assert_eq!(extra.to_vec1::<f64>()?, [0.5, -8.0, -3.0]);
    Ok(())
}
