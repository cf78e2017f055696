//! The innermost loops: the products of a band of images, summed in registers.
//!
//! ```text
//! for C input channels                            // a part of a panel of x
//!     for tap
//!         acc[C][V] = sums[C][tap]                // C * V registers
//!         for image in the band
//!             for row, column of outputs at which the tap is inside of the image
//!                 d[V] = dy[pixel]                // V registers, from L1
//!                 for c in C
//!                     acc[c] += d * x[pixel + tap][c]   // one broadcast for V multiply-adds
//!         sums[C][tap] = acc
//! ```
//!
//! The band of dy and one panel of x pass once per tap and C channels, so both stay near L1.

use std::ops::Range;

use pulp::Simd;

use super::super::super::fp32_precision::Fp32Precision;
use super::super::super::geometry::Geometry;
use super::super::super::pack::panels::{ImageBand, Panels};
use super::super::super::pair_products::{self, Segment};
use super::super::super::products::{Product, RegisterTile};

/// A tap of the kernel and the outputs at which it is inside of the image.
#[derive(Debug)]
pub struct TapOutputs {
    /// Row of the tap for the first output; negative above the image.
    pub y: isize,
    /// Column of the tap for the first output; negative left of the image.
    pub x: isize,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

impl TapOutputs {
    /// Tap `t` of the kernel, row by row.
    pub fn new(g: &Geometry, t: usize) -> Self {
        let (ky, kx) = (t / g.kw, t % g.kw);
        Self {
            y: (ky * g.dilation.0) as isize - g.padding.0 as isize,
            x: (kx * g.dilation.1) as isize - g.padding.1 as isize,
            rows: g.vertical().valid_outputs(ky),
            cols: g.horizontal().valid_outputs(kx),
        }
    }
}

/// A packed band of images and a block of output channels.
pub struct PackedBand<'a> {
    pub g: &'a Geometry,
    pub precision: Fp32Precision,
    pub taps: &'a [TapOutputs],
    pub panels: &'a Panels,
    pub band: &'a ImageBand,
    pub xs: &'a [f32],
    pub dys: &'a [f32],
}

impl PackedBand<'_> {
    /// Adds the products of all input channels and taps, `C` channels at a time, to `sums`:
    /// `[input channel][tap][output channel of the block]`.
    #[inline(always)]
    pub fn add<S: Simd, const C: usize, const V: usize>(&self, simd: S, sums: &mut [f32]) {
        let Self {
            g,
            precision,
            taps,
            panels,
            band,
            xs,
            dys,
        } = self;
        let lanes = S::F32_LANES;
        let (width, images) = (V * lanes, band.images.len());
        assert!(panels.width == width && lanes.is_multiple_of(C));
        let distances = Distances {
            images,
            dy_image: panels.dy_image,
            x_image: panels.x_image,
            dy_row: g.out_w * width,
            x_row: g.stride.0 * g.w * lanes,
            x_step: g.stride.1 * lanes,
            sum: taps.len() * width,
        };
        for c in (0..g.group_in()).step_by(C) {
            let xs = &xs[c / lanes * panels.panel + c % lanes..];
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
                let d = &distances;
                let image = images - 1;
                let dy_end = image * d.dy_image + last_row * d.dy_row + (last_col + 1) * width;
                let x_end = image * d.x_image + last_row * d.x_row + last_col * d.x_step;
                assert!(dy_end <= dys.len() && x_end + C <= from.len());
                assert!((C - 1) * d.sum + width <= to.len());
                let size = (rows.len(), tap.cols.len());
                let (x, dy, sums) = (from.as_ptr(), dys.as_ptr(), to.as_mut_ptr());
                // SAFETY: the last positions that it reads and writes exist, as just asserted.
                unsafe {
                    match precision {
                        Fp32Precision::Ieee => d.add::<S, C, V>(simd, size, x, dy, sums),
                        Fp32Precision::Bf16 => d.add_pairs::<S, C, V>(simd, size, x, dy, sums),
                    }
                }
            }
        }
    }
}

/// Distances in the packed images and in the sums.
struct Distances {
    images: usize,
    dy_image: usize,
    x_image: usize,
    dy_row: usize,
    /// Between the inputs of neighbouring rows of outputs.
    x_row: usize,
    /// Between the inputs of neighbouring columns of outputs.
    x_step: usize,
    /// Between neighbouring input channels of the sums.
    sum: usize,
}

impl Distances {
    /// As [`Self::add`], for words of two images in `x` and `dy`.
    ///
    /// # Safety
    /// As for [`Self::add`].
    #[inline(always)]
    unsafe fn add_pairs<S: Simd, const C: usize, const V: usize>(
        &self,
        simd: S,
        (rows, cols): (usize, usize),
        x: *const f32,
        dy: *const f32,
        sums: *mut f32,
    ) {
        let width = V * S::F32_LANES;
        // Rows without a gap between them are one row.
        let (rows, cols) = match (cols * width, cols * self.x_step) == (self.dy_row, self.x_row) {
            true => (1, rows * cols),
            false => (rows, cols),
        };
        let product = Product {
            rows: C,
            depth: cols,
            a: x,
            a_row: 1,
            a_step: self.x_step,
            b: dy,
            b_row: width,
            to: sums,
            to_row: self.sum,
            accumulate: true,
        };
        let segments = (0..self.images).flat_map(|i| {
            (0..rows).map(move |r| Segment {
                a: (i * self.x_image + r * self.x_row) as isize,
                b: (i * self.dy_image + r * self.dy_row) as isize,
            })
        });
        let tile = RegisterTile::of_pairs(V, C);
        // SAFETY: guaranteed by the caller.
        unsafe { pair_products::compute_segments(simd, &product, tile, segments) };
    }

    /// Adds the products of `C` input channels with `V` vectors of output channels over some rows
    /// and columns of all images.
    ///
    /// # Safety
    /// For each pixel, `x` must be readable for `C` values and `dy` for `V` vectors. `sums` must
    /// be readable and writable for `V` vectors of each of `C` channels.
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
                        // SAFETY: one of the vectors of the pixel.
                        *d = unsafe { from.cast::<S::f32s>().read_unaligned() };
                    }
                    for (c, acc) in acc.iter_mut().enumerate() {
                        // SAFETY: one of the values of the pixel.
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
