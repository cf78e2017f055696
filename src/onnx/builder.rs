//! Writing nodes and constants with names that are unique.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Result, Tensor};

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_type, data_type};

/// A graph that grows. Values are known by their names.
#[derive(Default)]
pub(super) struct Builder {
    graph: GraphProto,
    /// The path that nodes are named after.
    scope: String,
    taken: HashSet<String>,
    /// How often a name has been asked for.
    count: HashMap<String, usize>,
}

/// A whole number as an attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        i: Some(value),
        r#type: attribute_type::INT,
        ..AttributeProto::default()
    }
}

/// Whole numbers as an attribute.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        ints: values.iter().map(|value| *value as i64).collect(),
        r#type: attribute_type::INTS,
        ..AttributeProto::default()
    }
}

/// A number as an attribute.
pub(super) fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        f: Some(value as f32),
        r#type: attribute_type::FLOAT,
        ..AttributeProto::default()
    }
}

/// Text as an attribute.
pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        s: Some(value.as_bytes().to_vec()),
        r#type: attribute_type::STRING,
        ..AttributeProto::default()
    }
}

impl Builder {
    /// Nodes from here on are named after the layer at `path`, in PyTorch's way.
    pub fn enter(&mut self, path: &str) {
        self.scope = match path {
            "" => String::new(),
            _ => format!("/{}", path.replace('.', "/")),
        };
    }

    /// Keeps a name for a value that no node makes.
    pub fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_string());
    }

    fn unique(&mut self, name: String) -> String {
        let mut candidate = name.clone();
        while !self.taken.insert(candidate.clone()) {
            let count = self.count.entry(name.clone()).or_insert(0);
            *count += 1;
            candidate = format!("{name}_{count}");
        }
        candidate
    }

    /// Adds a node and gives the name of its result.
    pub fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.unique(format!("{}/{op_type}", self.scope));
        let output = format!("{name}_output_0");
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_string()).collect(),
            output: vec![output.clone()],
            name,
            op_type: op_type.to_string(),
            attribute: attributes,
        });
        output
    }

    /// A node of one input without attributes.
    pub fn unary(&mut self, op_type: &str, x: &str) -> String {
        self.node(op_type, &[x], Vec::new())
    }

    /// A node of two inputs without attributes.
    pub fn binary(&mut self, op_type: &str, a: &str, b: &str) -> String {
        self.node(op_type, &[a, b], Vec::new())
    }

    /// A node of `x` and a number.
    pub fn with_number(&mut self, op_type: &str, x: &str, number: f64) -> String {
        let number = self.number(number);
        self.binary(op_type, x, &number)
    }

    /// A number as a constant; equal ones are shared.
    pub fn number(&mut self, value: f64) -> String {
        let value = value as f32;
        let name = format!("number_{value}");
        self.constant(name, data_type::FLOAT, &[], value.to_le_bytes().to_vec())
    }

    /// A whole number as a constant.
    pub fn index(&mut self, value: usize) -> String {
        let bytes = (value as i64).to_le_bytes().to_vec();
        self.constant(format!("index_{value}"), data_type::INT64, &[], bytes)
    }

    /// Whole numbers as a constant.
    pub fn indices(&mut self, values: &[i64]) -> String {
        let name: Vec<String> = values.iter().map(i64::to_string).collect();
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let name = format!("indices_{}", name.join("_"));
        self.constant(name, data_type::INT64, &[values.len()], bytes)
    }

    /// A matrix as a constant of its own, row by row.
    pub fn matrix(&mut self, name: &str, columns: usize, values: &[f32]) -> String {
        let name = self.unique(format!("{}/{name}", self.scope));
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let dims = [values.len() / columns.max(1), columns];
        self.push(name.clone(), data_type::FLOAT, &dims, bytes);
        name
    }

    /// A tensor as a constant under its own name, which nothing else has; f32 whatever its type.
    pub fn tensor(&mut self, name: &str, tensor: &Tensor) -> Result<String> {
        if self.taken.contains(name) {
            return Ok(name.to_string());
        }
        let values = tensor.detach().to_dtype(DType::F32)?.flatten_all()?;
        let values = values.to_vec1::<f32>()?;
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let dims = tensor.dims();
        Ok(self.constant(name.to_string(), data_type::FLOAT, dims, bytes))
    }

    /// A constant whose name says what it is, once.
    fn constant(&mut self, name: String, data_type: i32, dims: &[usize], bytes: Vec<u8>) -> String {
        if self.taken.insert(name.clone()) {
            self.push(name.clone(), data_type, dims, bytes);
        }
        name
    }

    fn push(&mut self, name: String, data_type: i32, dims: &[usize], bytes: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type,
            name,
            raw_data: bytes,
        });
    }

    /// The graph.
    pub fn finish(self) -> GraphProto {
        self.graph
    }
}
