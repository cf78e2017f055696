//! Ops on the pixels of channels-last images.
//!
//! Inference on the CPU can keep the channels of a pixel next to each other from layer to layer.
//! Vectors of channels are then loaded and stored as they are, where planes must be transposed
//! before and after most layers. Ops that keep the format run on `[N, H, W, C]`. The others read
//! such a tensor like any with unusual strides.

use candle_core::{DType, Result, Tensor};

use super::composed::composes;
use super::memory_format::MemoryFormat;

/// `x` as `[N, H, W, C]`, if it is in channels-last order and an op may keep that: in f32 on the
/// CPU, with a kernel and without a graph.
pub(crate) fn pixels(x: &Tensor) -> Result<Option<Tensor>> {
    if x.rank() != 4 || x.dtype() != DType::F32 || x.track_op() || composes(x) {
        return Ok(None);
    }
    match MemoryFormat::of(x.layout()) {
        Some(MemoryFormat::ChannelsLast) => x.permute((0, 2, 3, 1)).map(Some),
        _ => Ok(None),
    }
}

/// `[N, H, W, C]` as `[N, C, H, W]`, without a copy.
pub(crate) fn images(pixels: &Tensor) -> Result<Tensor> {
    pixels.permute((0, 3, 1, 2))
}
