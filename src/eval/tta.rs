//! Test-time augmentation.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

/// A network whose logits are the mean over each image and its mirror image.
///
/// # Shapes
/// - images: [N, C, H, W]
pub struct Mirrored<'a, M: ?Sized>(pub &'a M);

impl<M: ModuleT + ?Sized> ModuleT for Mirrored<'_, M> {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let mirrored = images.flip(&[3])?.contiguous()?;
        let logits = self.0.forward_t(images, train)?;
        (logits + self.0.forward_t(&mirrored, train)?)? / 2.0
    }
}
