//! Interleaves the channels of several groups, so that the next grouped convolution mixes them.

mod composed;

use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use crate::autograd;
use crate::autograd::trace::{Operation, noted};
use crate::ops::channels_last::{images, pixels};
use crate::ops::composed::{apply1, run1};
use crate::ops::storage::{Float, build, with_float};

const OP: &str = "channel_shuffle";

/// The first channel of each of `groups` groups, then the second of each, and so on (Zhang et
/// al., "ShuffleNet", 2017): `[N, C, ..]` to the same shape.
///
/// # Errors
/// If the groups do not divide the channels, or `x` is not floating-point.
pub fn channel_shuffle(x: &Tensor, groups: usize) -> Result<Tensor> {
    let &[_, channels, ..] = x.dims() else {
        bail!("{OP} takes [N, C, ..], not {:?}", x.dims());
    };
    if groups == 0 || !channels.is_multiple_of(groups) {
        bail!("{OP}: {groups} groups do not divide {channels} channels");
    }
    let y = match pixels(x)? {
        Some(x) => images(&autograd::apply1(ShufflePixels { groups }, &x)?)?,
        None => apply1(ChannelShuffle { groups }, x)?,
    };
    noted(y, || Operation::ChannelShuffle { groups }, &[x])
}

struct ChannelShuffle {
    groups: usize,
}

impl CustomOp1 for ChannelShuffle {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[_, channels, ref rest @ ..] = layout.dims() else {
            bail!("{OP} takes [N, C, ..], not {:?}", layout.dims());
        };
        // The planes of an empty tensor may have any size.
        let plane: usize = if layout.dims().contains(&0) {
            0
        } else {
            rest.iter().product()
        };
        let per_group = channels / self.groups;
        let dtype = x.dtype();
        let y = with_float!(dtype, OP, T => {
            let x = T::read(x, layout)?;
            let image = channels * plane;
            let copy = |index: usize, y: &mut [MaybeUninit<T>]| {
                let x = &x[index * image..][..image];
                for (channel, y) in y.chunks_exact_mut(plane).enumerate() {
                    let (place, group) = (channel / self.groups, channel % self.groups);
                    let source = group * per_group + place;
                    for (y, x) in y.iter_mut().zip(&x[source * plane..]) {
                        y.write(*x);
                    }
                }
            };
            // SAFETY: an image is a whole number of planes, each of which is written.
            T::into_storage(unsafe { build(x.len(), image.max(1), copy) }, dtype)?
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        // A shuffle with as many groups as a group has channels is the inverse.
        let groups = x.dim(1)? / self.groups;
        if groups == 0 {
            return Ok(Some(grad.clone()));
        }
        Ok(Some(run1(&ChannelShuffle { groups }, grad)?))
    }
}

/// [`ChannelShuffle`] of `[N, H, W, C]` in f32, without a backward.
struct ShufflePixels {
    groups: usize,
}

impl CustomOp1 for ShufflePixels {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, _, width, channels) = layout.shape().dims4()?;
        let per_group = channels / self.groups;
        let x = f32::read(x, layout)?;
        let row = width * channels;
        let copy = |index: usize, y: &mut [MaybeUninit<f32>]| {
            let x = x[index * row..].chunks_exact(channels);
            for (y, x) in y.chunks_exact_mut(channels).zip(x) {
                for (place, y) in y.chunks_exact_mut(self.groups).enumerate() {
                    for (group, y) in y.iter_mut().enumerate() {
                        y.write(x[group * per_group + place]);
                    }
                }
            }
        };
        // SAFETY: a chunk is a row of pixels, and the groups divide their channels.
        let y = unsafe { build(x.len(), row, copy) };
        Ok((f32::into_storage(y, DType::F32)?, layout.shape().clone()))
    }
}
