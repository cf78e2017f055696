//! An activation as a layer.

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
        })
    }

    /// The activation that the layer was made of.
    pub fn activation(&self) -> &Activation {
        &self.activation
    }

    /// The activation if it is a fixed function of each element, which other ops can take in.
    pub(crate) fn stateless(&self) -> Option<&Activation> {
        matches!(self.state, State::None).then_some(&self.activation)
    }
}

impl ModuleT for Act {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match (&self.state, self.activation) {
            (State::PRelu(slope), _) => {
                let y = prelu(x, slope)?;
                record(&self.path, "PReLU", &y, &[slope], 0);
                Ok(y)
            }
            (State::SRelu(rows), _) => {
                let y = srelu(x, &ops::stack(&rows.each_ref())?)?;
                record(&self.path, "SReLU", &y, &rows.each_ref(), 0);
                Ok(y)
            }
            (State::RRelu(generator), Activation::RRelu { lower, upper }) if train => {
                let slopes = random_slopes(x, generator, lower, upper)?;
                leaky_relu_with(x, &slopes)
            }
            _ => activation(x, &self.activation),
        }
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
