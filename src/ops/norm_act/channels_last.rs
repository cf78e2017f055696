//! Normalisation with running statistics of channels-last images, for inference.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor};

use super::pixels::Pixels;
use super::running::RunningNormAct;
use super::statistics::OP;
use crate::autograd::{apply1, apply2};
use crate::ops::channels_last::{images, pixels};
use crate::ops::storage::{Float, build};
use crate::parallel::PARALLEL_THRESHOLD;

/// act(norm(x) + residual) of channels-last images; `None` for others.
pub(super) fn norm_act(
    x: &Tensor,
    residual: Option<&Tensor>,
    norm: impl FnOnce() -> Result<RunningNormAct>,
) -> Result<Option<Tensor>> {
    let Some(x) = pixels(x)? else {
        return Ok(None);
    };
    let y = match residual {
        None => apply1(PixelNormAct(norm()?), &x)?,
        Some(residual) => match pixels(residual)? {
            Some(residual) => apply2(PixelNormAct(norm()?), &x, &residual)?,
            None => return Ok(None),
        },
    };
    images(&y).map(Some)
}

/// act(norm(x) + residual) of `[N, H, W, C]` in f32, without a backward.
struct PixelNormAct(RunningNormAct);

impl PixelNormAct {
    fn forward(&self, x: &[f32], residual: Option<&[f32]>, channels: usize) -> Vec<f32> {
        assert!(residual.is_none_or(|r| r.len() == x.len()));
        // A chunk stays in the L1 cache while vector after vector of channels passes.
        let pixels = (CHUNK / channels).max(1);
        let write = |i: usize, y: &mut [MaybeUninit<f32>]| {
            let start = i * pixels * channels;
            let pixels = Pixels {
                x: x[start..].as_ptr(),
                pitch: (channels, channels),
                residual: residual.map(|r| r[start..].as_ptr()),
                y: y.as_mut_ptr().cast(),
                channels: 0..channels,
                pixels: y.len() / channels,
            };
            // SAFETY: whole pixels of slices of one length; the chunk is this thread's.
            unsafe { self.0.apply_to_pixels(pixels) };
        };
        // SAFETY: a chunk is some whole pixels, all of whose channels are written.
        unsafe { build(x.len(), pixels * channels, write) }
    }
}

/// Values of a chunk: 16 KiB.
const CHUNK: usize = PARALLEL_THRESHOLD / 4;

fn channels(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(0)
}

impl CustomOp1 for PixelNormAct {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(&f32::read(x, layout)?, None, channels(layout));
        Ok((f32::into_storage(y, DType::F32)?, layout.shape().clone()))
    }
}

impl CustomOp2 for PixelNormAct {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = f32::read(residual, residual_layout)?;
        let y = self.forward(&f32::read(x, layout)?, Some(&residual), channels(layout));
        Ok((f32::into_storage(y, DType::F32)?, layout.shape().clone()))
    }
}
