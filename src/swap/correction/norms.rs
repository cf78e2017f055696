//! Batch-norm statistics, re-estimated with everything before the norm already corrected.

use candle_core::Result;

use super::channels::Moments;
use super::corrector::{Corrector, Tensors};
use crate::nn::{ObservedLayer, input_of};
use crate::swap::variant::Variant;

impl Corrector<'_> {
    /// Sets the running statistics of the norm at `path` to the statistics of its input over all images.
    pub(super) fn reestimate(
        &self,
        variant: &Variant,
        tensors: &Tensors,
        path: &str,
    ) -> Result<()> {
        let (mean, variance) = (
            format!("{path}.running_mean"),
            format!("{path}.running_var"),
        );
        if !tensors.has(&mean) {
            return Ok(());
        }
        let mut moments = Moments::default();
        for images in self.images()? {
            let images = images?;
            let forward = || variant.frozen.forward_t(&images, false);
            moments.add(&input_of(ObservedLayer::BatchNorm, path, forward)?)?;
        }
        tensors.write(&mean, &moments.means())?;
        tensors.write(&variance, &moments.variances())
    }
}
