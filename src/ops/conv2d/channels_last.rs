//! The convolution with a channels-last result, for inference.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};

use super::geometry::Geometry;
use super::inference::Inference;
use super::pack::packed_weight::PackedWeight;
use super::storage::forward_inference;
use crate::ops::memory_format::MemoryFormat;
use crate::ops::storage::{Float, on_cpu, read_images};

/// The convolution in `f32`, without a backward: the result is `[n, out_h, out_w, c_out]`.
pub struct ChannelsLast {
    geometry: Geometry,
    packed: Option<PackedWeight>,
    bias: Option<Vec<f32>>,
}

impl ChannelsLast {
    pub fn new(
        geometry: Geometry,
        packed: Option<&PackedWeight>,
        bias: Option<&Tensor>,
    ) -> Result<Self> {
        let read = |storage: &CpuStorage, layout: &Layout| {
            f32::read(storage, layout).map(|bias| bias.into_owned())
        };
        Ok(Self {
            geometry,
            packed: packed.cloned(),
            bias: bias.map(|bias| on_cpu("conv2d", bias, read)).transpose()?,
        })
    }
}

impl CustomOp2 for ChannelsLast {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inference = Inference {
            packed: self.packed.as_ref(),
            format: MemoryFormat::ChannelsLast,
            ..Inference::default()
        };
        let (x, w) = (read_images(x, x_layout)?, f32::read(w, w_layout)?);
        let bias = self.bias.as_deref();
        let y = forward_inference(&self.geometry, x, &w, bias, inference)?;
        let [n, channels, height, width] = self.geometry.out_shape();
        let shape = Shape::from((n, height, width, channels));
        Ok((f32::into_storage(y, DType::F32)?, shape))
    }
}
