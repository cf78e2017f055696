//! The message of an ONNX file.

use candle_core::{Result, bail};

use super::builder::Builder;
use super::names::{BATCH, INPUT, OUTPUT};
use super::operations::Exporter;
use super::options::ExportOptions;
use super::proto::{
    DimensionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, data_type,
};
use crate::autograd::trace::{Graph, Value};

/// The limit of protobuf: readers refuse a longer message.
const LARGEST: usize = i32::MAX as usize;

/// Converts `graph` to a network called `name`, with `metadata` as key-value pairs and the default
/// [`ExportOptions`].
///
/// # Errors
/// If an operation mixes the images of a batch, so that the batch axis cannot be open, if no
/// operator takes the shapes of an operation, or if the file would reach 2 GiB.
pub fn model(graph: &Graph, name: &str, metadata: &[(String, String)]) -> Result<ModelProto> {
    model_with(graph, name, metadata, &ExportOptions::default())
}

/// As [`model`], with the operators that `options` allow.
///
/// # Errors
/// As [`model`], or if the opset is not in [`OPSETS`](super::OPSETS).
pub fn model_with(
    graph: &Graph,
    name: &str,
    metadata: &[(String, String)],
    options: &ExportOptions,
) -> Result<ModelProto> {
    options.check()?;
    let mut builder = Builder::new(*options);
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
        ir_version: options.ir_version(),
        producer_name: "candle-mish".to_string(),
        producer_version: env!("CARGO_PKG_VERSION").to_string(),
        doc_string: String::new(),
        graph: Some(proto),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: options.opset,
        }],
        metadata_props: metadata.iter().map(entry).collect(),
    })
}

/// The description of an f32 tensor with an open first axis.
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
