//! A second training loss.

use candle_core::{Result, Tensor};

/// A network that adds its own loss to the loss of its logits, such as the error of a reconstruction
/// of its input.
pub trait AuxiliaryLoss {
    /// The logits in training, as the network's `forward_t` gives them, and the network's own loss.
    ///
    /// # Shapes
    /// - images: [N, C, H, W]; labels: `[N]`, the classes of the images
    /// - logits: [N, K]; loss: a scalar
    ///
    /// # Errors
    /// If the images or labels have other shapes.
    fn forward_with_loss(&self, images: &Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)>;
}
