//! The weight gradient in `f32` and `f64` with pixels of a channel in the lanes of a vector.
//!
//! The images are copied, tile by tile and with their padding, to planes in which the same pixels
//! of all taps have the same distance from each other. So one kernel computes every stride,
//! dilation and padding: a stride becomes several planes of every second row or column, and a tap
//! becomes an offset.
//!
//! ```text
//! for share of the tiles                                  // threads; fixed shares
//!     for group of tiles                                  // a channel of dy: GROUP_BYTES, L1
//!         for group of channels of the convolution
//!             copy dy of the group's output channels
//!             for some input channels                     // their planes: INPUT_BYTES, L2
//!                 copy them
//!                 for BLOCK = 4 output channels
//!                     for N taps of the input channels    // N <= 6 or 3
//!                         acc[BLOCK][N] = 0               // registers
//!                         for vector of pixels            // of all tiles in the group
//!                             x[N] = planes[tap + pixel]
//!                             for o in BLOCK
//!                                 acc[o] += dy[o][pixel] * x
//!                         dw[o][tap] += sum of the lanes of acc[o]
//! add the sums of all shares in order
//! ```
//!
//! N is 6 with AVX-512: 24 sums, 6 vectors of x and one of dy fill its 32 registers. Otherwise it is
//! 3: 12 sums, 3 vectors of x and one of dy fill 16 registers. The lanes are summed once per group
//! of tiles.
//!
//! Between the rows and at the end of a tile, dy is zero and meets pixels of x that belong to
//! other taps, or to the next image or channel. If such a pixel is infinite or NaN, some weight
//! gradients are infinite or NaN by the definition, and this algorithm may make further ones NaN. A
//! mask in the innermost loop would prevent that, but slow down every call for the sake of a
//! training run that has diverged already.

mod layout;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::cost_model::ONE_THREAD;
use super::super::element::Element;
use super::super::geometry::Geometry;
use super::super::pack::planes::{self, Plane, Window, load};
use super::super::workspace::{sized, with_workspace};
use layout::{BLOCK, TileLayout};

/// Gradient with respect to the weight, summed over the images, with the vectors of `arch`.
/// Writes all of `dw`, in the layout of the weight. `x` and `dy` are contiguous, in the shapes of
/// `g`.
pub fn weight_grad<F: Element>(arch: Arch, g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    assert_eq!(x.len(), g.in_len());
    assert_eq!(dy.len(), g.out_len());
    assert_eq!(dw.len(), g.weight_len());
    dw.fill(F::ZERO);
    if !g.is_empty() {
        arch.dispatch(WeightGrad { g, x, dy, dw });
    }
}

struct WeightGrad<'a, F> {
    g: &'a Geometry,
    x: &'a [F],
    dy: &'a [F],
    dw: &'a mut [F],
}

impl<F: Element> WithSimd for WeightGrad<'_, F> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, x, dy, dw } = self;
        let threads = if g.multiplications() < ONE_THREAD {
            1
        } else {
            rayon::current_num_threads()
        };
        let layout = TileLayout::new::<S, F>(g, threads);
        let share = |tiles: Range<usize>| Share {
            g,
            x,
            dy,
            layout: &layout,
            tiles,
        };
        let room = layout.workspace::<F>(g, F::lanes::<S>());
        let sum = |share: Share<F>, dw: &mut [F]| {
            with_workspace(|buffer| {
                let buffer = sized(buffer, room);
                simd.vectorize(Sum { share, dw, buffer });
            });
        };
        if threads == 1 {
            let share = share(0..layout.tiles());
            return sum(share, dw);
        }
        with_workspace(|buffer| {
            let len = dw.len();
            let rest: &mut [F] = sized(buffer, (threads - 1) * len);
            let sums: Vec<&mut [F]> = std::iter::once(&mut *dw)
                .chain(rest.chunks_exact_mut(len))
                .collect();
            let step = layout.tiles().div_ceil(threads);
            sums.into_par_iter()
                .enumerate()
                .with_max_len(1)
                .for_each(|(t, dw)| {
                    dw.fill(F::ZERO);
                    let end = layout.tiles().min((t + 1) * step);
                    let share = share(end.min(t * step)..end);
                    sum(share, dw);
                });
            for sum in rest.chunks_exact(len) {
                for (total, part) in dw.iter_mut().zip(sum) {
                    *total += *part;
                }
            }
        });
    }
}

/// Tiles for one thread.
struct Share<'a, F> {
    g: &'a Geometry,
    x: &'a [F],
    dy: &'a [F],
    layout: &'a TileLayout,
    tiles: Range<usize>,
}

struct Sum<'a, F> {
    share: Share<'a, F>,
    /// The share's sums are added to it.
    dw: &'a mut [F],
    buffer: &'a mut [F],
}

impl<F: Element> WithSimd for Sum<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { share, dw, buffer } = self;
        let (g, layout) = (share.g, share.layout);
        let lanes = F::lanes::<S>();
        let patch = g.patch();
        let (group_in, group_out) = (g.group_in(), g.group_out());
        let out_blocks = group_out.div_ceil(BLOCK);
        let tile = layout.plane_rows * layout.pitch;
        let room = layout.room::<F>(g, lanes);
        let skip = buffer.as_ptr().align_offset(64);
        let (dys, xs) = buffer[skip..].split_at_mut(room.dy_len);
        let mut places = Vec::with_capacity(layout.group * layout.vectors.len());
        let mut tiles = share.tiles.clone();
        while !tiles.is_empty() {
            let count = layout.group.min(tiles.len());
            let group = tiles.start..tiles.start + count;
            tiles.start = group.end;
            places.clear();
            for t in 0..count {
                for v in &layout.vectors {
                    places.push(t * tile + v);
                }
            }
            for gi in 0..g.groups {
                share.copy_dy(simd, group.clone(), gi, room.dy_plane, dys);
                let mut first = 0;
                while first < group_in {
                    let channels = layout.channels.min(group_in - first);
                    let start = gi * group_in + first;
                    let used = share.copy_x(simd, group.clone(), start..start + channels, xs);
                    // Zeros of dy meet these values, so they must not be NaN.
                    xs[used..used + room.slack].fill(F::ZERO);
                    for block in 0..out_blocks {
                        let rows = BLOCK.min(group_out - block * BLOCK);
                        let start = (gi * group_out + block * BLOCK) * patch + first * g.taps();
                        let strip = Strip {
                            layout,
                            plane: count * tile,
                            places: &places,
                            // SAFETY: a plane of dy exists for each channel of each block.
                            dy: unsafe { dys.as_ptr().add(block * BLOCK * room.dy_plane) },
                            dy_plane: room.dy_plane,
                            x: xs.as_ptr(),
                            channels,
                        };
                        // SAFETY: the planes have the positions of the layout.
                        unsafe { strip.add(simd, &mut dw[start..], patch, rows) };
                    }
                    first += channels;
                }
            }
        }
    }
}

impl<F: Element> Share<'_, F> {
    /// Copies a group's output channels of dy. Zeros fill up the last block.
    #[inline(always)]
    fn copy_dy<S: Simd>(
        &self,
        simd: S,
        tiles: Range<usize>,
        group: usize,
        dy_plane: usize,
        to: &mut [F],
    ) {
        let Self { g, layout, dy, .. } = *self;
        let plane = g.out_plane();
        for o in 0..g.group_out().next_multiple_of(BLOCK) {
            let to = &mut to[o * dy_plane..(o + 1) * dy_plane];
            let used = tiles.len() * layout.dy_tile;
            assert!(used + F::lanes::<S>() <= to.len());
            if o >= g.group_out() {
                to[..used].fill(F::ZERO);
                continue;
            }
            for (i, t) in tiles.clone().enumerate() {
                let (image, row) = (t / layout.per_image, t % layout.per_image * layout.rows);
                let rows = layout.rows.min(g.out_h - row);
                let start = (image * g.c_out + group * g.group_out() + o) * plane + row * g.out_w;
                let from = &dy[start..];
                // SAFETY: the rows of a tile are within its `dy_tile` values, and there is room
                // for a vector after the last one. Rows are written in order, so the next row
                // overwrites the excess.
                unsafe {
                    let to = to.as_mut_ptr().add(i * layout.dy_tile);
                    let used = if layout.dy_pitch == g.out_w {
                        planes::gather(simd, from, 1, rows * g.out_w, to);
                        rows * g.out_w
                    } else {
                        for r in 0..rows {
                            let to = to.add(r * layout.dy_pitch);
                            planes::gather(simd, &from[r * g.out_w..], 1, g.out_w, to);
                            if r + 1 < rows {
                                planes::zero(simd, to.add(g.out_w), layout.dy_pitch - g.out_w);
                            }
                        }
                        (rows - 1) * layout.dy_pitch + g.out_w
                    };
                    planes::zero(simd, to.add(used), layout.dy_tile - used);
                }
            }
        }
    }

    /// Copies channels of x and returns how many values of `to` they take.
    #[inline(always)]
    fn copy_x<S: Simd>(
        &self,
        simd: S,
        tiles: Range<usize>,
        channels: Range<usize>,
        to: &mut [F],
    ) -> usize {
        let Self { g, layout, x, .. } = *self;
        let tile = layout.plane_rows * layout.pitch;
        let mut used = 0;
        for c in channels {
            for (r, l) in &layout.planes {
                for t in tiles.clone() {
                    let (image, row) = (t / layout.per_image, t % layout.per_image * layout.rows);
                    let plane = Plane {
                        all: x,
                        at: (image * g.c_in + c) * g.in_plane(),
                        size: (g.h, g.w),
                    };
                    let window = Window {
                        top: (row * g.stride.0 + r) as isize - g.padding.0 as isize,
                        left: *l as isize - g.padding.1 as isize,
                        step: g.stride,
                        rows: layout.plane_rows,
                        pitch: layout.pitch,
                    };
                    assert!(used + tile + F::lanes::<S>() <= to.len());
                    // SAFETY: the room was just checked.
                    unsafe { planes::copy(simd, plane, window, to.as_mut_ptr().add(used)) };
                    used += tile;
                }
            }
        }
        used
    }
}

/// Copied planes of some input channels and of one block of output channels.
struct Strip<'a, F> {
    layout: &'a TileLayout,
    /// Distance between the planes of x.
    plane: usize,
    /// Positions of the vectors in a plane of x.
    places: &'a [usize],
    dy: *const F,
    /// Distance between the planes of dy.
    dy_plane: usize,
    x: *const F,
    /// Input channels.
    channels: usize,
}

impl<F: Element> Strip<'_, F> {
    /// Adds the products with all taps to the first `rows` rows of `dw`, `patch` values apart.
    ///
    /// # Safety
    /// For every place and tap, `x` must hold a vector there, and `dy` a vector for every place in
    /// each of its [`BLOCK`] planes.
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, simd: S, dw: &mut [F], patch: usize, rows: usize) {
        let layout = self.layout;
        let taps = layout.taps.len();
        let total = self.channels * taps;
        // See the module's documentation.
        let most = if size_of::<F::Vector<S>>() == 64 {
            6
        } else {
            3
        };
        let blocks = total.div_ceil(most);
        let mut k = 0;
        for b in 0..blocks {
            let end = (b + 1) * total / blocks;
            let width = end - k;
            let at = |k: usize| {
                let tap = layout.taps[k % taps];
                let plane = k / taps * layout.planes.len() + tap.plane;
                // SAFETY: guaranteed by the caller.
                unsafe { self.x.add(plane * self.plane + tap.offset) }
            };
            macro_rules! run {
                ($n:literal) => {{
                    let xs: [*const F; $n] = std::array::from_fn(|j| at(k + j));
                    // SAFETY: guaranteed by the caller.
                    let sums = unsafe { self.block::<S, $n>(simd, xs) };
                    for (i, sums) in sums.iter().enumerate().take(rows) {
                        let dw = &mut dw[i * patch + k..][..$n];
                        for (dw, sum) in dw.iter_mut().zip(sums) {
                            *dw += *sum;
                        }
                    }
                }};
            }
            match width {
                1 => run!(1),
                2 => run!(2),
                3 => run!(3),
                4 => run!(4),
                5 => run!(5),
                _ => run!(6),
            }
            k = end;
        }
    }

    /// The microkernel: the sums over all places of [`BLOCK`] planes of dy times `N` taps of x.
    ///
    /// # Safety
    /// `dy` must hold a vector per place in each of its planes, and each of `xs` one at each
    /// place.
    #[inline(always)]
    unsafe fn block<S: Simd, const N: usize>(&self, simd: S, xs: [*const F; N]) -> [[F; N]; BLOCK] {
        let Self {
            places,
            dy,
            dy_plane,
            ..
        } = *self;
        let lanes = F::lanes::<S>();
        let mut sums = [[F::splat(simd, F::ZERO); N]; BLOCK];
        for (v, place) in places.iter().enumerate() {
            // SAFETY: guaranteed by the caller.
            unsafe {
                let mut x = [F::splat(simd, F::ZERO); N];
                for (x, from) in x.iter_mut().zip(xs) {
                    *x = load::<S, F>(from.add(*place));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let d = load::<S, F>(dy.add(i * dy_plane + v * lanes));
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = F::mul_add(simd, d, x, *sum);
                    }
                }
            }
        }
        let mut totals = [[F::ZERO; N]; BLOCK];
        for (totals, sums) in totals.iter_mut().zip(sums) {
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = F::reduce_sum(simd, sum);
            }
        }
        totals
    }
}
