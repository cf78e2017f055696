//! Images as `[pixel][channel]`, for the weight gradient with channel lanes.

use std::ops::Range;

use pulp::Simd;

use super::super::geometry::Geometry;
use super::pairs::{GAP, pair_row, row_pitch};
use crate::simd::transpose::{Matrix, to_pixel_major};

/// Output rows of some images, and the input rows that their taps see.
pub struct ImageBand {
    /// With products in bfloat16, pairs of images.
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
    pub fn pack_x<S: Simd>(&self, simd: S, source: &mut Source, x: &[f32], to: &mut [f32]) {
        let Source { g, band, group, .. } = *source;
        let lanes = S::F32_LANES;
        for (p, c) in (0..g.group_in()).step_by(lanes).enumerate() {
            for (i, image) in band.images.clone().enumerate() {
                let at = |image: usize| {
                    let channel = image * g.c_in + group * g.group_in() + c;
                    channel * g.in_plane() + band.seen.start * g.w
                };
                let sizes = Matrix {
                    channels: lanes.min(g.group_in() - c),
                    pixels: band.seen.len() * g.w,
                    plane: g.in_plane(),
                    width: lanes,
                };
                let to = &mut to[p * self.panel + i * self.x_image..];
                source.pack(simd, (x, image, at), sizes, to);
            }
        }
    }

    /// Packs the block of output channels of a group that begins with channel `first`; `dy` is
    /// the whole gradient.
    #[inline(always)]
    pub fn pack_dy<S: Simd>(
        &self,
        simd: S,
        source: &mut Source,
        first: usize,
        dy: &[f32],
        to: &mut [f32],
    ) {
        let Source { g, band, group, .. } = *source;
        let lanes = S::F32_LANES;
        for (i, image) in band.images.clone().enumerate() {
            for v in (0..self.width).step_by(lanes) {
                let at = |image: usize| {
                    let channel = image * g.c_out + group * g.group_out() + first + v;
                    channel * g.out_plane() + band.rows.start * g.out_w
                };
                let sizes = Matrix {
                    channels: lanes.min(g.group_out().saturating_sub(first + v)),
                    pixels: band.rows.len() * g.out_w,
                    plane: g.out_plane(),
                    width: self.width,
                };
                let to = &mut to[i * self.dy_image + v..];
                source.pack(simd, (dy, image, at), sizes, to);
            }
        }
    }
}

/// The part of the images to pack.
pub struct Source<'a> {
    pub g: &'a Geometry,
    pub band: &'a ImageBand,
    pub group: usize,
    /// Space for the words of a vector of channels, if images are packed in pairs.
    pub words: Option<&'a mut [f32]>,
}

impl Source<'_> {
    /// The length of [`Self::words`] for up to `pixels` pixels.
    pub fn words<S: Simd>(pixels: usize) -> usize {
        S::F32_LANES * (pixels + GAP)
    }

    /// Packs some channels, of an image or of a pair of images. The channels of an image begin at
    /// `at(image)`.
    #[inline(always)]
    fn pack<S: Simd>(
        &mut self,
        simd: S,
        (values, image, at): (&[f32], usize, impl Fn(usize) -> usize),
        sizes: Matrix,
        to: &mut [f32],
    ) {
        let channels_of = |image: usize| values.get(at(image)..).unwrap_or_default();
        let Some(words) = &mut self.words else {
            to_pixel_major(simd, channels_of(image), sizes, to);
            return;
        };
        let images = [2 * image, 2 * image + 1];
        let [first, second] = images.map(|i| (i < self.g.n).then(|| channels_of(i)));
        let first = first.unwrap_or_default();
        let pitch = row_pitch(sizes.pixels);
        for c in 0..sizes.channels {
            let row = c * sizes.plane..c * sizes.plane + sizes.pixels;
            let words = &mut words[c * pitch..][..sizes.pixels];
            pair_row(simd, &first[row.clone()], second.map(|s| &s[row]), words);
        }
        let sizes = Matrix {
            plane: pitch,
            ..sizes
        };
        to_pixel_major(simd, words, sizes, to);
    }
}
