//! Building a graph of nodes and constants with unique names.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Result, Tensor};

use super::options::ExportOptions;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_type, data_type};

/// A graph under construction. Values are identified by name.
pub(super) struct Builder {
    options: ExportOptions,
    graph: GraphProto,
    /// The prefix of the names of nodes.
    scope: String,
    taken: HashSet<String>,
    /// The number of requests for each name.
    count: HashMap<String, usize>,
}

/// An integer attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        i: Some(value),
        r#type: attribute_type::INT,
        ..AttributeProto::default()
    }
}

/// An attribute of integers.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        ints: values.to_vec(),
        r#type: attribute_type::INTS,
        ..AttributeProto::default()
    }
}

/// An attribute of sizes or axes.
pub(super) fn sizes(name: &str, values: &[usize]) -> AttributeProto {
    let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
    ints(name, &values)
}

/// A float attribute.
pub(super) fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto {
        name: name.to_string(),
        f: Some(value as f32),
        r#type: attribute_type::FLOAT,
        ..AttributeProto::default()
    }
}

impl Builder {
    /// An empty graph.
    pub fn new(options: ExportOptions) -> Self {
        Self {
            options,
            graph: GraphProto::default(),
            scope: String::new(),
            taken: HashSet::new(),
            count: HashMap::new(),
        }
    }

    /// Whether the graph may use `operator`. Otherwise, it must be decomposed.
    pub fn has(&self, operator: &str) -> bool {
        self.options.has(operator)
    }

    /// Names the following nodes after the layer at `path`, as PyTorch does.
    pub fn enter(&mut self, path: &str) {
        self.scope = match path {
            "" => String::new(),
            _ => format!("/{}", path.replace('.', "/")),
        };
    }

    /// Reserves the name of a value that no node produces.
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

    /// Adds a node and returns the name of its result.
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

    /// Adds a node with one input and no attributes.
    pub fn unary(&mut self, op_type: &str, x: &str) -> String {
        self.node(op_type, &[x], Vec::new())
    }

    /// Adds a node with two inputs and no attributes.
    pub fn binary(&mut self, op_type: &str, a: &str, b: &str) -> String {
        self.node(op_type, &[a, b], Vec::new())
    }

    /// Adds a reduction over one axis.
    pub fn reduce(&mut self, op_type: &str, x: &str, axis: i64, keep: bool) -> String {
        let keep = int("keepdims", i64::from(keep));
        if self.options.takes_axes_as_input(op_type) {
            let axes = self.indices(&[axis]);
            return self.node(op_type, &[x, &axes], vec![keep]);
        }
        self.node(op_type, &[x], vec![ints("axes", &[axis]), keep])
    }

    /// Adds a node with `x` and a scalar constant as inputs.
    pub fn with_number(&mut self, op_type: &str, x: &str, number: f64) -> String {
        let number = self.number(number);
        self.binary(op_type, x, &number)
    }

    /// A scalar constant. Equal values share one constant.
    pub fn number(&mut self, value: f64) -> String {
        let value = value as f32;
        let name = format!("number_{value}");
        self.constant(name, data_type::FLOAT, &[], value.to_le_bytes().to_vec())
    }

    /// An integer constant.
    pub fn index(&mut self, value: usize) -> String {
        let bytes = (value as i64).to_le_bytes().to_vec();
        self.constant(format!("index_{value}"), data_type::INT64, &[], bytes)
    }

    /// A constant of integers.
    pub fn indices(&mut self, values: &[i64]) -> String {
        let name: Vec<String> = values.iter().map(i64::to_string).collect();
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let name = format!("indices_{}", name.join("_"));
        self.constant(name, data_type::INT64, &[values.len()], bytes)
    }

    /// A matrix constant, row by row, that is never shared.
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

    /// A tensor constant under its unique name, converted to f32.
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

    /// Gives the constant `name` another shape with as many elements. Returns whether there is such a
    /// constant.
    pub fn reshape_constant(&mut self, name: &str, dims: &[usize]) -> bool {
        let mut constants = self.graph.initializer.iter_mut();
        let Some(constant) = constants.find(|tensor| tensor.name == name) else {
            return false;
        };
        constant.dims = dims.iter().map(|dim| *dim as i64).collect();
        true
    }

    /// Adds a constant unless one of this name exists.
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

    /// Returns the graph.
    pub fn finish(self) -> GraphProto {
        self.graph
    }
}
