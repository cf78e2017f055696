//! What a network is trained on beside its logits.

use candle_core::{Result, Tensor};

/// A network with a loss of its own, such as that of a reconstruction of its input, which is
/// added to that of its logits.
pub trait AuxiliaryLoss {
    /// The logits [N, K] of images [N, C, H, W] in training, as the network's `forward_t` gives
    /// them, and its own loss, a scalar. `labels` `[N]` are the classes of the images.
    ///
    /// # Errors
    /// If the images or labels do not fit.
    fn forward_with_loss(&self, images: &Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)>;
}
