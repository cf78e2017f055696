//! Combinations of channels-last images, for inference.

use std::mem::MaybeUninit;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor, bail,
};

use crate::autograd::{apply1, apply2};
use crate::ops::channels_last::{images, pixels};
use crate::ops::storage::{Float, build};

/// All `tensors` as `[N, H, W, C]`, if each is channels-last.
pub(super) fn all_pixels(tensors: &[&Tensor]) -> Result<Option<Vec<Tensor>>> {
    tensors.iter().map(|tensor| pixels(tensor)).collect()
}

/// The channels of all `tensors` of the same images; `None` unless each tensor is channels-last.
pub(super) fn cat_channels(tensors: &[&Tensor]) -> Result<Option<Tensor>> {
    match all_pixels(tensors)?.as_deref() {
        Some([first, others @ ..]) => {
            let others = others.to_vec();
            images(&apply1(CatChannels { others }, first)?).map(Some)
        }
        _ => Ok(None),
    }
}

/// The last axes of all tensors.
struct CatChannels {
    others: Vec<Tensor>,
}

impl CustomOp1 for CatChannels {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn cpu_fwd(&self, first: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let guards: Vec<_> = self.others.iter().map(Tensor::storage_and_layout).collect();
        let mut parts = vec![(f32::read(first, layout)?, last(layout))];
        for (storage, layout) in &guards {
            match &**storage {
                Storage::Cpu(storage) => parts.push((f32::read(storage, layout)?, last(layout))),
                _ => bail!("cat: the tensors are not on one device"),
            }
        }
        let channels: usize = parts.iter().map(|(_, channels)| channels).sum();
        let mut dims = layout.dims().to_vec();
        dims.pop();
        let pixels: usize = dims.iter().product();
        dims.push(channels);
        let band = (CHUNK / channels.max(1)).max(1);
        let copy = |index: usize, to: &mut [MaybeUninit<f32>]| {
            let start = index * band;
            for (p, mut to) in to.chunks_exact_mut(channels).enumerate() {
                for (part, channels) in &parts {
                    let (head, tail) = to.split_at_mut(*channels);
                    head.write_copy_of_slice(&part[(start + p) * channels..][..*channels]);
                    to = tail;
                }
            }
        };
        // SAFETY: a chunk is some whole pixels, and the parts have all of their channels.
        let y = unsafe { build(pixels * channels, band * channels.max(1), copy) };
        Ok((f32::into_storage(y, DType::F32)?, dims.into()))
    }
}

/// Values that a thread copies at once.
const CHUNK: usize = 1 << 12;

fn last(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(0)
}

/// `x[n, c, ..] * s[n, c]` of channels-last images; `None` for others, or if the factors have a
/// graph.
pub(super) fn scale_channels(x: &Tensor, s: &Tensor) -> Result<Option<Tensor>> {
    match pixels(x)? {
        Some(x) if !s.track_op() && s.dtype() == DType::F32 => {
            images(&apply2(ScalePixels, &x, s)?).map(Some)
        }
        _ => Ok(None),
    }
}

/// `[N, H, W, C]` times the `N C` factors of its images.
struct ScalePixels;

impl CustomOp2 for ScalePixels {
    fn name(&self) -> &'static str {
        "scale_channels"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        s: &CpuStorage,
        s_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, height, width, channels) = x_layout.shape().dims4()?;
        let (x, s) = (f32::read(x, x_layout)?, f32::read(s, s_layout)?);
        let row = width * channels;
        let scale = |index: usize, y: &mut [MaybeUninit<f32>]| {
            let s = &s[index / height * channels..][..channels];
            let x = x[index * row..].chunks_exact(channels);
            for (y, x) in y.chunks_exact_mut(channels).zip(x) {
                for ((y, x), s) in y.iter_mut().zip(x).zip(s) {
                    y.write(x * s);
                }
            }
        };
        // SAFETY: a chunk is a row of pixels, each of which is written.
        let y = unsafe { build(x.len(), row, scale) };
        Ok((f32::into_storage(y, DType::F32)?, x_layout.shape().clone()))
    }
}
