//! The tape: the ops of a forward pass in their order.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Tensor};
use tracing::Span;
use tracing::field::Empty;

use super::part::Part;

/// One application of an op, with the arguments of its `bwd`.
pub(super) enum Application {
    One(Arc<Box<dyn CustomOp1 + Send + Sync>>, Tensor),
    Two(Arc<Box<dyn CustomOp2 + Send + Sync>>, Tensor, Tensor),
    Three(
        Arc<Box<dyn CustomOp3 + Send + Sync>>,
        Tensor,
        Tensor,
        Tensor,
    ),
    /// A part of the network, whose ops are recorded in the backward pass.
    Part(Part),
}

pub(super) struct Record {
    pub application: Application,
    /// Multiply-adds for each value of the result.
    pub products: usize,
    pub result: Tensor,
}

impl Application {
    /// The arguments of the op, or the input of the part.
    pub fn arguments(&self) -> impl Iterator<Item = &Tensor> {
        let arguments = match self {
            Self::One(_, a) => [Some(a), None, None],
            Self::Two(_, a, b) => [Some(a), Some(b), None],
            Self::Three(_, a, b, c) => [Some(a), Some(b), Some(c)],
            Self::Part(part) => [Some(&part.input), None, None],
        };
        arguments.into_iter().flatten()
    }
}

impl Record {
    pub fn is_part(&self) -> bool {
        matches!(self.application, Application::Part(_))
    }
}

thread_local! {
    /// The records of the innermost [`recorded`] running on this thread.
    static TAPE: RefCell<Option<Vec<Record>>> = const { RefCell::new(None) };
}

/// Restores the outer tape, even if the closure fails or panics.
struct Scope {
    outer: Option<Vec<Record>>,
}

impl Scope {
    fn enter(tape: Option<Vec<Record>>) -> Self {
        let outer = TAPE.replace(tape);
        Self { outer }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        TAPE.replace(self.outer.take());
    }
}

/// Runs `body` and returns its result with the ops that it applied on this thread.
pub(super) fn recorded<T>(body: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Record>)> {
    let _scope = Scope::enter(Some(Vec::new()));
    let result = body()?;
    Ok((result, TAPE.replace(None).unwrap_or_default()))
}

/// Runs `body` without recording its ops.
pub(super) fn unrecorded<T>(body: impl FnOnce() -> T) -> T {
    let _scope = Scope::enter(None);
    body()
}

/// Whether ops on this thread are recorded.
pub(super) fn is_recording() -> bool {
    TAPE.with_borrow(Option::is_some)
}

pub(super) fn record(application: Application, products: usize, result: &Tensor) {
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
pub(super) fn span(name: &'static str, pass: &'static str) -> Span {
    tracing::trace_span!("op", op = name, pass, multiply_adds = Empty, bytes = Empty)
}

/// Records the bytes of the tensors that a pass reads and writes at least once. A view that repeats
/// values has each of them once.
pub(super) fn moved<'a>(span: &Span, tensors: impl IntoIterator<Item = &'a Tensor>) {
    if !span.is_disabled() {
        let bytes = |tensor: &Tensor| {
            let axes = tensor.dims().iter().zip(tensor.stride());
            let own = axes.filter(|(_, step)| **step > 0).map(|(len, _)| len);
            own.product::<usize>() * tensor.dtype().size_in_bytes()
        };
        let bytes: usize = tensors.into_iter().map(bytes).sum();
        span.record("bytes", bytes as u64);
    }
}

/// Records the multiply-adds of `passes` passes that each take `per_value` for each value of
/// `result`.
pub(super) fn count(span: &Span, per_value: usize, result: &Tensor, passes: usize) {
    if per_value > 0 && !span.is_disabled() {
        let products = result.elem_count() * per_value * passes;
        span.record("multiply_adds", products as u64);
    }
}

/// The number of tensors that receive a gradient.
pub(super) fn tracked(tensors: &[&Tensor]) -> usize {
    tensors.iter().filter(|tensor| tensor.track_op()).count()
}
