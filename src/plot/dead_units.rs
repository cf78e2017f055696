//! Units that no longer respond to any image.

use candle_core::{DType, ModuleT, Result, Tensor, Var};
use serde::Serialize;

use crate::autograd::value_and_grad;
use crate::nn::map_activations;

/// How strongly each unit of an activation layer responds to images. A unit is a channel: entry i of
/// the second dimension, at all positions.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitResponses {
    /// The path of the activation layer.
    pub layer: String,
    /// The largest magnitude of the output of each unit over images and positions.
    pub outputs: Vec<f32>,
    /// The largest magnitude of the derivative of the activation at the unit's inputs.
    pub derivatives: Vec<f32>,
}

/// The units of a layer that are dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DeadUnits {
    /// All units of the layer.
    pub units: usize,
    /// Units whose output is zero for all images: they tell later layers nothing.
    pub zero_output: usize,
    /// Units whose derivative is zero for all images: no gradient passes, so they do not learn.
    pub zero_derivative: usize,
}

impl std::ops::Add for DeadUnits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            units: self.units + other.units,
            zero_output: self.zero_output + other.zero_output,
            zero_derivative: self.zero_derivative + other.zero_derivative,
        }
    }
}

/// The responses of all activation layers of `network` to `batches` of images, `[N, C, H, W]`, in
/// evaluation mode.
///
/// # Errors
/// The errors of the network, or values that are not a number.
pub fn unit_responses<'a>(
    network: &dyn ModuleT,
    batches: impl IntoIterator<Item = &'a Tensor>,
) -> Result<Vec<UnitResponses>> {
    let mut responses: Vec<UnitResponses> = Vec::new();
    for images in batches {
        let run = || network.forward_t(images, false);
        let (_, layers) = map_activations(respond, run)?;
        // Each batch runs the same layers in the same order.
        for (i, (layer, [outputs, derivatives])) in layers.into_iter().enumerate() {
            match responses.get_mut(i) {
                Some(known) => {
                    raise(&mut known.outputs, &outputs);
                    raise(&mut known.derivatives, &derivatives);
                }
                None => responses.push(UnitResponses {
                    layer,
                    outputs,
                    derivatives,
                }),
            }
        }
    }
    Ok(responses)
}

/// The largest output and derivative of each unit.
fn respond(layer: &dyn ModuleT, input: &Tensor) -> Result<[Vec<f32>; 2]> {
    let input = Var::from_tensor(&input.detach())?;
    let forward = || {
        let output = layer.forward_t(input.as_tensor(), false)?;
        Ok((output.clone(), output.detach()))
    };
    // An output depends on its own input alone: the gradient of their sum is the derivative.
    let (_, output, gradients) = value_and_grad(forward)?;
    let derivative = match gradients.get(input.as_tensor()) {
        Some(gradient) => gradient.clone(),
        None => input.as_tensor().zeros_like()?.detach(),
    };
    Ok([largest(&output)?, largest(&derivative)?])
}

/// The largest magnitude of each entry of the second dimension.
fn largest(x: &Tensor) -> Result<Vec<f32>> {
    let by_unit = x.transpose(0, 1)?.flatten_from(1)?;
    let largest = by_unit.abs()?.max(1)?.to_dtype(DType::F32)?.to_vec1()?;
    if largest.iter().any(|value: &f32| value.is_nan()) {
        candle_core::bail!("an activation is not a number");
    }
    Ok(largest)
}

fn raise(values: &mut [f32], others: &[f32]) {
    for (value, other) in values.iter_mut().zip(others) {
        *value = value.max(*other);
    }
}

impl UnitResponses {
    /// Counts the units whose responses are at most `threshold`; 0 counts those that are exactly zero.
    pub fn dead(&self, threshold: f32) -> DeadUnits {
        let count = |values: &[f32]| values.iter().filter(|value| **value <= threshold).count();
        DeadUnits {
            units: self.outputs.len(),
            zero_output: count(&self.outputs),
            zero_derivative: count(&self.derivatives),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::activation::Activation;
    use crate::nn::Act;

    /// Two images of three channels: below -1, mixed, and above 1.
    fn images() -> Tensor {
        let values = [
            -3.0f32, -2.0, -0.5, 0.5, 1.5, 2.0, //
            -2.0, -1.5, 0.0, -0.25, 3.0, 4.0,
        ];
        Tensor::from_slice(&values, (2, 3, 2), &Device::Cpu).expect("a tensor")
    }

    fn dead(activation: Activation, threshold: f32) -> DeadUnits {
        let layer = Act::new(&activation).expect("a layer").with_path("act");
        let images = images();
        let all = unit_responses(&layer, [&images]).expect("responses");
        // Image by image it is the same.
        let halves = [0, 1].map(|i| images.narrow(0, i, 1).expect("an image"));
        assert_eq!(unit_responses(&layer, &halves).expect("responses"), all);
        assert_eq!((all.len(), all[0].layer.as_str()), (1, "act"));
        all[0].dead(threshold)
    }

    #[test]
    fn a_unit_is_dead_if_it_is_zero_for_every_image() {
        let counts = |dead: DeadUnits| [dead.units, dead.zero_output, dead.zero_derivative];
        assert_eq!(counts(dead(Activation::Relu, 0.0)), [3, 1, 1]);
        // Saturated on both sides, with outputs of -1 and 1.
        let hardtanh = Activation::Hardtanh {
            min: -1.0,
            max: 1.0,
        };
        assert_eq!(counts(dead(hardtanh, 0.0)), [3, 0, 2]);
        assert_eq!(counts(dead(Activation::Mish, 0.0)), [3, 0, 0]);
        // Mish is at most 0.31 below 0, with a derivative of at most 0.12 from -3 to -1.5.
        assert_eq!(counts(dead(Activation::Mish, 0.31)), [3, 1, 1]);
    }
}
