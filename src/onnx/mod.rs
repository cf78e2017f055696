//! Networks as ONNX files.
//!
//! [`model`] converts the graph that [`trace`](crate::autograd::trace::trace) records into the message of an
//! ONNX file with opset 18, the first that has Mish; [`model_with`] writes others. Activations without
//! an operator become compositions. The batch axis is open; all other axes have the sizes of the trace. Constants keep
//! their names, so that the file shows the keys of the checkpoint.

mod activation;
mod builder;
mod export;
mod names;
mod operations;
mod options;
mod pooling;
pub mod proto;

pub use export::{model, model_with};
pub use names::{BATCH, INPUT, OUTPUT};
pub use options::{ExportOptions, OPSET, OPSETS};
