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
//! the fields `op`, `pass` (`forward` or `backward`) and `multiply_adds`, for profilers. Without a
//! subscriber a span costs one atomic read.
//!
//! This module depends on no op. An op that multiplies matrices reports its own multiply-adds.

mod memory;
mod sum;
pub mod trace;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Storage, Tensor, TensorId};
use tracing::Span;
use tracing::field::Empty;

pub use memory::StepMemory;
use memory::{Applied, Held};
use sum::sum;
use trace::note_op;

/// One application of an op, with the arguments of its `bwd`.
enum Application {
    One(Arc<Box<dyn CustomOp1 + Send + Sync>>, Tensor),
    Two(Arc<Box<dyn CustomOp2 + Send + Sync>>, Tensor, Tensor),
    Three(
        Arc<Box<dyn CustomOp3 + Send + Sync>>,
        Tensor,
        Tensor,
        Tensor,
    ),
}

struct Record {
    application: Application,
    /// Multiply-adds for each value of the result.
    products: usize,
    result: Tensor,
}

thread_local! {
    /// The records of the innermost [`value_and_grad`] running on this thread.
    static TAPE: RefCell<Option<Vec<Record>>> = const { RefCell::new(None) };
}

fn record(application: Application, products: usize, result: &Tensor) {
    TAPE.with_borrow_mut(|tape| {
        if let Some(records) = tape {
            records.push(Record {
                application,
                products,
                result: result.clone(),
            });
        }
    });
}

/// The span of one pass of the op `name`.
fn span(name: &'static str, pass: &'static str) -> Span {
    tracing::trace_span!("op", op = name, pass, multiply_adds = Empty)
}

/// Records the multiply-adds of `passes` passes that each take `per_value` for each value of
/// `result`.
fn count(span: &Span, per_value: usize, result: &Tensor, passes: usize) {
    if per_value > 0 && !span.is_disabled() {
        let products = result.elem_count() * per_value * passes;
        span.record("multiply_adds", products as u64);
    }
}

/// The number of tensors that receive a gradient.
fn tracked(tensors: &[&Tensor]) -> usize {
    tensors.iter().filter(|tensor| tensor.track_op()).count()
}

/// Applies a unary op. It becomes part of a graph only if `x` does.
///
/// # Errors
/// The errors of the op.
pub fn apply1<C: CustomOp1 + Send + Sync + 'static>(op: C, x: &Tensor) -> Result<Tensor> {
    let _entered = span(op.name(), "forward").entered();
    if !x.track_op() {
        let result = x.apply_op1_no_bwd(&op)?;
        note_op(op.name(), &result);
        return Ok(result);
    }
    let op: Arc<Box<dyn CustomOp1 + Send + Sync>> = Arc::new(Box::new(op));
    let result = x.apply_op1_arc(op.clone())?;
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
        note_op(op.name(), &result);
        return Ok(result);
    }
    let op: Arc<Box<dyn CustomOp2 + Send + Sync>> = Arc::new(Box::new(op));
    let result = a.apply_op2_arc(b, op.clone())?;
    count(&span, products, &result, 1);
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
        note_op(op.name(), &result);
        return Ok(result);
    }
    let op: Arc<Box<dyn CustomOp3 + Send + Sync>> = Arc::new(Box::new(op));
    let result = a.apply_op3_arc(b, c, op.clone())?;
    count(&span, products, &result, 1);
    note_op(op.name(), &result);
    let application = Application::Three(op, a.clone(), b.clone(), c.clone());
    record(application, products, &result);
    Ok(result)
}

/// Gradients by tensor.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// The gradient of `tensor`, in its shape, if it has received one.
    pub fn get(&self, tensor: &Tensor) -> Option<&Tensor> {
        self.0.get(&tensor.id())
    }

    /// All gradients, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.0.values()
    }

    /// Removes and returns the gradient of `tensor`.
    pub fn remove(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.0.remove(&tensor.id())
    }

    /// Sets the gradient of `tensor`.
    pub fn insert(&mut self, tensor: &Tensor, gradient: Tensor) {
        self.0.insert(tensor.id(), gradient);
    }

    /// Adds the gradients of `other`. A tensor without a gradient takes over that of `other`.
    ///
    /// # Errors
    /// Two gradients of one tensor differ in shape or dtype.
    pub fn add(&mut self, other: Self) -> Result<()> {
        let mut added = other.0.into_iter();
        added.try_for_each(|(id, gradient)| self.accumulate(id, gradient))
    }

    /// Multiplies all gradients by `factor`.
    ///
    /// # Errors
    /// If the multiplication fails.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in self.0.values_mut() {
            *gradient = (&*gradient * factor)?.detach();
        }
        Ok(())
    }

    fn accumulate(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let total = match self.0.remove(&id) {
            None => gradient,
            Some(other) => {
                let _entered = span("gradient sum", "backward").entered();
                sum(&other, &gradient)?
            }
        };
        self.0.insert(id, total);
        Ok(())
    }
}

impl From<candle_core::backprop::GradStore> for Gradients {
    fn from(store: candle_core::backprop::GradStore) -> Self {
        let gradient = |id: &TensorId| Some((*id, store.get_id(*id)?.detach()));
        Self(store.get_ids().filter_map(gradient).collect())
    }
}

/// Restores the outer tape, even if the closure fails or panics.
struct Scope {
    outer: Option<Vec<Record>>,
}

impl Scope {
    fn enter() -> Self {
        let outer = TAPE.replace(Some(Vec::new()));
        Self { outer }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        TAPE.replace(self.outer.take());
    }
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
    let scope = Scope::enter();
    let (loss, extra) = forward()?;
    let records = TAPE.replace(None).unwrap_or_default();
    let value = loss.detach();
    // Only the records keep activations alive now. Each record is dropped after its use, so memory
    // falls during the backward pass.
    let gradients = backward(loss, records)?;
    drop(scope);
    Ok((value, extra, gradients))
}

/// Runs `forward` on a batch of `batch` images and returns what a step with its backward pass keeps
/// in memory. Results of Candle's ops count if an op of this crate takes them.
///
/// # Errors
/// The errors of `forward`.
pub fn step_memory(batch: usize, forward: impl FnOnce() -> Result<Tensor>) -> Result<StepMemory> {
    let scope = Scope::enter();
    let _loss = forward()?;
    let records = TAPE.replace(None).unwrap_or_default();
    drop(scope);
    // Tensors of a gradient are numbered: candle's ids cannot be read.
    let mut numbers = HashMap::new();
    let mut held = |tensor: &Tensor| {
        let next = numbers.len();
        let number = || *numbers.entry(tensor.id()).or_insert(next);
        let (storage, layout) = tensor.storage_and_layout();
        let size = tensor.dtype().size_in_bytes();
        let gradient = layout.shape().elem_count() * size;
        Held {
            storage: std::ptr::from_ref::<Storage>(&storage) as usize,
            stored: stored_bytes(&storage).unwrap_or(gradient),
            gradient,
            tracked: tensor.track_op().then(number),
            variable: tensor.is_variable(),
        }
    };
    let applied = records.iter().map(|record| Applied {
        inputs: match &record.application {
            Application::One(_, a) => vec![held(a)],
            Application::Two(_, a, b) => vec![held(a), held(b)],
            Application::Three(_, a, b, c) => vec![held(a), held(b), held(c)],
        },
        result: held(&record.result),
    });
    Ok(StepMemory::new(applied.collect(), batch))
}

/// The bytes of a tensor's values, which may be more than its elements. `None` on a GPU, whose
/// values are not counted.
fn stored_bytes(storage: &Storage) -> Option<usize> {
    use candle_core::CpuStorage as Cpu;
    let Storage::Cpu(values) = storage else {
        return None;
    };
    let count = match values {
        Cpu::F32(values) => values.len(),
        Cpu::F64(values) => values.len(),
        Cpu::F16(values) => values.len(),
        Cpu::BF16(values) => values.len(),
        Cpu::U8(values) => values.len(),
        Cpu::U32(values) => values.len(),
        Cpu::I64(values) => values.len(),
        _ => return None,
    };
    Some(count * storage.dtype().size_in_bytes())
}

fn backward(loss: Tensor, mut records: Vec<Record>) -> Result<Gradients> {
    let recorded: HashSet<TensorId> = records.iter().map(|r| r.result.id()).collect();
    if !recorded.contains(&loss.id()) {
        // The last op is Candle's, so its backward sees the whole graph.
        drop(records);
        return Ok(loss.backward()?.into());
    }
    let mut gradients = Gradients::default();
    gradients.insert(&loss, loss.ones_like()?.detach());
    drop(loss);
    let mut foreign: Vec<(Tensor, Tensor)> = Vec::new();
    while let Some(Record {
        application,
        products,
        result,
    }) = records.pop()
    {
        let Some(gradient) = gradients.remove(&result) else {
            continue;
        };
        let mut pass_on = |argument: Tensor, gradient: Option<Tensor>| -> Result<()> {
            match gradient {
                Some(gradient) if argument.track_op() => {
                    let gradient = gradient.detach();
                    if argument.is_variable() || recorded.contains(&argument.id()) {
                        gradients.accumulate(argument.id(), gradient)
                    } else {
                        foreign.push((argument, gradient));
                        Ok(())
                    }
                }
                _ => Ok(()),
            }
        };
        match application {
            Application::One(op, a) => {
                let span = span(op.name(), "backward").entered();
                let ga = op.bwd(&a, &result, &gradient)?;
                span.exit();
                drop((result, gradient));
                pass_on(a, ga)?;
            }
            Application::Two(op, a, b) => {
                let span = span(op.name(), "backward").entered();
                let (ga, gb) = op.bwd(&a, &b, &result, &gradient)?;
                count(&span, products, &result, tracked(&[&a, &b]));
                span.exit();
                drop((result, gradient));
                pass_on(a, ga)?;
                pass_on(b, gb)?;
            }
            Application::Three(op, a, b, c) => {
                let span = span(op.name(), "backward").entered();
                let (ga, gb, gc) = op.bwd(&a, &b, &c, &result, &gradient)?;
                count(&span, products, &result, tracked(&[&a, &b]));
                span.exit();
                drop((result, gradient));
                pass_on(a, ga)?;
                pass_on(b, gb)?;
                pass_on(c, gc)?;
            }
        }
    }
    // The gradient of sum(t * g) with a constant g is g pulled back from t. So one backward of
    // Candle over the sum of these terms continues from all tensors that its ops made.
    let seed = foreign
        .into_iter()
        .map(|(tensor, gradient)| (tensor * gradient)?.sum_all())
        .reduce(|a, b| a? + b?);
    if let Some(seed) = seed {
        for (id, gradient) in Gradients::from(seed?.backward()?).0 {
            gradients.accumulate(id, gradient)?;
        }
    }
    Ok(gradients)
}
