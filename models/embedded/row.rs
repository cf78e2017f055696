//! A row of the table of embedded weights.

use candle_mish::activation::Activation;

/// Weights of one network inside of the program. The header of the file has the classes and the
/// preprocessing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Embedded {
    /// The network's name in the registry.
    pub model: &'static str,
    /// The activation that the weights were trained with.
    pub activation: Activation,
    /// The data set that they were trained on.
    pub dataset: &'static str,
    /// The number of classes.
    pub num_classes: usize,
    /// The share of the test images that these f16 weights classify correctly.
    pub top1: f64,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: &'static str,
    /// The safetensors file.
    pub bytes: &'static [u8],
}
