//! Records the forward pass of a network as a graph of operations.
//!
//! [`trace`] runs a network once. Every function of `ops` that occurs in evaluation notes its
//! operation. The trace recognises tensors by the address of their values, so networks need no code
//! for it. A tensor that no noted operation made, such as the result of a Candle operation, is an
//! error where it is used. It never becomes a constant.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{Result, Storage, Tensor, bail};

use crate::activation::Activation;

/// What a node does. Its inputs are in the order of the arguments of the function in `ops` that
/// it records; pairs are (rows, columns).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// A convolution of x with a weight and, as a third input, a bias.
    Conv2d {
        /// Step of the kernel.
        stride: (usize, usize),
        /// Zeros on both sides of the input.
        padding: (usize, usize),
        /// Distance between neighbouring taps of the kernel.
        dilation: (usize, usize),
        /// Groups of channels, each with its own convolution.
        groups: usize,
    },
    /// A fully connected layer: x, weight and, as a third input, a bias.
    Linear,
    /// Batch normalisation with running statistics: x, gain and bias `[2, C]`, mean, variance and,
    /// as a fifth input, a residual. The residual is added to the normalised values, then the
    /// activation is applied.
    BatchNormAct {
        /// Added to the variance.
        eps: f64,
        /// Applied last.
        activation: Activation,
    },
    /// An activation of x.
    Activation(Activation),
    /// PReLU: x and slopes `[C]` or `[1]`.
    PRelu,
    /// SReLU: x and parameters `[4, C]` or `[4, 1]`.
    SRelu,
    /// a + scale b.
    AddScaled {
        /// The factor of b.
        scale: f64,
    },
    /// factor x.
    Scale {
        /// The factor.
        factor: f64,
    },
    /// All inputs, concatenated.
    Cat {
        /// The axis.
        dim: usize,
    },
    /// All inputs, along a new first axis.
    Stack,
    /// `len` positions of x along `dim`, from `start` on.
    Narrow {
        /// The axis.
        dim: usize,
        /// The first position.
        start: usize,
        /// The number of positions.
        len: usize,
    },
    /// x with zeros before and after its values along `dim`.
    Pad {
        /// The axis.
        dim: usize,
        /// The number of zeros before the values.
        before: usize,
        /// The number of zeros after the values.
        after: usize,
    },
    /// x in the shape of the node's output.
    Reshape,
    /// x with its axes in another order.
    Permute {
        /// The old axis of each new one.
        axes: Vec<usize>,
    },
    /// x times a factor for each channel of each image.
    ScaleChannels,
    /// A channel shuffle of x.
    ChannelShuffle {
        /// The groups.
        groups: usize,
    },
    /// The maximum of each window of x.
    MaxPool2d {
        /// Size of a window.
        kernel: (usize, usize),
        /// Step from one window to the next.
        stride: (usize, usize),
        /// Padding on both sides of the input.
        padding: (usize, usize),
        /// Distance between neighbouring values of a window.
        dilation: (usize, usize),
        /// Whether a last window that reaches over the end counts.
        ceil_mode: bool,
    },
    /// The mean of each window of x.
    AvgPool2d {
        /// Size of a window.
        kernel: (usize, usize),
        /// Step from one window to the next.
        stride: (usize, usize),
        /// Zeros on both sides of the input.
        padding: (usize, usize),
        /// Whether a last window that reaches over the end counts.
        ceil_mode: bool,
        /// Whether the divisor counts padding.
        count_include_pad: bool,
    },
    /// The means of windows of x that divide it evenly.
    AdaptiveAvgPool2d {
        /// Rows and columns of the result.
        size: (usize, usize),
    },
    /// The mean of each plane of x, `[N, C]`.
    GlobalAvgPool2d,
    /// The squashed vectors of x.
    Squash,
    /// The lengths of the vectors of x.
    Length,
    /// Routing by agreement of capsules with a weight.
    DynamicRouting {
        /// Rounds of agreement.
        iterations: usize,
    },
}

/// Where a value of a [`Graph`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// The network's input.
    Input,
    /// The constant of this index.
    Constant(usize),
    /// The output of the node of this index.
    Node(usize),
}

/// An operation with its inputs.
#[derive(Debug, Clone)]
pub struct Node {
    /// The operation.
    pub operation: Operation,
    /// The inputs, in the order of the operation's arguments.
    pub inputs: Vec<Value>,
    /// The dimensions of the output, batch first if it depends on the network's input.
    pub shape: Vec<usize>,
    /// The paths of the layers that it computes, for example of a batch norm and its activation.
    pub paths: Vec<String>,
}

/// A forward pass: nodes in the order in which they ran.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The dimensions of the input.
    pub input: Vec<usize>,
    /// The named tensors that the network may use.
    pub constants: Vec<(String, Tensor)>,
    /// The operations.
    pub nodes: Vec<Node>,
    /// The value that the network returned.
    pub output: Value,
}

impl Graph {
    /// The dimensions of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        match value {
            Value::Input => &self.input,
            Value::Constant(index) => self.constants[index].1.dims(),
            Value::Node(index) => &self.nodes[index].shape,
        }
    }
}

/// The address and layout of a tensor's values. They identify a tensor as long as all tensors of
/// the trace are alive.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    storage: usize,
    offset: usize,
    dims: Vec<usize>,
    stride: Vec<usize>,
}

impl Place {
    fn of(tensor: &Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self {
            storage: std::ptr::from_ref::<Storage>(&storage) as usize,
            offset: layout.start_offset(),
            dims: layout.dims().to_vec(),
            stride: layout.stride().to_vec(),
        }
    }
}

#[derive(Default)]
struct Tracer {
    known: HashMap<Place, Value>,
    nodes: Vec<Node>,
    /// The names of ops whose results no node represents.
    unnoted: HashMap<Place, &'static str>,
    /// All tensors in `known` and `unnoted`, so that no address is reused.
    alive: Vec<Tensor>,
    /// The path of the last noted layer, for error messages.
    last: Option<String>,
}

thread_local! {
    static TRACER: RefCell<Option<Tracer>> = const { RefCell::new(None) };
}

/// Restores the outer tracer, even if the body fails or panics.
struct Scope(Option<Tracer>);

impl Drop for Scope {
    fn drop(&mut self) {
        TRACER.replace(self.0.take());
    }
}

/// Runs `forward` on `input` and returns the graph of its operations on this thread. `constants`
/// are the named tensors that it may use: parameters and running statistics.
///
/// # Errors
/// The errors of `forward`, and an error if it uses or returns a tensor that was not computed from
/// the input and the constants by an [`Operation`].
pub fn trace(
    input: &Tensor,
    constants: Vec<(String, Tensor)>,
    forward: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Graph> {
    let mut tracer = Tracer::default();
    tracer.know(input, Value::Input);
    for (index, (_, tensor)) in constants.iter().enumerate() {
        tracer.know(tensor, Value::Constant(index));
    }
    let scope = Scope(TRACER.replace(Some(tracer)));
    let output = forward(input)?;
    let tracer = TRACER.take().unwrap_or_default();
    drop(scope);
    Ok(Graph {
        input: input.dims().to_vec(),
        output: tracer.value(&output, "the network's result")?,
        nodes: tracer.nodes,
        constants,
    })
}

impl Tracer {
    fn know(&mut self, tensor: &Tensor, value: Value) {
        // If several tensors share their values, the first represents all.
        self.known.entry(Place::of(tensor)).or_insert(value);
        self.alive.push(tensor.clone());
    }

    fn value(&self, tensor: &Tensor, what: &str) -> Result<Value> {
        let place = Place::of(tensor);
        if let Some(value) = self.known.get(&place) {
            return Ok(*value);
        }
        let after = match &self.last {
            Some(path) => format!(" (after layer {path})"),
            None => String::new(),
        };
        match self.unnoted.get(&place) {
            Some(op) => bail!("cannot trace {what}{after}: it comes from the operation '{op}'"),
            None => bail!(
                "cannot trace {what}{after}: it comes from an operation outside of this crate, or from a \
                 tensor that is not a parameter"
            ),
        }
    }
}

/// Whether this thread traces a network.
pub(crate) fn is_tracing() -> bool {
    TRACER.with_borrow(Option::is_some)
}

/// Notes that `operation` made `output` from `inputs`, if this thread traces.
pub(crate) fn note(
    operation: impl FnOnce() -> Operation,
    inputs: &[&Tensor],
    output: &Tensor,
) -> Result<()> {
    TRACER.with_borrow_mut(|tracer| {
        let Some(tracer) = tracer else {
            return Ok(());
        };
        let operation = operation();
        let what = |i: usize| format!("input {} of {operation:?}", i + 1);
        let inputs = inputs.iter().enumerate();
        let inputs = inputs.map(|(i, input)| tracer.value(input, &what(i)));
        let inputs = inputs.collect::<Result<_>>()?;
        let value = Value::Node(tracer.nodes.len());
        tracer.know(output, value);
        tracer.nodes.push(Node {
            operation,
            inputs,
            shape: output.dims().to_vec(),
            paths: Vec::new(),
        });
        Ok(())
    })
}

/// Notes the layer at `path` that made `output`, if this thread traces.
pub(crate) fn note_layer(path: &str, output: &Tensor) {
    TRACER.with_borrow_mut(|tracer| {
        let Some(tracer) = tracer else {
            return;
        };
        if let Some(Value::Node(index)) = tracer.known.get(&Place::of(output)) {
            tracer.nodes[*index].paths.push(path.to_string());
        }
        tracer.last = Some(path.to_string());
    });
}

/// Keeps the name of the op that made `output`, for the error if nothing notes its operation.
pub(crate) fn note_op(name: &'static str, output: &Tensor) {
    TRACER.with_borrow_mut(|tracer| {
        if let Some(tracer) = tracer {
            tracer.unnoted.insert(Place::of(output), name);
            tracer.alive.push(output.clone());
        }
    });
}

/// Fails while this thread traces. In-place operations call it, because a graph cannot express
/// them.
pub(crate) fn refuse(what: &str) -> Result<()> {
    if TRACER.with_borrow(Option::is_some) {
        bail!("cannot trace {what}");
    }
    Ok(())
}

/// Notes `operation` and returns `output`.
pub(crate) fn noted(
    output: Tensor,
    operation: impl FnOnce() -> Operation,
    inputs: &[&Tensor],
) -> Result<Tensor> {
    note(operation, inputs, &output)?;
    Ok(output)
}
