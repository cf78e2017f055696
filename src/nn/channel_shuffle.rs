//! The shuffle between grouped convolutions.

use candle_core::{Module, Result, Tensor};

use crate::ops::channel_shuffle;

/// The first channel of each group, then the second of each, and so on, so that the next
/// grouped convolution sees channels of every group (Zhang et al., "ShuffleNet", 2017).
///
/// # Shapes
/// - input and output: [N, C, …], C a multiple of the groups
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelShuffle {
    groups: usize,
}

impl ChannelShuffle {
    /// A layer for channels in `groups` groups.
    ///
    /// # Errors
    /// If there is no group.
    pub fn new(groups: usize) -> Result<Self> {
        if groups == 0 {
            candle_core::bail!("channel_shuffle: no groups");
        }
        Ok(Self { groups })
    }
}

impl Module for ChannelShuffle {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        channel_shuffle(x, self.groups)
    }
}
