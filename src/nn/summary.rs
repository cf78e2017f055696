//! A list of a network's layers, recorded while the network runs.

use std::cell::RefCell;

use candle_core::{Result, Tensor};

use super::watch::{searches, show};
use crate::autograd::is_recomputing;
use crate::autograd::trace::{is_tracing, note_layer};

/// One application of a layer that has parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// The path of the layer in the checkpoint.
    pub path: String,
    /// The type of the layer, by PyTorch's name.
    pub kind: &'static str,
    /// The dimensions of the output, batch first.
    pub output: Vec<usize>,
    /// The number of trained values.
    pub params: usize,
    /// The number of multiply-adds for the whole batch. As in torchvision, only convolutions and
    /// linear layers count, without biases.
    pub multiply_adds: u64,
}

thread_local! {
    static RECORDS: RefCell<Option<Vec<LayerRecord>>> = const { RefCell::new(None) };
}

/// Runs `body` and returns its result with the layers that it applied on this thread, in order.
///
/// # Errors
/// The errors of `body`.
pub fn summarize<T>(body: impl FnOnce() -> Result<T>) -> Result<(T, Vec<LayerRecord>)> {
    let outer = RECORDS.replace(Some(Vec::new()));
    let result = body();
    let records = RECORDS.replace(outer).unwrap_or_default();
    Ok((result?, records))
}

/// Whether this thread runs inside [`summarize`], [`first_layer`](super::first_layer) or a trace, which
/// need the output of every layer.
pub(super) fn records() -> bool {
    RECORDS.with_borrow(Option::is_some) || searches() || is_tracing()
}

/// Records an application of a layer if this thread runs inside [`summarize`],
/// [`first_layer`](super::first_layer) or a trace.
///
/// Layers outside [`crate::nn`] may call it too. `multiply_adds` counts the whole batch.
pub fn record(
    path: &str,
    kind: &'static str,
    output: &Tensor,
    params: &[&Tensor],
    multiply_adds: usize,
) {
    if is_recomputing() {
        // Recorded in the first forward pass.
        return;
    }
    note_layer(path, output);
    show(path, kind, output);
    RECORDS.with_borrow_mut(|records| {
        if let Some(records) = records {
            records.push(LayerRecord {
                path: path.to_string(),
                kind,
                output: output.dims().to_vec(),
                params: params.iter().map(|p| p.elem_count()).sum(),
                multiply_adds: multiply_adds as u64,
            });
        }
    });
}
