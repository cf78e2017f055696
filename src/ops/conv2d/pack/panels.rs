//! Images as `[pixel][channel]`, for the weight gradient with channel lanes.

use std::ops::Range;

use pulp::Simd;

use super::super::geometry::Geometry;
use crate::simd::transpose::{Matrix, to_pixel_major};

/// Output rows of some images, and the input rows that their taps see.
pub struct ImageBand {
    pub images: Range<usize>,
    pub rows: Range<usize>,
    pub seen: Range<usize>,
}

impl ImageBand {
    /// The band of `rows`, which must not be empty.
    pub fn new(g: &Geometry, images: Range<usize>, rows: Range<usize>) -> Self {
        let top = (rows.start * g.stride.0).saturating_sub(g.padding.0);
        let last = (rows.end - 1) * g.stride.0 + (g.kh - 1) * g.dilation.0;
        let bottom = (last + 1).saturating_sub(g.padding.0).min(g.h);
        Self {
            images,
            rows,
            seen: top.min(bottom)..bottom,
        }
    }
}

/// How a band is packed: dy as `[image][pixel][output channel of a block]`, x as
/// `[panel][image][pixel][lane]`. A panel has as many input channels as a vector has lanes.
pub struct Panels {
    /// Output channels of a block.
    pub width: usize,
    /// Distance between the images of dy.
    pub dy_image: usize,
    /// Distance between the images of a panel of x.
    pub x_image: usize,
    /// Distance between the panels of x.
    pub panel: usize,
}

impl Panels {
    /// Packs the input channels of a group; `x` is the whole input.
    #[inline(always)]
    pub fn pack_x<S: Simd>(&self, simd: S, source: &Source, x: &[f32], to: &mut [f32]) {
        let Source { g, band, group } = *source;
        let lanes = S::F32_LANES;
        for (p, c) in (0..g.group_in()).step_by(lanes).enumerate() {
            for (i, image) in band.images.clone().enumerate() {
                let channel = image * g.c_in + group * g.group_in() + c;
                let at = channel * g.in_plane() + band.seen.start * g.w;
                let sizes = Matrix {
                    channels: lanes.min(g.group_in() - c),
                    pixels: band.seen.len() * g.w,
                    plane: g.in_plane(),
                    width: lanes,
                };
                let to = &mut to[p * self.panel + i * self.x_image..];
                to_pixel_major(simd, x.get(at..).unwrap_or_default(), sizes, to);
            }
        }
    }

    /// Packs the block of output channels of a group that begins with channel `first`; `dy` is
    /// the whole gradient.
    #[inline(always)]
    pub fn pack_dy<S: Simd>(
        &self,
        simd: S,
        source: &Source,
        first: usize,
        dy: &[f32],
        to: &mut [f32],
    ) {
        let Source { g, band, group } = *source;
        let lanes = S::F32_LANES;
        for (i, image) in band.images.clone().enumerate() {
            for v in (0..self.width).step_by(lanes) {
                let channel = image * g.c_out + group * g.group_out() + first + v;
                let at = channel * g.out_plane() + band.rows.start * g.out_w;
                let sizes = Matrix {
                    channels: lanes.min(g.group_out().saturating_sub(first + v)),
                    pixels: band.rows.len() * g.out_w,
                    plane: g.out_plane(),
                    width: self.width,
                };
                let to = &mut to[i * self.dy_image + v..];
                to_pixel_major(simd, dy.get(at..).unwrap_or_default(), sizes, to);
            }
        }
    }
}

/// The part of the images to pack.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub g: &'a Geometry,
    pub band: &'a ImageBand,
    pub group: usize,
}
