//! Reverse-mode differentiation over a tape of custom ops.
//!
//! Candle's [`Tensor::backward`] allocates a tensor of zeros for every node and adds each incoming
//! gradient to it. It also keeps every activation alive until the loss is dropped. For a
//! convolutional network that is about four extra passes over each activation. The tape moves a
//! gradient if it is the only one, and frees each activation after its use.
//!
//! [`apply1`], [`apply2`] and [`apply3`] apply every op of this crate. They build Candle's graph as
//! usual, so `loss.backward()` works on any mixture of ops. Inside [`value_and_grad`] they also
//! record the op on a tape. Both ways call the same `bwd` of the same op and give the same
//! gradients.
//!
//! Candle's ops may occur between recorded ones. If such an op made the input of a recorded op, the
//! tape passes the gradient to Candle's backward. That is correct, but everything before that op is
//! then as slow as Candle's backward.
//!
//! Every application and every `bwd` of the tape runs in a `tracing` span `op` of level TRACE with
//! the fields `op`, `pass` (`forward` or `backward`), `multiply_adds` and `bytes`, for profilers. The bytes
//! cover the tensors that the pass reads and writes, each counted once. Without a subscriber a
//! span costs one atomic read.
//!
//! This module depends on no op. An op that multiplies matrices reports its own multiply-adds.

mod backward;
mod foreign;
mod gradients;
mod inventory;
mod memory;
mod part;
mod recompute;
mod sum;
mod tape;
pub mod trace;

use std::sync::Arc;

use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Tensor};

pub use backward::Ready;
use backward::backward;
pub use gradients::Gradients;
pub use inventory::step_memory;
pub use memory::StepMemory;
pub use part::{Forward, is_recomputing};
pub use recompute::recompute;
use tape::{Application, Record, count, moved, record, recorded, span, unrecorded};
use trace::note_op;

/// Applies a unary op. It becomes part of a graph only if `x` does.
///
/// # Errors
/// The errors of the op.
pub fn apply1<C: CustomOp1 + Send + Sync + 'static>(op: C, x: &Tensor) -> Result<Tensor> {
    let span = span(op.name(), "forward").entered();
    if !x.track_op() {
        let result = x.apply_op1_no_bwd(&op)?;
        moved(&span, [x, &result]);
        note_op(op.name(), &result);
        return Ok(result);
    }
    let op: Arc<Box<dyn CustomOp1 + Send + Sync>> = Arc::new(Box::new(op));
    let result = x.apply_op1_arc(op.clone())?;
    moved(&span, [x, &result]);
    note_op(op.name(), &result);
    record(Application::One(op, x.clone()), 0, &result);
    Ok(result)
}

/// Applies a binary op. It becomes part of a graph only if an argument does.
///
/// # Errors
/// The errors of the op.
pub fn apply2<C: CustomOp2 + Send + Sync + 'static>(
    op: C,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor> {
    apply2_counted(op, a, b, 0)
}

/// [`apply2`] of an op that takes `products` multiply-adds for each value of its result. Each of
/// the two gradients takes as many multiply-adds as the whole result.
pub(crate) fn apply2_counted<C: CustomOp2 + Send + Sync + 'static>(
    op: C,
    a: &Tensor,
    b: &Tensor,
    products: usize,
) -> Result<Tensor> {
    let span = span(op.name(), "forward").entered();
    if !a.track_op() && !b.track_op() {
        let result = a.apply_op2_no_bwd(b, &op)?;
        count(&span, products, &result, 1);
        moved(&span, [a, b, &result]);
        note_op(op.name(), &result);
        return Ok(result);
    }
    let op: Arc<Box<dyn CustomOp2 + Send + Sync>> = Arc::new(Box::new(op));
    let result = a.apply_op2_arc(b, op.clone())?;
    count(&span, products, &result, 1);
    moved(&span, [a, b, &result]);
    note_op(op.name(), &result);
    let application = Application::Two(op, a.clone(), b.clone());
    record(application, products, &result);
    Ok(result)
}

/// Applies a ternary op. It becomes part of a graph only if an argument does.
///
/// # Errors
/// The errors of the op.
pub fn apply3<C: CustomOp3 + Send + Sync + 'static>(
    op: C,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
) -> Result<Tensor> {
    apply3_counted(op, a, b, c, 0)
}

/// [`apply3`] of an op whose multiply-adds are counted as in [`apply2_counted`]. The gradient of
/// `c` takes none.
pub(crate) fn apply3_counted<C: CustomOp3 + Send + Sync + 'static>(
    op: C,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    products: usize,
) -> Result<Tensor> {
    let span = span(op.name(), "forward").entered();
    if !a.track_op() && !b.track_op() && !c.track_op() {
        let result = a.apply_op3_no_bwd(b, c, &op)?;
        count(&span, products, &result, 1);
        moved(&span, [a, b, c, &result]);
        note_op(op.name(), &result);
        return Ok(result);
    }
    let op: Arc<Box<dyn CustomOp3 + Send + Sync>> = Arc::new(Box::new(op));
    let result = a.apply_op3_arc(b, c, op.clone())?;
    count(&span, products, &result, 1);
    moved(&span, [a, b, c, &result]);
    note_op(op.name(), &result);
    let application = Application::Three(op, a.clone(), b.clone(), c.clone());
    record(application, products, &result);
    Ok(result)
}

/// Runs `forward` and returns the loss, detached, with the gradients of all variables that it
/// depends on. `forward` may return more values than the loss.
///
/// A loss that is not a scalar is summed over its elements, as by [`Tensor::backward`].
///
/// # Errors
/// The errors of `forward` and of the backward pass of each op.
pub fn value_and_grad<T>(
    forward: impl FnOnce() -> Result<(Tensor, T)>,
) -> Result<(Tensor, T, Gradients)> {
    let ((loss, extra), records) = recorded(forward)?;
    differentiate(loss, extra, records, None)
}

/// As [`value_and_grad`]. Calls `ready` with a variable and its gradient as soon as the gradient is
/// complete, while the backward pass continues with earlier ops.
///
/// Variables whose gradients are complete only at the end are not reported: all of them if an op of
/// Candle stands before a recorded op, or if a part of the network runs again.
///
/// # Errors
/// As [`value_and_grad`], or the error of `ready`.
pub fn value_and_grad_reporting<T>(
    forward: impl FnOnce() -> Result<(Tensor, T)>,
    ready: Ready<'_>,
) -> Result<(Tensor, T, Gradients)> {
    let ((loss, extra), records) = recorded(forward)?;
    differentiate(loss, extra, records, Some(ready))
}

fn differentiate<T>(
    loss: Tensor,
    extra: T,
    records: Vec<Record>,
    ready: Option<Ready<'_>>,
) -> Result<(Tensor, T, Gradients)> {
    let value = loss.detach();
    // Only the records keep activations alive now. Each record is dropped after its use, so memory
    // falls during the backward pass.
    let gradients = unrecorded(|| backward(loss, records, ready))?;
    Ok((value, extra, gradients))
}
