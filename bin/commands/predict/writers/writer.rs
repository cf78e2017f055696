//! What receives results, and what writes them in one format.

use crate::commands::predict::ranking::Prediction;

/// Receives the logits of each image, in order.
pub(in crate::commands::predict) trait Results {
    /// Adds an image.
    ///
    /// # Errors
    /// If the destination cannot be written.
    fn add(&mut self, image: &str, logits: &[f32]) -> anyhow::Result<()>;

    /// Passes on what was added so far, where the destination is read while it is written.
    ///
    /// # Errors
    /// If the destination cannot be written.
    fn flush(&mut self) -> anyhow::Result<()>;

    /// Completes the results. Without it, a file does not appear.
    ///
    /// # Errors
    /// If the destination cannot be written.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// Writes the classes of images in one format.
pub(super) trait Writer {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()>;

    fn flush(&mut self) -> anyhow::Result<()>;

    fn finish(self) -> anyhow::Result<()>;
}
