//! Images with their labels, as tensors.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use crate::ops::Target;

/// A batch of images with their labels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[B, channels, height, width]`, f32, normalised.
    pub images: Tensor,
    /// `[B]`, u32: the (fine) label of each image. With mixup or CutMix, the label of the image which the
    /// other one is mixed into.
    pub labels: Tensor,
    /// `[B, K]`, f32: the probability of each class if mixup or CutMix is on, before label smoothing.
    pub targets: Option<Tensor>,
    /// The position of the batch in its epoch, counted from 0.
    pub index: usize,
}

impl Batch {
    /// The target of the loss: the mixed labels if there are any, else the labels.
    pub fn target(&self) -> Target<'_> {
        match &self.targets {
            Some(targets) => Target::Probabilities(targets),
            None => Target::Classes(&self.labels),
        }
    }

    /// The first `count` images, or all if there are fewer.
    ///
    /// # Errors
    /// If a tensor cannot be made.
    pub fn take(&self, count: usize) -> Result<Self> {
        let count = count.min(self.labels.dim(0)?);
        self.narrow(0..count)
    }

    /// The images at these places.
    pub(super) fn narrow(&self, places: Range<usize>) -> Result<Self> {
        let part = |tensor: &Tensor| tensor.narrow(0, places.start, places.len());
        Ok(Self {
            images: part(&self.images)?,
            labels: part(&self.labels)?,
            targets: self.targets.as_ref().map(part).transpose()?,
            index: self.index,
        })
    }

    /// The same batch on `device`.
    pub(super) fn on(self, device: &Device) -> Result<Self> {
        let moved = |tensor: &Tensor| tensor.to_device(device);
        Ok(Self {
            images: moved(&self.images)?,
            labels: moved(&self.labels)?,
            targets: self.targets.as_ref().map(moved).transpose()?,
            ..self
        })
    }
}
