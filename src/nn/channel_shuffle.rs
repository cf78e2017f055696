//! The shuffle between grouped convolutions.

use candle_core::{Module, Result, Tensor};

use crate::ops::channel_shuffle;

/// Interleaves the channels of the groups: first the first channel of each group, then the second
/// of each, and so on. The next grouped convolution then sees channels of every group (Zhang et
/// al., "ShuffleNet", 2017).
///
/// # Shapes
/// - input and output: [N, C, …], C a multiple of the number of groups
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelShuffle {
    groups: usize,
}

impl ChannelShuffle {
    /// A layer for channels in `groups` groups.
    ///
    /// # Errors
    /// If `groups` is 0.
    pub fn new(groups: usize) -> Result<Self> {
        if groups == 0 {
            candle_core::bail!("channel_shuffle: groups must not be 0");
        }
        Ok(Self { groups })
    }
}

impl Module for ChannelShuffle {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        channel_shuffle(x, self.groups)
    }
}
