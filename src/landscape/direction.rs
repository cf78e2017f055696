//! Random directions in the space of weights.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::rng::Generator;

/// Added to norms that divide, as in the program of the paper's authors.
const EPSILON: f64 = 1e-10;

/// How a direction is scaled to the weights: the option `xnorm` of the paper's program
/// (github.com/tomgoldstein/loss-landscape).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// Each filter, or row of a dense layer, gets the norm of the weights' filter.
    Filter,
    /// Each tensor gets the norm of the weights' tensor.
    Layer,
    /// Each value is multiplied by the weight.
    Weight,
}

impl Normalisation {
    const ALL: [(&'static str, Self); 3] = [
        ("filter", Self::Filter),
        ("layer", Self::Layer),
        ("weight", Self::Weight),
    ];
}

/// Which parameters stay fixed: the option `xignore` of the paper's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Biases and the parameters of norms: all tensors of one dimension.
    BiasBn,
    /// No parameter. The direction of a tensor of one dimension is the tensor itself.
    Nothing,
}

impl Ignored {
    const ALL: [(&'static str, Self); 2] = [("biasbn", Self::BiasBn), ("none", Self::Nothing)];
}

fn find<T: Copy>(text: &str, all: &[(&'static str, T)]) -> std::result::Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        format!("expected {}", names.join(" or "))
    })
}

fn name<T: PartialEq>(value: &T, all: &[(&'static str, T)]) -> &'static str {
    let found = all.iter().find(|(_, other)| other == value);
    found.map_or("", |(name, _)| name)
}

impl FromStr for Normalisation {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        find(text, &Self::ALL)
    }
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(self, &Self::ALL))
    }
}

impl FromStr for Ignored {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        find(text, &Self::ALL)
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(self, &Self::ALL))
    }
}

/// `direction` scaled to `weight`, which has the same shape, as the paper's program does with its
/// options `xnorm` and `xignore`.
///
/// # Errors
/// If the shapes differ.
pub fn normalise(
    direction: &Tensor,
    weight: &Tensor,
    normalisation: Normalisation,
    ignored: Ignored,
) -> Result<Tensor> {
    if weight.rank() <= 1 {
        return match ignored {
            Ignored::BiasBn => direction.zeros_like(),
            Ignored::Nothing => Ok(weight.clone()),
        };
    }
    match normalisation {
        Normalisation::Weight => direction * weight,
        Normalisation::Layer => {
            let norm = |x: &Tensor| x.sqr()?.sum_all()?.sqrt();
            direction.broadcast_mul(&(norm(weight)? / norm(direction)?)?)
        }
        Normalisation::Filter => {
            let norm = |x: &Tensor| x.flatten_from(1)?.sqr()?.sum(1)?.sqrt();
            let scale = (norm(weight)? / (norm(direction)? + EPSILON)?)?;
            let mut shape = vec![1; weight.rank()];
            shape[0] = weight.dim(0)?;
            direction.broadcast_mul(&scale.reshape(shape)?)
        }
    }
}

/// A random direction: a tensor for each parameter.
#[derive(Debug, Clone)]
pub struct Direction(Vec<Tensor>);

impl Direction {
    /// Standard normal values, scaled to the values of `params`. `seed` and `name` determine them.
    ///
    /// # Errors
    /// If a tensor cannot be computed.
    pub fn random(
        params: &[(String, Var)],
        (seed, name): (u64, &str),
        normalisation: Normalisation,
        ignored: Ignored,
    ) -> Result<Self> {
        let random = Generator::named(seed, name);
        let mut random = random.lock();
        let tensors = params.iter().map(|(_, param)| {
            let values: Vec<f64> = (0..param.elem_count())
                .map(|_| random.sample(StandardNormal))
                .collect();
            let direction = Tensor::from_vec(values, param.shape(), &Device::Cpu)?;
            // The norms are sums of many squares: in double precision on the CPU.
            let weight = param.as_detached_tensor().to_device(&Device::Cpu)?;
            let weight = weight.to_dtype(DType::F64)?;
            let direction = normalise(&direction, &weight, normalisation, ignored)?;
            direction.to_dtype(param.dtype())?.to_device(param.device())
        });
        Ok(Self(tensors.collect::<Result<_>>()?))
    }

    /// The tensors, in the order of the parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }
}
