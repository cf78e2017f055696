//! The operations of a graph as ONNX operators.

use std::collections::{HashMap, HashSet};

use candle_core::{Result, bail};

use super::activation::{activation, srelu};
use super::builder::{Builder, float, int, sizes};
use super::names::{INPUT, OUTPUT};
use super::pooling;
use super::proto::GraphProto;
use crate::autograd::trace::{Graph, Node, Operation, Value};
use crate::ops::{Conv2dParams, Pool2dParams};

/// Converts the nodes of a graph in order.
pub(super) struct Exporter<'a> {
    graph: &'a Graph,
    b: Builder,
    names: HashMap<Value, String>,
    /// Whether each converted node depends on the input of the network.
    dependent: Vec<bool>,
}

impl<'a> Exporter<'a> {
    pub fn new(graph: &'a Graph, b: Builder) -> Self {
        Self {
            graph,
            b,
            names: HashMap::from([(Value::Input, INPUT.to_string())]),
            dependent: Vec::with_capacity(graph.nodes.len()),
        }
    }

    /// Whether a value depends on the input of the network. Its first axis is then the batch.
    pub fn depends(&self, value: Value) -> bool {
        match value {
            Value::Input => true,
            Value::Constant(_) => false,
            Value::Node(index) => self.dependent[index],
        }
    }

    /// Returns the graph with the result named [`OUTPUT`].
    pub fn finish(mut self) -> Result<GraphProto> {
        let result = self.name(self.graph.output)?;
        let mut proto = self.b.finish();
        prune(&mut proto, &result);
        for node in &mut proto.node {
            for name in node.input.iter_mut().chain(&mut node.output) {
                if *name == result {
                    *name = OUTPUT.to_string();
                }
            }
        }
        Ok(proto)
    }

    /// The name of a value. Adds a constant at its first use.
    fn name(&mut self, value: Value) -> Result<String> {
        if let Some(name) = self.names.get(&value) {
            return Ok(name.clone());
        }
        let Value::Constant(index) = value else {
            bail!("a node precedes its input");
        };
        let (name, tensor) = &self.graph.constants[index];
        let name = self.b.tensor(name, tensor)?;
        self.names.insert(value, name.clone());
        Ok(name)
    }

    /// Converts the node at `index`.
    pub fn emit(&mut self, index: usize) -> Result<()> {
        let graph = self.graph;
        let node = &graph.nodes[index];
        self.b.enter(node.paths.first().map_or("", String::as_str));
        let depends = node.inputs.iter().any(|input| self.depends(*input));
        if depends && !keeps_batch(graph, node) {
            let at = node.paths.first().map_or("", String::as_str);
            bail!(
                "{:?} {at} mixes the images of a batch: it cannot be exported for any batch size",
                node.operation
            );
        }
        let inputs = node.inputs.iter().map(|input| self.name(*input));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let name = self.operation(node, &inputs, depends)?;
        self.names.insert(Value::Node(index), name);
        self.dependent.push(depends);
        Ok(())
    }

    fn operation(&mut self, node: &Node, inputs: &[&str], depends: bool) -> Result<String> {
        let graph = self.graph;
        let shape = |i: usize| graph.shape(node.inputs[i]);
        let x = inputs.first().copied().unwrap_or_default();
        let b = &mut self.b;
        Ok(match &node.operation {
            &Operation::Conv2d {
                stride,
                padding,
                dilation,
                groups,
            } => {
                let params = Conv2dParams {
                    stride,
                    padding,
                    dilation,
                    groups,
                };
                conv(b, inputs, shape(1), &params)
            }
            Operation::Linear => linear(b, inputs, shape(0).len()),
            Operation::BatchNormAct { eps, activation } => {
                let rows = self.rows(node.inputs[1], 2)?;
                let b = &mut self.b;
                let norm = [x, &rows[0], &rows[1], inputs[2], inputs[3]];
                let norm_attributes = vec![float("epsilon", *eps)];
                let mut y = b.node("BatchNormalization", &norm, norm_attributes);
                if let Some(residual) = inputs.get(4) {
                    y = b.binary("Add", &y, residual);
                }
                b.enter(node.paths.last().map_or("", String::as_str));
                super::activation::activation(b, activation, &y)
            }
            Operation::Activation(function) => activation(b, function, x),
            Operation::PRelu => {
                let slope = per_channel(b, inputs[1], shape(1), shape(0).len());
                b.binary("PRelu", x, &slope)
            }
            Operation::SRelu => {
                let (rank, row) = (shape(0).len(), &shape(1)[1..]);
                let rows = self.rows(node.inputs[1], 4)?;
                let b = &mut self.b;
                let mut rows = rows.iter().map(|name| per_channel(b, name, row, rank));
                let rows: [String; 4] = std::array::from_fn(|_| rows.next().unwrap_or_default());
                srelu(&mut self.b, x, &rows.each_ref().map(String::as_str))
            }
            Operation::AddScaled { scale } if *scale == 1.0 => b.binary("Add", x, inputs[1]),
            Operation::AddScaled { scale } => {
                let y = b.with_number("Mul", inputs[1], *scale);
                b.binary("Add", x, &y)
            }
            Operation::Scale { factor } => b.with_number("Mul", x, *factor),
            Operation::Cat { dim } => b.node("Concat", inputs, vec![int("axis", *dim as i64)]),
            Operation::Stack => {
                let axis = b.indices(&[0]);
                let parts = inputs.iter().map(|part| b.binary("Unsqueeze", part, &axis));
                let parts: Vec<String> = parts.collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                b.node("Concat", &parts, vec![int("axis", 0)])
            }
            Operation::Narrow { dim, start, len } => {
                let start = *start as i64;
                let bounds = [[start], [start + *len as i64], [*dim as i64]];
                let [start, end, axis] = bounds.map(|bound| b.indices(&bound));
                b.node("Slice", &[x, &start, &end, &axis], Vec::new())
            }
            &Operation::Pad { dim, before, after } => {
                let rank = shape(0).len();
                let mut pads = vec![0; 2 * rank];
                (pads[dim], pads[rank + dim]) = (before as i64, after as i64);
                let pads = b.indices(&pads);
                b.binary("Pad", x, &pads)
            }
            Operation::Reshape => reshape(b, x, &node.shape, depends),
            Operation::Permute { axes } => b.node("Transpose", &[x], vec![sizes("perm", axes)]),
            Operation::ScaleChannels => {
                let factors = match shape(1).len() {
                    2 => {
                        let axes = b.indices(&[2, 3]);
                        b.binary("Unsqueeze", inputs[1], &axes)
                    }
                    _ => inputs[1].to_string(),
                };
                b.binary("Mul", x, &factors)
            }
            Operation::ChannelShuffle { groups } => {
                let (channels, plane) = (shape(0)[1], shape(0)[2..].iter().product());
                let apart = [shape(0)[0], *groups, channels / groups, plane];
                let y = reshape(b, x, &apart, depends);
                let y = b.node("Transpose", &[&y], vec![sizes("perm", &[0, 2, 1, 3])]);
                reshape(b, &y, &node.shape, depends)
            }
            &Operation::MaxPool2d {
                kernel,
                stride,
                padding,
                dilation,
                ceil_mode,
            } => {
                let params = Pool2dParams {
                    kernel,
                    stride,
                    padding,
                    dilation,
                    ceil_mode,
                };
                pooling::max_pool(b, x, plane(shape(0))?, &params)?
            }
            &Operation::AvgPool2d {
                kernel,
                stride,
                padding,
                ceil_mode,
                count_include_pad,
            } => {
                let params = Pool2dParams {
                    kernel,
                    stride,
                    padding,
                    dilation: (1, 1),
                    ceil_mode,
                };
                pooling::average_pool(b, x, plane(shape(0))?, &params, count_include_pad)?
            }
            Operation::AdaptiveAvgPool2d { size } => {
                pooling::adaptive_average_pool(b, x, plane(shape(0))?, *size)
            }
            Operation::GlobalAvgPool2d => {
                plane(shape(0))?;
                let y = b.unary("GlobalAveragePool", x);
                b.node("Flatten", &[&y], vec![int("axis", 1)])
            }
            Operation::Squash => squash(b, x),
            Operation::Length => b.reduce("ReduceL2", x, -1, false),
            Operation::DynamicRouting { iterations } => {
                routing(b, x, shape(1), *iterations, inputs[1])
            }
        })
    }

    /// The rows of a stacked value: the stacked values if known, otherwise slices.
    fn rows(&mut self, value: Value, count: usize) -> Result<Vec<String>> {
        if let Value::Node(index) = value
            && let Node {
                operation: Operation::Stack,
                inputs,
                ..
            } = &self.graph.nodes[index]
        {
            return inputs.iter().map(|input| self.name(*input)).collect();
        }
        let name = self.name(value)?;
        let row = |i: usize| {
            let index = self.b.index(i);
            let attributes = vec![int("axis", 0)];
            self.b.node("Gather", &[&name, &index], attributes)
        };
        Ok((0..count).map(row).collect())
    }
}

/// Removes nodes and constants that the result does not need.
fn prune(proto: &mut GraphProto, result: &str) {
    let mut needed = HashSet::from([result.to_string()]);
    let mut kept: Vec<_> = std::mem::take(&mut proto.node)
        .into_iter()
        .rev()
        .filter(|node| {
            let keep = node.output.iter().any(|output| needed.contains(output));
            if keep {
                needed.extend(node.input.iter().cloned());
            }
            keep
        })
        .collect();
    kept.reverse();
    proto.node = kept;
    proto
        .initializer
        .retain(|tensor| needed.contains(&tensor.name));
}

/// Whether an operation keeps the images of a batch separate, along the first axis.
fn keeps_batch(graph: &Graph, node: &Node) -> bool {
    match &node.operation {
        Operation::Reshape => graph.shape(node.inputs[0]).first() == node.shape.first(),
        Operation::Permute { axes } => axes.first() == Some(&0),
        Operation::Cat { dim } | Operation::Narrow { dim, .. } | Operation::Pad { dim, .. } => {
            *dim != 0
        }
        Operation::Stack => false,
        _ => true,
    }
}

/// The rows and columns of images.
fn plane(shape: &[usize]) -> Result<(usize, usize)> {
    match *shape {
        [_, _, height, width] => Ok((height, width)),
        _ => bail!("a pool of shape {shape:?} cannot be exported, only of [N, C, H, W]"),
    }
}

/// Reshapes `x` to `shape`. With `batch`, keeps the first axis of `x`.
fn reshape(b: &mut Builder, x: &str, shape: &[usize], batch: bool) -> String {
    let mut shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    if batch && let Some(first) = shape.first_mut() {
        *first = 0;
    }
    let shape = b.indices(&shape);
    b.binary("Reshape", x, &shape)
}

fn conv(b: &mut Builder, inputs: &[&str], weight: &[usize], params: &Conv2dParams) -> String {
    let Conv2dParams {
        stride,
        padding,
        dilation,
        groups,
    } = *params;
    let attributes = vec![
        sizes("kernel_shape", &weight[2..]),
        sizes("strides", &[stride.0, stride.1]),
        sizes("pads", &[padding.0, padding.1, padding.0, padding.1]),
        sizes("dilations", &[dilation.0, dilation.1]),
        int("group", groups as i64),
    ];
    b.node("Conv", inputs, attributes)
}

fn linear(b: &mut Builder, inputs: &[&str], rank: usize) -> String {
    if rank == 2 {
        return b.node("Gemm", inputs, vec![int("transB", 1)]);
    }
    let weight = b.node("Transpose", &[inputs[1]], vec![sizes("perm", &[1, 0])]);
    let y = b.binary("MatMul", inputs[0], &weight);
    match inputs.get(2) {
        Some(bias) => b.binary("Add", &y, bias),
        None => y,
    }
}

/// Expands a vector with one element, or one per channel, for broadcasting over `[N, C, ..]`. A
/// constant stays one: OpenCV takes no computed slopes.
fn per_channel(b: &mut Builder, vector: &str, shape: &[usize], rank: usize) -> String {
    if shape == [1] || rank <= 2 {
        return vector.to_string();
    }
    let mut expanded = vec![1; rank - 1];
    expanded[0] = shape[0];
    if b.reshape_constant(vector, &expanded) {
        return vector.to_string();
    }
    let axes: Vec<i64> = (1..rank as i64 - 1).collect();
    let axes = b.indices(&axes);
    b.binary("Unsqueeze", vector, &axes)
}

/// `x n / (1 + n^2)` with the norms n along the last axis.
fn squash(b: &mut Builder, x: &str) -> String {
    let length = b.reduce("ReduceL2", x, -1, true);
    let square = b.binary("Mul", &length, &length);
    let divisor = b.with_number("Add", &square, 1.0);
    let factor = b.binary("Div", &length, &divisor);
    b.binary("Mul", x, &factor)
}

/// Routing by agreement with unrolled iterations, of capsules `u` `[N, I, D]` with `weight`
/// `[I, D, J, E]`. Products and sums stand for `Einsum`, which few runtimes compute.
fn routing(b: &mut Builder, u: &str, weight: &[usize], iterations: usize, name: &str) -> String {
    let [inputs, size, outputs, length] = [0, 1, 2, 3].map(|axis| weight[axis]);
    // [N, I, 1, D] x [I, D, J E] = [N, I, 1, J E]
    let axis = b.indices(&[2]);
    let u = b.binary("Unsqueeze", u, &axis);
    let weight = reshape(b, name, &[inputs, size, outputs * length], false);
    let y = b.binary("MatMul", &u, &weight);
    let predictions = reshape(b, &y, &[1, inputs, outputs, length], true);
    // A softmax over equal logits is uniform.
    let sum = b.reduce("ReduceSum", &predictions, 1, false);
    let mean = b.with_number("Mul", &sum, 1.0 / outputs as f64);
    let mut v = squash(b, &mean);
    let mut logits: Option<String> = None;
    for _ in 1..iterations {
        let axis = b.indices(&[1]);
        let y = b.binary("Unsqueeze", &v, &axis);
        let y = b.binary("Mul", &predictions, &y);
        let agreement = b.reduce("ReduceSum", &y, -1, false);
        let sum = match &logits {
            None => agreement,
            Some(logits) => b.binary("Add", logits, &agreement),
        };
        let shares = b.node("Softmax", &[&sum], vec![int("axis", 2)]);
        logits = Some(sum);
        let axis = b.indices(&[3]);
        let shares = b.binary("Unsqueeze", &shares, &axis);
        let y = b.binary("Mul", &predictions, &shares);
        let routed = b.reduce("ReduceSum", &y, 1, false);
        v = squash(b, &routed);
    }
    v
}
