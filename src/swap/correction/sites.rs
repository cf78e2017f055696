//! The norms and activations of a network in the order of its forward pass, with the layers before and
//! after each activation, found in a trace of the network.

use std::collections::HashMap;

use candle_core::{Result, Tensor};

use crate::activation::Activation;
use crate::autograd::trace::{Graph, Node, Operation, Value, trace};
use crate::nn::summarize;
use crate::swap::variant::Variant;

/// A part of a network that can be corrected.
pub enum Part {
    /// The batch norm at a path.
    Norm(String),
    /// An activation.
    Activation(Site),
}

/// An activation with its neighbours.
pub struct Site {
    /// The path of the activation.
    pub path: String,
    /// The function, unless it has learned parameters.
    pub activation: Option<Activation>,
    /// The layer whose output is the activation's input, alone or with a residual.
    pub producer: Option<Producer>,
    /// The only layer that takes the activation's output.
    pub consumer: Option<Consumer>,
    /// The share of zeros of a padding among what the convolutions that take the output multiply; the
    /// largest, if there are several.
    pub padded: f64,
}

impl Site {
    /// The names of the weights and biases of the layers before and after the activation.
    pub fn neighbours(&self) -> Vec<&str> {
        let producer = self.producer.iter();
        let before = producer.flat_map(|layer| [layer.weight.as_str(), &layer.bias]);
        let consumer = self.consumer.iter();
        let after = consumer.flat_map(|layer| [Some(&layer.weight), layer.bias.as_ref()]);
        before.chain(after.flatten().map(String::as_str)).collect()
    }
}

/// The layer before an activation: a batch norm, or a convolution or linear layer with a bias.
pub struct Producer {
    /// The name of its weight, output channels first.
    pub weight: String,
    /// The name of its bias.
    pub bias: String,
    /// Whether a residual is added between the layer and the activation.
    pub residual: bool,
}

/// The layer after an activation.
pub struct Consumer {
    /// The name of its weight, `[O, I / groups, ..]`.
    pub weight: String,
    /// The name of its bias, if it has one.
    pub bias: Option<String>,
    pub groups: usize,
    /// Whether a batch norm takes its output and so removes a shift.
    pub normalised: bool,
}

/// The parts of the network, each once. Layers that the network applies several times are left out.
pub fn parts(variant: &Variant, image: &Tensor) -> Result<Vec<Part>> {
    let forward = |x: &Tensor| variant.frozen.forward_t(x, false);
    let (_, records) = summarize(|| forward(image))?;
    let mut kinds: HashMap<&str, (&'static str, usize)> = HashMap::new();
    for record in &records {
        let entry = kinds.entry(&record.path).or_insert((record.kind, 0));
        entry.1 += 1;
    }
    let graph = trace(image, variant.store.tensors(), forward)?;
    let view = View::new(&graph);
    let is_norm = |path: &String| {
        kinds
            .get(path.as_str())
            .is_some_and(|(kind, count)| *kind == "BatchNorm2d" && *count == 1)
    };
    let is_activation = |path: &String| {
        let is = |kind: &str| Activation::all().any(|activation| activation.name() == kind);
        kinds
            .get(path.as_str())
            .is_some_and(|(kind, count)| is(kind) && *count == 1)
    };
    let mut parts = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for path in &node.paths {
            if is_norm(path) {
                parts.push(Part::Norm(path.clone()));
            } else if is_activation(path) {
                parts.push(Part::Activation(Site {
                    path: path.clone(),
                    activation: match &node.operation {
                        Operation::BatchNormAct { activation, .. } => Some(*activation),
                        Operation::Activation(activation) => Some(*activation),
                        _ => None,
                    },
                    producer: view.producer(index, &is_norm),
                    consumer: view.consumer(Value::Node(index)),
                    padded: view.padded(index),
                }));
            }
        }
    }
    Ok(parts)
}

/// A graph with the nodes that take each value.
struct View<'a> {
    graph: &'a Graph,
    users: HashMap<Value, Vec<usize>>,
}

impl<'a> View<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut users: HashMap<Value, Vec<usize>> = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                users.entry(*input).or_default().push(index);
            }
        }
        Self { graph, users }
    }

    /// The only node that takes `value`, with its index.
    fn only_user(&self, value: Value) -> Option<(usize, &'a Node)> {
        match self.users.get(&value).map(Vec::as_slice) {
            Some([user]) if self.graph.output != value => {
                let node = &self.graph.nodes[*user];
                (node.inputs.first() == Some(&value)).then_some((*user, node))
            }
            _ => None,
        }
    }

    /// The layer before the activation that the node of this index computes.
    fn producer(&self, index: usize, is_norm: &dyn Fn(&String) -> bool) -> Option<Producer> {
        let node = &self.graph.nodes[index];
        if let Operation::BatchNormAct { .. } = node.operation {
            return norm(node, is_norm);
        }
        let before = *node.inputs.first()?;
        let Value::Node(index) = before else {
            return None;
        };
        self.only_user(before)?;
        let node = &self.graph.nodes[index];
        match node.operation {
            Operation::BatchNormAct { .. } => norm(node, is_norm),
            Operation::Conv2d { .. } | Operation::Linear => Some(Producer {
                weight: self.constant(node, 1)?,
                bias: self.constant(node, 2)?,
                residual: false,
            }),
            _ => None,
        }
    }

    /// The name of an input that is a parameter.
    fn constant(&self, node: &Node, position: usize) -> Option<String> {
        match node.inputs.get(position) {
            Some(Value::Constant(index)) => Some(self.graph.constants[*index].0.clone()),
            _ => None,
        }
    }

    /// The layer that alone takes `value`. Between them may be a pooling over the whole image.
    fn consumer(&self, value: Value) -> Option<Consumer> {
        let (index, node) = self.only_user(value)?;
        let groups = match node.operation {
            Operation::GlobalAvgPool2d => return self.consumer(Value::Node(index)),
            Operation::Linear => 1,
            Operation::Conv2d { groups, .. } => groups,
            _ => return None,
        };
        let normalised = self
            .only_user(Value::Node(index))
            .is_some_and(|(_, user)| matches!(user.operation, Operation::BatchNormAct { .. }));
        Some(Consumer {
            weight: self.constant(node, 1)?,
            bias: self.constant(node, 2),
            groups,
            normalised,
        })
    }

    /// See [`Site::padded`], for the node of this index.
    fn padded(&self, index: usize) -> f64 {
        let users = self.users.get(&Value::Node(index)).into_iter().flatten();
        let shares = users.map(|user| self.padding_of(*user, &self.graph.nodes[index].shape));
        shares.fold(0.0, f64::max)
    }

    /// The share of padded zeros among the inputs `[N, C, H, W]` that a node multiplies: 0 unless it is a
    /// convolution.
    fn padding_of(&self, index: usize, input: &[usize]) -> f64 {
        let node = &self.graph.nodes[index];
        let Operation::Conv2d {
            stride,
            padding,
            dilation,
            ..
        } = node.operation
        else {
            return 0.0;
        };
        let (&[_, _, height, width], &[_, _, rows, columns], Some(Value::Constant(weight))) =
            (input, node.shape.as_slice(), node.inputs.get(1))
        else {
            return 0.0;
        };
        let &[_, _, taps_down, taps_across] = self.graph.constants[*weight].1.dims() else {
            return 0.0;
        };
        let down = Window {
            taps: taps_down,
            stride: stride.0,
            padding: padding.0,
            dilation: dilation.0,
        };
        let across = Window {
            taps: taps_across,
            stride: stride.1,
            padding: padding.1,
            dilation: dilation.1,
        };
        1.0 - down.inside(height, rows) * across.inside(width, columns)
    }
}

/// A convolution along one dimension.
struct Window {
    taps: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Window {
    /// The share of products whose input is none of the padding, for `inputs` and `outputs`.
    fn inside(&self, inputs: usize, outputs: usize) -> f64 {
        let position = |output: usize, tap: usize| output * self.stride + tap * self.dilation;
        let is_inside = |position: usize| (self.padding..self.padding + inputs).contains(&position);
        let taps = (0..outputs).flat_map(|output| (0..self.taps).map(move |tap| (output, tap)));
        let inside = taps.filter(|(output, tap)| is_inside(position(*output, *tap)));
        inside.count() as f64 / (outputs * self.taps).max(1) as f64
    }
}

/// The batch norm that a node computes, as the producer of its values.
fn norm(node: &Node, is_norm: &dyn Fn(&String) -> bool) -> Option<Producer> {
    let path = node.paths.iter().find(|path| is_norm(path))?;
    Some(Producer {
        weight: format!("{path}.weight"),
        bias: format!("{path}.bias"),
        residual: node.inputs.len() > 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_outside_of_the_image_are_counted() {
        let window = Window {
            taps: 3,
            stride: 1,
            padding: 1,
            dilation: 1,
        };
        // The first and the last of 8 outputs lack one of 3 taps.
        assert_eq!(window.inside(8, 8), 22.0 / 24.0);
        let strided = Window {
            stride: 2,
            ..window
        };
        assert_eq!(strided.inside(8, 4), 11.0 / 12.0);
        let valid = Window {
            padding: 0,
            ..strided
        };
        assert_eq!(valid.inside(9, 4), 1.0);
    }
}
