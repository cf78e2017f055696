//! An activation as a layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, ModuleT, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use rand::Rng;

use super::summary::record;
use crate::activation::Activation;
use crate::ops;
use crate::ops::activation::{activation, leaky_relu_with, prelu, srelu};
use crate::rng::Generator;

/// An activation with what it learns or draws.
///
/// PReLU learns a slope for each channel, or one for all; SReLU two thresholds and two slopes
/// for each channel; RReLU draws a slope for each element in training and takes their mean in
/// evaluation. Every other activation has no state.
#[derive(Debug, Clone)]
pub struct Act {
    activation: Activation,
    state: State,
    path: String,
    blend: Option<Box<(Act, Blend)>>,
}

/// How far blended activations have gone from the old one, 0, to the new one, 1. Clones share
/// the value, so that whoever trains a network can move all its layers.
#[derive(Debug, Clone, Default)]
pub struct Blend(Arc<AtomicU64>);

impl Blend {
    /// The share of the new activation.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Sets the share of the new activation, cut to [0, 1].
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
    /// The layer for tensors of `channels` channels, [N, C, …].
    ///
    /// A learnable activation has its parameters below the path of `vb`: PReLU's at `weight`, `[C]`
    /// or `[1]` if shared, as in PyTorch, and SReLU's at `left_threshold`, `left_slope`,
    /// `right_threshold` and `right_slope`, `[C]` each. RReLU draws from `generator`.
    ///
    /// # Errors
    /// If `vb` lacks the parameters or has them in another shape.
    pub fn new(
        activation: &Activation,
        channels: usize,
        vb: VarBuilder,
        generator: &Generator,
    ) -> Result<Self> {
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
        Ok(Self {
            activation: *activation,
            state,
            path: vb.prefix(),
            blend: None,
        })
    }

    /// The layer on its way to another one: (1 - share) self(x) + share to(x) with the share that
    /// `blend` has at the time.
    pub fn blended(self, to: Act, blend: Blend) -> Self {
        Self {
            blend: Some(Box::new((to, blend))),
            ..self
        }
    }

    /// The activation that the layer was made of.
    pub fn activation(&self) -> &Activation {
        &self.activation
    }

    /// The activation if it is a fixed function of each element, which other ops can take in.
    pub(crate) fn stateless(&self) -> Option<&Activation> {
        match &self.blend {
            None => matches!(self.state, State::None).then_some(&self.activation),
            Some(blend) if blend.1.get() >= 1.0 => blend.0.stateless(),
            Some(_) => None,
        }
    }

    /// Lists the layer with what a network consists of.
    pub(crate) fn note(&self, y: &Tensor) {
        let params: Vec<&Tensor> = match &self.state {
            State::None | State::RRelu(_) => Vec::new(),
            State::PRelu(slope) => vec![slope],
            State::SRelu(rows) => rows.iter().collect(),
        };
        if !matches!(self.activation, Activation::Identity) {
            record(&self.path, self.activation.name(), y, &params, 0);
        }
    }

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

impl ModuleT for Act {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = match self.blend.as_deref() {
            None => self.apply(x, train)?,
            Some((to, blend)) => {
                let share = blend.get();
                if share >= 1.0 {
                    return to.forward_t(x, train);
                }
                let old = (self.apply(x, train)? * (1.0 - share))?;
                let new = (to.apply(x, train)? * share)?;
                ops::add(&old, &new)?
            }
        };
        self.note(&y);
        Ok(y)
    }
}

/// Slopes drawn uniformly from [lower, upper], in the shape and type of `x`.
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
