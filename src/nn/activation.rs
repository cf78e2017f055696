//! An activation as a layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, ModuleT, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use rand::Rng;

use super::layer_input::{ObservedLayer, observe};
use super::summary::record;
use crate::activation::Activation;
use crate::ops;
use crate::ops::activation::{activation, leaky_relu_with, prelu, srelu};
use crate::rng::Generator;

/// An activation with its learned parameters or its generator.
///
/// PReLU learns one slope for each channel, or one for all channels. SReLU learns two thresholds
/// and two slopes for each channel. RReLU draws a slope for each element in training and uses the
/// mean slope in evaluation. Every other activation is a fixed function. [`act()`] builds any of
/// them from a [`VarBuilder`].
///
/// # Shapes
/// - input and output: [N, C, …]; a fixed function takes any shape
#[derive(Debug, Clone)]
pub struct Act {
    activation: Activation,
    state: State,
    path: String,
    blend: Option<Box<(Act, Blend)>>,
}

/// The share of the new activation in a blend of two, from 0 (the old one only) to 1 (the new one
/// only). Clones share the value, so one handle changes all layers of a network.
#[derive(Debug, Clone, Default)]
pub struct Blend(Arc<AtomicU64>);

impl Blend {
    /// The share of the new activation.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Sets the share of the new activation, clamped to [0, 1].
    pub fn set(&self, share: f64) {
        let share = share.clamp(0.0, 1.0);
        self.0.store(share.to_bits(), Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
enum State {
    None,
    PRelu(Tensor),
    SRelu([Tensor; 4]),
    RRelu(Generator),
}

impl Act {
    /// A layer for a fixed function.
    ///
    /// # Errors
    /// If `activation` has learnable parameters or draws random slopes: use [`Act::prelu`],
    /// [`Act::srelu`], [`Act::rrelu`] or [`act()`]. Also if the function is not defined for its
    /// parameters.
    pub fn new(activation: &Activation) -> Result<Self> {
        if activation.is_learnable() || matches!(activation, Activation::RRelu { .. }) {
            candle_core::bail!(
                "{} is not a fixed function: it needs its parameters or a generator",
                activation.name()
            );
        }
        check(activation)?;
        Ok(Self::with_state(*activation, State::None))
    }

    /// PReLU with the slopes `weight`, `[C]`, or `[1]` for all channels.
    ///
    /// # Errors
    /// If `weight` is not a vector.
    pub fn prelu(weight: Tensor) -> Result<Self> {
        // Only a builder uses the initial slope; 0.25 is PyTorch's.
        let init = 0.25;
        let activation = match weight.dims1()? {
            1 => Activation::PReluShared { init },
            _ => Activation::PRelu { init },
        };
        Ok(Self::with_state(activation, State::PRelu(weight)))
    }

    /// SReLU with `left_threshold`, `left_slope`, `right_threshold` and `right_slope`, `[C]` each.
    ///
    /// # Errors
    /// If the parameters are not vectors of one length.
    pub fn srelu(params: [Tensor; 4]) -> Result<Self> {
        let channels = params[0].dims1()?;
        for tensor in &params {
            if tensor.dims() != [channels] {
                candle_core::bail!(
                    "srelu: a parameter has the shape {:?}, must be [{channels}] like the first",
                    tensor.dims()
                );
            }
        }
        let activation = Activation::SRelu {
            left_threshold: 0.0,
            left_slope: 0.2,
            right_threshold: 1.0,
            right_slope: 1.0,
        };
        Ok(Self::with_state(activation, State::SRelu(params)))
    }

    /// RReLU with slopes between `lower` and `upper`, drawn from `generator`.
    ///
    /// # Errors
    /// If `lower` is greater than `upper`, or one of them is infinite or NaN.
    pub fn rrelu(lower: f64, upper: f64, generator: &Generator) -> Result<Self> {
        let activation = Activation::RRelu { lower, upper };
        check(&activation)?;
        let state = State::RRelu(generator.clone());
        Ok(Self::with_state(activation, state))
    }

    fn with_state(activation: Activation, state: State) -> Self {
        Self {
            activation,
            state,
            path: String::new(),
            blend: None,
        }
    }

    /// Sets the path that summaries and exported graphs show for this layer.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// A blend of this layer and `to`: (1 - share) self(x) + share to(x). Each call takes the share that
    /// `blend` has then; with a share of 0 or 1 it computes one of the two only. The path stays the one
    /// of this layer.
    pub fn blended(self, to: Act, blend: Blend) -> Self {
        Self {
            blend: Some(Box::new((to, blend))),
            ..self
        }
    }

    /// The activation that the layer was made from.
    pub fn activation(&self) -> &Activation {
        &self.activation
    }

    /// The learned parameters: PReLU's slopes, or SReLU's left threshold, left slope, right
    /// threshold and right slope. Of a blend that is over, those of the new layer.
    pub fn params(&self) -> Vec<&Tensor> {
        match &self.current().0.state {
            State::None | State::RRelu(_) => Vec::new(),
            State::PRelu(slope) => vec![slope],
            State::SRelu(rows) => rows.iter().collect(),
        }
    }

    /// The layer that computes: this one, or the new one of a blend that is over. With it, the new layer
    /// of a blend in progress and its share.
    fn current(&self) -> (&Self, Option<(&Self, f64)>) {
        let Some((to, blend)) = self.blend.as_deref() else {
            return (self, None);
        };
        let share = blend.get();
        if share <= 0.0 {
            (self, None)
        } else if share >= 1.0 {
            to.current()
        } else {
            (self, Some((to, share)))
        }
    }

    /// The activation if it is a fixed function of each element, which other ops can fuse.
    pub(crate) fn stateless(&self) -> Option<&Activation> {
        match self.current() {
            (layer, None) => matches!(layer.state, State::None).then_some(&layer.activation),
            (_, Some(_)) => None,
        }
    }

    /// Records an application of the layer with the output `y`.
    pub(crate) fn note(&self, y: &Tensor) {
        let (layer, _) = self.current();
        if !matches!(layer.activation, Activation::Identity) {
            record(&self.path, layer.activation.name(), y, &layer.params(), 0);
        }
    }

    /// act(x), with the blends as they are now.
    fn value(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match self.current() {
            (layer, None) => layer.apply(x, train),
            (layer, Some((to, share))) => {
                // Ops of this crate, so that the tape reaches the layers before the blend.
                let old = ops::scale(&layer.apply(x, train)?, 1.0 - share)?;
                ops::add_scaled(&old, &to.value(x, train)?, share)
            }
        }
    }

    /// The function of this layer alone.
    fn apply(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match (&self.state, self.activation) {
            (State::PRelu(slope), _) => prelu(x, slope),
            (State::SRelu(rows), _) => srelu(x, &ops::stack(&rows.each_ref())?),
            (State::RRelu(generator), Activation::RRelu { lower, upper }) if train => {
                let slopes = random_slopes(x, generator, lower, upper)?;
                leaky_relu_with(x, &slopes)
            }
            _ => activation(x, &self.activation),
        }
    }
}

/// An [`Act`] layer for `channels` channels.
///
/// A learnable activation takes its parameters from `vb`: PReLU `weight`, `[C]` or `[1]` if shared,
/// as in PyTorch; SReLU `left_threshold`, `left_slope`, `right_threshold` and `right_slope`, `[C]`
/// each. RReLU draws from `generator`.
///
/// # Errors
/// If `vb` lacks a parameter or has it in another shape, or the function is not defined for its
/// parameters.
pub fn act(
    activation: &Activation,
    channels: usize,
    vb: VarBuilder,
    generator: &Generator,
) -> Result<Act> {
    check(activation)?;
    let state = match *activation {
        Activation::PRelu { init } => {
            State::PRelu(vb.get_with_hints(channels, "weight", Init::Const(init))?)
        }
        Activation::PReluShared { init } => {
            State::PRelu(vb.get_with_hints(1, "weight", Init::Const(init))?)
        }
        Activation::SRelu {
            left_threshold,
            left_slope,
            right_threshold,
            right_slope,
        } => {
            let get = |name, init| vb.get_with_hints(channels, name, Init::Const(init));
            State::SRelu([
                get("left_threshold", left_threshold)?,
                get("left_slope", left_slope)?,
                get("right_threshold", right_threshold)?,
                get("right_slope", right_slope)?,
            ])
        }
        Activation::RRelu { .. } => State::RRelu(generator.clone()),
        _ => State::None,
    };
    Ok(Act::with_state(*activation, state).with_path(vb.prefix()))
}

impl ModuleT for Act {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if !matches!(self.current().0.activation, Activation::Identity) {
            observe(ObservedLayer::Activation, &self.path, self, x)?;
        }
        let y = self.value(x, train)?;
        self.note(&y);
        Ok(y)
    }
}

/// Fails if the function is not defined for its parameters.
fn check(activation: &Activation) -> Result<()> {
    if let Some(requirement) = activation.violation() {
        candle_core::bail!("activation '{}': {requirement}", activation.name());
    }
    Ok(())
}

/// Slopes drawn uniformly from [lower, upper], with the shape and dtype of `x`.
fn random_slopes(x: &Tensor, generator: &Generator, lower: f64, upper: f64) -> Result<Tensor> {
    let mut random = generator.lock();
    let slopes: Vec<f32> = (0..x.elem_count())
        .map(|_| random.random_range(lower..=upper) as f32)
        .collect();
    drop(random);
    let slopes = Tensor::from_vec(slopes, x.shape(), x.device())?;
    if x.dtype() == DType::F32 {
        return Ok(slopes);
    }
    slopes.to_dtype(x.dtype())
}
