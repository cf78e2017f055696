//! The shuffle in Candle's ops.

use candle_core::{Result, Tensor};

use super::ChannelShuffle;
use crate::ops::composed::Composed1;

impl Composed1 for ChannelShuffle {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let (images, channels) = (x.dim(0)?, x.dim(1)?);
        let plane = x.dims().iter().skip(2).product::<usize>();
        let grouped = x.reshape((images, self.groups, channels / self.groups, plane))?;
        let shuffled = grouped.transpose(1, 2)?.force_contiguous()?;
        shuffled.reshape(x.shape())
    }
}
