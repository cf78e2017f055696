//! Images turned round to `[pixel][channel]`.

use std::ops::Range;

use pulp::Simd;

use super::super::super::geometry::Geometry;
use super::super::transpose;

/// Rows of outputs of some images, and the rows of inputs that they see.
pub(super) struct Band {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) seen: Range<usize>,
}

impl Band {
    pub(super) fn new(g: &Geometry, images: Range<usize>, rows: Range<usize>) -> Self {
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

/// How the band of images lies in the buffers: `[image][pixel][output channel of a block]`, and
/// `[panel][image][pixel][lane]` where a panel has a vector's lanes of input channels.
pub(super) struct Turned {
    pub(super) width: usize,
    pub(super) dy_image: usize,
    pub(super) x_image: usize,
    pub(super) panel: usize,
}

impl Turned {
    #[inline(always)]
    pub(super) fn turn_x<S: Simd>(
        &self,
        simd: S,
        g: &Geometry,
        band: &Band,
        group: usize,
        x: &[f32],
        to: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        for (p, c) in (0..g.group_in()).step_by(lanes).enumerate() {
            for (i, image) in band.images.clone().enumerate() {
                let channel = image * g.c_in + group * g.group_in() + c;
                let at = channel * g.in_plane() + band.seen.start * g.w;
                turn(
                    simd,
                    x.get(at..).unwrap_or_default(),
                    g.in_plane(),
                    lanes.min(g.group_in() - c),
                    band.seen.len() * g.w,
                    &mut to[p * self.panel + i * self.x_image..],
                    lanes,
                );
            }
        }
    }

    #[inline(always)]
    pub(super) fn turn_dy<S: Simd>(
        &self,
        simd: S,
        g: &Geometry,
        band: &Band,
        (group, first): (usize, usize),
        dy: &[f32],
        to: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        for (i, image) in band.images.clone().enumerate() {
            for v in (0..self.width).step_by(lanes) {
                let channel = image * g.c_out + group * g.group_out() + first + v;
                let at = channel * g.out_plane() + band.rows.start * g.out_w;
                turn(
                    simd,
                    dy.get(at..).unwrap_or_default(),
                    g.out_plane(),
                    lanes.min(g.group_out().saturating_sub(first + v)),
                    band.rows.len() * g.out_w,
                    &mut to[i * self.dy_image + v..],
                    self.width,
                );
            }
        }
    }
}

/// Writes `pixels` columns of `channels` planes to `to`, `pitch` values apart, filled up with
/// zeros to a vector's lanes of channels.
#[inline(always)]
fn turn<S: Simd>(
    simd: S,
    from: &[f32],
    plane: usize,
    channels: usize,
    pixels: usize,
    to: &mut [f32],
    pitch: usize,
) {
    let lanes = S::F32_LANES;
    if pixels == 0 {
        return;
    }
    assert!(channels <= lanes);
    assert!(channels == 0 || (channels - 1) * plane + pixels <= from.len());
    assert!((pixels - 1) * pitch + lanes <= to.len());
    let mut p = 0;
    while p < pixels {
        let from = from.as_ptr().wrapping_add(p);
        let to = to.as_mut_ptr().wrapping_add(p * pitch);
        // SAFETY: the pixels from `p` on are readable in all channels and writable in `to`, as
        // was asserted.
        unsafe {
            if transpose::by_fours::<S>() && channels == lanes && p + 4 <= pixels {
                let vectors = transpose::four_columns(simd, from, plane);
                for (i, vector) in vectors.into_iter().enumerate() {
                    to.add(i * pitch).cast::<S::f32s>().write_unaligned(vector);
                }
                p += 4;
            } else {
                let vector = transpose::column(simd, from, plane, channels);
                to.cast::<S::f32s>().write_unaligned(vector);
                p += 1;
            }
        }
    }
}
