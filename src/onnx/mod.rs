//! Networks as ONNX files.
//!
//! [`model`] turns the graph that [`trace`](crate::autograd::trace::trace) records into a file's message:
//! operator set 18, which has Mish as an operator of its own; activations without an operator are
//! compositions. The batch axis is open, all others have the sizes that were traced. Constants keep
//! their names, so that the file shows a checkpoint's keys.

mod activation;
mod builder;
mod operations;
mod pooling;
pub mod proto;

use candle_core::{Result, bail};

use crate::autograd::trace::{Graph, Value};
use builder::Builder;
use operations::Exporter;
use proto::{
    DimensionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, data_type,
};

/// The version of ONNX's operators: the first with Mish.
pub const OPSET: i64 = 18;
/// The name of the network's input, `[batch, C, H, W]`.
pub const INPUT: &str = "input";
/// The name of its output, `[batch, classes]`.
pub const OUTPUT: &str = "logits";
/// The name of the open first axis of both.
pub const BATCH: &str = "batch";

/// A message may not be longer: readers refuse it.
const LARGEST: usize = i32::MAX as usize;

/// The file of the network that `graph` is of, called `name`, with free text about it.
///
/// # Errors
/// If the graph mixes images of a batch, so that the batch axis cannot be open, has an operation on
/// shapes that no operator takes, or is too large for the format.
pub fn model(graph: &Graph, name: &str, metadata: &[(String, String)]) -> Result<ModelProto> {
    let mut builder = Builder::default();
    builder.reserve(INPUT);
    builder.reserve(OUTPUT);
    let mut exporter = Exporter::new(graph, builder);
    for index in 0..graph.nodes.len() {
        exporter.emit(index)?;
    }
    let shape = graph.shape(graph.output).to_vec();
    if !exporter.depends(graph.output) || matches!(graph.output, Value::Input) {
        bail!("the result of {name} does not depend on its input through any operation");
    }
    let mut proto = exporter.finish()?;
    proto.name = name.to_string();
    proto.input = vec![value_info(INPUT, &graph.input)];
    proto.output = vec![value_info(OUTPUT, &shape)];
    let bytes: usize = proto.initializer.iter().map(|t| t.raw_data.len()).sum();
    if bytes > LARGEST {
        bail!("{name} has {bytes} bytes of constants: an ONNX file holds less than 2 GiB");
    }
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: key.clone(),
        value: value.clone(),
    };
    Ok(ModelProto {
        ir_version: proto::IR_VERSION,
        producer_name: "candle-mish".to_string(),
        producer_version: env!("CARGO_PKG_VERSION").to_string(),
        doc_string: String::new(),
        graph: Some(proto),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: metadata.iter().map(entry).collect(),
    })
}

/// A tensor of f32 whose first axis is open.
fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let dim = |(axis, size): (usize, &usize)| match axis {
        0 => DimensionProto {
            dim_value: None,
            dim_param: Some(BATCH.to_string()),
        },
        _ => DimensionProto {
            dim_value: Some(*size as i64),
            dim_param: None,
        },
    };
    let shape = TensorShapeProto {
        dim: shape.iter().enumerate().map(dim).collect(),
    };
    ValueInfoProto {
        name: name.to_string(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: data_type::FLOAT,
                shape: Some(shape),
            }),
        }),
    }
}
