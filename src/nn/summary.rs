//! What a network's layers are, recorded while it runs.

use std::cell::RefCell;

use candle_core::{Result, Tensor};

use crate::autograd::trace::note_layer;

/// One application of a layer that has parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Its path in the checkpoint.
    pub path: String,
    /// Its type, as PyTorch calls it.
    pub kind: &'static str,
    /// The dimensions of its output, batch first.
    pub output: Vec<usize>,
    /// Its trained values.
    pub params: usize,
    /// The multiply-adds that it took: those of convolutions and linear layers, without biases,
    /// as torchvision counts them.
    pub multiply_adds: u64,
}

thread_local! {
    static RECORDS: RefCell<Option<Vec<LayerRecord>>> = const { RefCell::new(None) };
}

/// Runs `body` and returns the layers that it applied on this thread, in order.
///
/// # Errors
/// Those of `body`.
pub fn summarize<T>(body: impl FnOnce() -> Result<T>) -> Result<(T, Vec<LayerRecord>)> {
    let outer = RECORDS.replace(Some(Vec::new()));
    let result = body();
    let records = RECORDS.replace(outer).unwrap_or_default();
    Ok((result?, records))
}

/// Notes an application of a layer if somebody records or traces.
///
/// A layer that is not in [`crate::nn`] may call it as well; `multiply_adds` are those of the
/// whole batch.
pub fn record(
    path: &str,
    kind: &'static str,
    output: &Tensor,
    params: &[&Tensor],
    multiply_adds: usize,
) {
    note_layer(path, output);
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
