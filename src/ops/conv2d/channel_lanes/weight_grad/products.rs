//! The products of a band of turned images, summed in registers.

use std::ops::Range;

use pulp::Simd;

use super::super::super::geometry::Geometry;
use super::turned::{Band, Turned};

/// A tap of the kernel and the outputs at which it lies within the image.
#[derive(Debug)]
pub(super) struct Tap {
    /// Of the first output's row and column.
    pub(super) y: isize,
    pub(super) x: isize,
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
}

impl Tap {
    pub(super) fn new(g: &Geometry, t: usize) -> Self {
        let (ky, kx) = (t / g.kw, t % g.kw);
        let (stride, padding, dilation) = (g.stride, g.padding, g.dilation);
        Self {
            y: (ky * dilation.0) as isize - padding.0 as isize,
            x: (kx * dilation.1) as isize - padding.1 as isize,
            rows: Geometry::valid(ky, g.h, g.out_h, stride.0, padding.0, dilation.0),
            cols: Geometry::valid(kx, g.w, g.out_w, stride.1, padding.1, dilation.1),
        }
    }
}

/// A band of images and a block of output channels.
pub(super) struct Job<'a> {
    pub(super) g: &'a Geometry,
    pub(super) taps: &'a [Tap],
    pub(super) turned: &'a Turned,
    pub(super) band: &'a Band,
    pub(super) xs: &'a [f32],
    pub(super) dys: &'a [f32],
}

impl Job<'_> {
    /// Adds the products of all input channels and taps, `C` channels at a time.
    #[inline(always)]
    pub(super) fn run<S: Simd, const C: usize, const V: usize>(&self, simd: S, sums: &mut [f32]) {
        let Self {
            g,
            taps,
            turned,
            band,
            xs,
            dys,
        } = self;
        let lanes = S::F32_LANES;
        let (width, images) = (V * lanes, band.images.len());
        assert!(turned.width == width && lanes.is_multiple_of(C));
        let walk = Walk {
            images,
            dy_image: turned.dy_image,
            x_image: turned.x_image,
            dy_row: g.out_w * width,
            x_row: g.stride.0 * g.w * lanes,
            x_step: g.stride.1 * lanes,
            sum: taps.len() * width,
        };
        for c in (0..g.group_in()).step_by(C) {
            let xs = &xs[c / lanes * turned.panel + c % lanes..];
            for (t, tap) in taps.iter().enumerate() {
                let rows = tap.rows.start.max(band.rows.start)..tap.rows.end.min(band.rows.end);
                if rows.is_empty() || tap.cols.is_empty() {
                    continue;
                }
                let (last_row, last_col) = (rows.len() - 1, tap.cols.len() - 1);
                let dy = ((rows.start - band.rows.start) * g.out_w + tap.cols.start) * width;
                let y = (rows.start * g.stride.0).wrapping_add_signed(tap.y) - band.seen.start;
                let x = (tap.cols.start * g.stride.1).wrapping_add_signed(tap.x);
                let x = (y * g.w + x) * lanes;
                let dys = &dys[dy..];
                let from = &xs[x..];
                let to = &mut sums[(c * taps.len() + t) * width..];
                let image = images - 1;
                let dy_end =
                    image * walk.dy_image + last_row * walk.dy_row + (last_col + 1) * width;
                let x_end = image * walk.x_image + last_row * walk.x_row + last_col * walk.x_step;
                assert!(dy_end <= dys.len() && x_end + C <= from.len());
                assert!((C - 1) * walk.sum + width <= to.len());
                let size = (rows.len(), tap.cols.len());
                // SAFETY: the last places that it reads and writes exist, as was just asserted.
                unsafe {
                    walk.add::<S, C, V>(simd, size, from.as_ptr(), dys.as_ptr(), to.as_mut_ptr());
                }
            }
        }
    }
}

/// Distances in the turned images and in the sums.
struct Walk {
    images: usize,
    dy_image: usize,
    x_image: usize,
    dy_row: usize,
    /// Between what neighbouring rows and columns of outputs see.
    x_row: usize,
    x_step: usize,
    /// Of neighbouring input channels.
    sum: usize,
}

impl Walk {
    /// Adds the products of `C` input channels with `V` vectors of output channels over some rows
    /// and columns of all images.
    ///
    /// # Safety
    /// `x` must be readable for `C` values and `dy` for `V` vectors at each pixel, and `sums` be
    /// readable and writable for `V` vectors at each of `C` distances.
    #[inline(always)]
    unsafe fn add<S: Simd, const C: usize, const V: usize>(
        &self,
        simd: S,
        (rows, cols): (usize, usize),
        x: *const f32,
        dy: *const f32,
        sums: *mut f32,
    ) {
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); V]; C];
        for (c, acc) in acc.iter_mut().enumerate() {
            for (v, acc) in acc.iter_mut().enumerate() {
                let from = sums.wrapping_add(c * self.sum + v * lanes);
                // SAFETY: one of the sums.
                *acc = unsafe { from.cast::<S::f32s>().read_unaligned() };
            }
        }
        for i in 0..self.images {
            for r in 0..rows {
                let mut dy = dy.wrapping_add(i * self.dy_image + r * self.dy_row);
                let mut x = x.wrapping_add(i * self.x_image + r * self.x_row);
                for _ in 0..cols {
                    let mut d = [acc[0][0]; V];
                    for (v, d) in d.iter_mut().enumerate() {
                        let from = dy.wrapping_add(v * lanes);
                        // SAFETY: one of the pixel's vectors.
                        *d = unsafe { from.cast::<S::f32s>().read_unaligned() };
                    }
                    for (c, acc) in acc.iter_mut().enumerate() {
                        // SAFETY: one of the pixel's values.
                        let x = simd.splat_f32s(unsafe { *x.wrapping_add(c) });
                        for (acc, d) in acc.iter_mut().zip(d) {
                            *acc = simd.mul_add_f32s(d, x, *acc);
                        }
                    }
                    dy = dy.wrapping_add(V * lanes);
                    x = x.wrapping_add(self.x_step);
                }
            }
        }
        for (c, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                let to = sums.wrapping_add(c * self.sum + v * lanes);
                // SAFETY: one of the sums.
                unsafe { to.cast::<S::f32s>().write_unaligned(*acc) };
            }
        }
    }
}
