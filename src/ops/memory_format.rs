//! The order of a batch of images in memory.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use candle_core::Layout;

use crate::parallel::{PARALLEL_THRESHOLD, for_each_chunk, written};
use crate::simd::transpose::transpose;
use crate::simd::{Simd, WithSimd, dispatch};

/// The order of the values of `[N, C, H, W]` in memory, with PyTorch's names.
///
/// It shows in the strides of a tensor only: the axes keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryFormat {
    /// Plane after plane, in row-major order.
    #[default]
    Contiguous,
    /// Pixel after pixel, with the channels of a pixel next to each other.
    ChannelsLast,
}

/// The distances between neighbouring values of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageStrides {
    pub image: usize,
    pub channel: usize,
    pub pixel: usize,
}

impl MemoryFormat {
    /// The format of a layout; `None` if its values are not next to each other in either order. A
    /// layout in both orders, such as a single pixel, is contiguous.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        if layout.is_contiguous() {
            return Some(Self::Contiguous);
        }
        let &[_, c, h, w] = layout.dims() else {
            return None;
        };
        let strides = [c * h * w, 1, w * c, c];
        let mut axes = layout.dims().iter().zip(layout.stride()).zip(strides);
        axes.all(|((size, stride), wanted)| *size == 1 || *stride == wanted)
            .then_some(Self::ChannelsLast)
    }

    /// The strides of images with `channels` planes of `plane` values.
    pub(crate) fn strides(self, channels: usize, plane: usize) -> ImageStrides {
        let (channel, pixel) = match self {
            Self::Contiguous => (plane, 1),
            Self::ChannelsLast => (1, channels),
        };
        ImageStrides {
            image: channels * plane,
            channel,
            pixel,
        }
    }
}

/// The values of images with `channels` planes of `plane` values in another order.
pub(crate) fn reordered(
    values: Cow<'_, [f32]>,
    (from, to): (MemoryFormat, MemoryFormat),
    channels: usize,
    plane: usize,
) -> Cow<'_, [f32]> {
    let (rows, columns) = match from {
        MemoryFormat::Contiguous => (channels, plane),
        MemoryFormat::ChannelsLast => (plane, channels),
    };
    if from == to || rows <= 1 || columns <= 1 || values.is_empty() {
        return values;
    }
    Cow::Owned(transposed(&values, rows, columns))
}

/// Matrices of `columns` x `rows` from matrices of `rows` x `columns`.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let matrix = rows * columns;
    let matrices = values.len() / matrix;
    let threads = rayon::current_num_threads();
    // One thread transposes whole matrices, or bands of the columns of each.
    let band = match matrices >= threads || matrix <= PARALLEL_THRESHOLD {
        true => columns,
        false => columns.div_ceil(threads).next_multiple_of(BAND),
    };
    let min_len = PARALLEL_THRESHOLD.div_ceil(band * rows);
    let bands = columns.div_ceil(band);
    let write = |to: &mut [MaybeUninit<f32>]| {
        let mut parts: Vec<(usize, usize, &mut [MaybeUninit<f32>])> = Vec::new();
        for (i, to) in to.chunks_exact_mut(matrix).enumerate() {
            parts.extend(
                to.chunks_mut(band * rows)
                    .enumerate()
                    .map(|(b, to)| (i, b * band, to)),
            );
        }
        debug_assert_eq!(parts.len(), matrices * bands);
        for_each_chunk(&mut parts, 1, min_len, &|_, parts| {
            for (i, first, to) in parts {
                dispatch(Columns {
                    from: &values[*i * matrix..][..matrix],
                    columns,
                    first: *first,
                    rows,
                    to,
                });
            }
        });
    };
    // SAFETY: the bands are all columns of all matrices, and `Columns` writes each value of a band.
    unsafe { written(values.len(), write) }
}

/// Columns of a band are a multiple of this, so that vectors do not end in the middle of it.
const BAND: usize = 16;

/// Some columns of a matrix, as rows.
struct Columns<'a, 'b> {
    from: &'a [f32],
    columns: usize,
    first: usize,
    rows: usize,
    to: &'b mut [MaybeUninit<f32>],
}

impl WithSimd for Columns<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            from,
            columns,
            first,
            rows,
            to,
        } = self;
        transpose(simd, &from[first..], (rows, columns), to);
    }
}
