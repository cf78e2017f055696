//! Networks as ONNX files.
//!
//! [`model`] converts the graph that [`trace`](crate::autograd::trace::trace) records into the message of an
//! ONNX file with operator set 18, the first that has Mish. Activations without an operator become
//! compositions. The batch axis is open; all other axes have the sizes of the trace. Constants keep
//! their names, so that the file shows the keys of the checkpoint.

mod activation;
mod builder;
mod export;
mod names;
mod operations;
mod pooling;
pub mod proto;

pub use export::model;
pub use names::{BATCH, INPUT, OPSET, OUTPUT};
