//! Random dense networks.

use candle_core::{Device, Result, Tensor};
use rand::RngCore;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use super::mean_field::MeanField;
use crate::rng::Generator;

/// A dense network with random weights in double precision. The pre-activations of its first layer are
/// standard normal numbers; each further layer computes `W f(z) + b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseNetwork {
    /// Activation and standard deviations.
    pub field: MeanField,
    /// Number of layers.
    pub depth: usize,
    /// Units of each layer.
    pub width: usize,
    /// Inputs to average over.
    pub inputs: usize,
}

/// The signal in the layers of a network: names of layers with a value each, from the input on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signals {
    /// The variance of the pre-activations.
    pub variances: Vec<(String, f64)>,
    /// The norm of the gradient.
    pub gradient_norms: Vec<(String, f64)>,
}

impl DenseNetwork {
    /// The mean square of the pre-activations of each layer over units and inputs, and the root mean
    /// square over inputs of the norm of the gradient with respect to them. The loss is a random
    /// projection of the last layer with a gradient of expected norm 1.
    ///
    /// # Errors
    /// If a tensor cannot be allocated.
    pub fn signals(&self, seed: u64) -> Result<Signals> {
        let random = Generator::named(seed, "dense network");
        let mut random = random.lock();
        let (width, inputs) = (self.width, self.inputs);
        let activation = self.field.activation;
        let mut normal =
            |rows: usize, columns: usize, std: f64| normal_matrix(&mut *random, rows, columns, std);
        let mut layers = vec![normal(width, inputs, 1.0)?];
        let mut weights = Vec::with_capacity(self.depth);
        for last in 1..self.depth {
            let std = self.field.sigma_w / (width as f64).sqrt();
            let weight = normal(width, width, std)?;
            let bias = normal(width, 1, self.field.sigma_b)?;
            let values = map(&layers[last - 1], |z| activation.value(z))?;
            layers.push(weight.matmul(&values)?.broadcast_add(&bias)?);
            weights.push(weight);
        }
        let mut gradient = normal(width, inputs, (width as f64).sqrt().recip())?;
        let mut norms = vec![mean_square(&gradient)?];
        for (z, weight) in layers.iter().zip(&weights).rev() {
            let slopes = map(z, |z| activation.derivative(z))?;
            gradient = (weight.t()?.matmul(&gradient)? * slopes)?;
            norms.push(mean_square(&gradient)?);
        }
        let named = |(i, value): (usize, f64)| ((i + 1).to_string(), value);
        let variances = layers.iter().map(mean_square).collect::<Result<Vec<_>>>()?;
        let norms = norms.into_iter().rev();
        let norms = norms.map(|norm| (norm * width as f64).sqrt());
        Ok(Signals {
            variances: variances.into_iter().enumerate().map(named).collect(),
            gradient_norms: norms.enumerate().map(named).collect(),
        })
    }
}

fn normal_matrix(
    random: &mut impl RngCore,
    rows: usize,
    columns: usize,
    std: f64,
) -> Result<Tensor> {
    let mut draw = || std * Distribution::<f64>::sample(&StandardNormal, random);
    let values: Vec<f64> = (0..rows * columns).map(|_| draw()).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

fn map(x: &Tensor, f: impl Fn(f64) -> f64) -> Result<Tensor> {
    let values = x.flatten_all()?.to_vec1::<f64>()?;
    let values: Vec<f64> = values.into_iter().map(f).collect();
    Tensor::from_vec(values, x.shape(), &Device::Cpu)
}

fn mean_square(x: &Tensor) -> Result<f64> {
    x.sqr()?.mean_all()?.to_scalar()
}
