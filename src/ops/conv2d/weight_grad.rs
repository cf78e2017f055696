//! The gradient with respect to the weight, as a direct kernel.
//!
//! `dw[o][c][kh][kw]` is the sum over all output pixels of `dy[o][p] * x[c][p moved by the tap]`.
//! Vectors run along the pixels: a block of four output channels by a few taps is kept in
//! registers over all pixels of a tile, and its lanes are summed once at the end. The images are
//! copied, tile by tile and with their padding, to planes in which the same pixels of any tap lie
//! at the same distance from each other, so that one kernel does every stride, dilation and
//! padding: a stride becomes several planes of every second row or column, and a tap an offset.
//!
//! Threads take fixed shares of the tiles and their sums are added in order, so that results
//! depend on the number of threads, but not on which of them was faster.
//!
//! Between the rows and at the end of a tile `dy` is zero and meets pixels of `x` that belong to
//! other taps, or to the next image or channel. Where such a pixel is infinite or NaN, so that
//! some weight gradients are by the definition, others may be NaN that the definition leaves
//! finite. A mask in the innermost loop would cost all calls for those that are lost already.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::element::Element;
use super::geometry::Geometry;
use super::planes::{self, Window, load};
use super::workspace::{sized, with_workspace};

/// Output channels of a block.
const BLOCK: usize = 4;

/// Bytes of one channel of `dy` in a group of tiles. Longer ones would amortise the sums over the
/// lanes better, but a block of channels should stay near the first-level cache.
const GROUP_BYTES: usize = 16 << 10;

/// Bytes of the copied input: it should stay in the second-level cache.
const INPUT_BYTES: usize = 384 << 10;

/// Multiplications below which one thread does it all.
const SMALL: usize = 1 << 17;

/// Gradient with respect to the weight, summed over the images, with a given instruction set:
/// `dw` in the weight's layout, written completely. `x` and `dy` are contiguous, in `g`'s shapes.
pub fn weight_grad_with<F: Element>(arch: Arch, g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    assert_eq!(x.len(), g.in_len());
    assert_eq!(dy.len(), g.out_len());
    assert_eq!(dw.len(), g.weight_len());
    dw.fill(F::ZERO);
    if g.n * g.out_plane() * dw.len() > 0 {
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
        let small = g.n * g.out_plane() * dw.len() < SMALL;
        let threads = if small {
            1
        } else {
            rayon::current_num_threads()
        };
        let plan = Plan::new::<S, F>(g, threads);
        let share = |range: std::ops::Range<usize>| Share {
            g,
            x,
            dy,
            plan: &plan,
            tiles: range,
        };
        let room = plan.workspace::<F>(g, F::lanes::<S>());
        let sum = |share: Share<F>, dw: &mut [F]| {
            with_workspace(|buffer| {
                let buffer = sized(buffer, room);
                simd.vectorize(Sum { share, dw, buffer });
            });
        };
        if threads == 1 {
            let share = share(0..plan.tiles());
            return sum(share, dw);
        }
        with_workspace(|buffer| {
            let len = dw.len();
            let rest: &mut [F] = sized(buffer, (threads - 1) * len);
            let sums: Vec<&mut [F]> = std::iter::once(&mut *dw)
                .chain(rest.chunks_exact_mut(len))
                .collect();
            let step = plan.tiles().div_ceil(threads);
            sums.into_par_iter()
                .enumerate()
                .with_max_len(1)
                .for_each(|(t, dw)| {
                    dw.fill(F::ZERO);
                    let end = plan.tiles().min((t + 1) * step);
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

/// A tap of the kernel in the copied planes.
#[derive(Debug, Clone, Copy)]
struct Tap {
    plane: usize,
    offset: usize,
}

/// How the pixels are laid out for the kernel.
#[derive(Debug)]
struct Plan {
    /// Tiles of an image, each of `rows` output rows.
    per_image: usize,
    rows: usize,
    images: usize,
    /// Tiles that lie in the workspace together.
    group: usize,
    /// First row and column of the planes, in the padded image.
    planes: Vec<(usize, usize)>,
    /// One for each of kh * kw.
    taps: Vec<Tap>,
    /// Rows of a plane for one tile, and the distance of its rows.
    plane_rows: usize,
    pitch: usize,
    /// Distance of the rows of `dy` and of its tiles.
    dy_pitch: usize,
    dy_tile: usize,
    /// Where in a tile's plane the vectors of its `dy` belong.
    vectors: Vec<usize>,
    /// Input channels that lie in the workspace together.
    channels: usize,
}

/// What has a plane of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Split {
    /// The rows and columns that a stride visits.
    Strides,
    /// As `Strides`, and a vector never spans two rows.
    Rows,
    /// Each column of taps: a plane has no gaps between its rows.
    Columns,
    /// Each tap: a plane has no gaps at all.
    Taps,
}

impl Plan {
    fn new<S: Simd, F: Element>(g: &Geometry, threads: usize) -> Self {
        let plan = |split| Self::of::<S, F>(g, threads, split);
        let cost = |plan: &Self| plan.cost(g, F::lanes::<S>());
        let first = plan(Split::Rows);
        [Split::Strides, Split::Columns, Split::Taps]
            .map(plan)
            .into_iter()
            .fold(first, |best, plan| {
                if cost(&plan) < cost(&best) {
                    plan
                } else {
                    best
                }
            })
    }

    fn of<S: Simd, F: Element>(g: &Geometry, threads: usize, split: Split) -> Self {
        let lanes = F::lanes::<S>();
        let limit = GROUP_BYTES / size_of::<F>();
        let per_image = g.out_plane().div_ceil(limit).min(g.out_h);
        let rows = g.out_h.div_ceil(per_image);
        let per_image = g.out_h.div_ceil(rows);
        let own_row = split == Split::Taps;
        let own_column = own_row || split == Split::Columns;
        let (row_firsts, row_places) = planes::axis(g.kh, g.stride.0, g.dilation.0, own_row);
        let (column_firsts, column_places) =
            planes::axis(g.kw, g.stride.1, g.dilation.1, own_column);
        let plane_rows = rows + planes::reach(&row_places);
        let needed = g.out_w + planes::reach(&column_places);
        let pitch = if g.stride.1 == 1 && !own_column {
            // The zeros right of a row are those left of the next.
            needed.min(g.out_w.max(g.w + g.padding.1))
        } else {
            needed
        };
        let dy_pitch = match split {
            Split::Rows => g.out_w.next_multiple_of(lanes),
            _ => pitch,
        };
        let dy_tile = ((rows - 1) * dy_pitch + g.out_w).next_multiple_of(lanes);
        let vectors = (0..dy_tile)
            .step_by(lanes)
            .map(|at| match split {
                Split::Rows => at / dy_pitch * pitch + at % dy_pitch,
                _ => at,
            })
            .collect();
        let planes = row_firsts
            .iter()
            .flat_map(|r| column_firsts.iter().map(|c| (*r, *c)))
            .collect::<Vec<_>>();
        let taps = row_places
            .iter()
            .flat_map(|(r, i)| {
                column_places.iter().map(|(c, j)| Tap {
                    plane: *r * column_firsts.len() + *c,
                    offset: *i * pitch + *j,
                })
            })
            .collect();
        let share = (g.n * per_image).div_ceil(threads);
        let group = (limit / dy_tile).clamp(1, share);
        let channel_bytes = planes.len() * group * plane_rows * pitch * size_of::<F>();
        Self {
            per_image,
            rows,
            images: g.n,
            group,
            planes,
            taps,
            plane_rows,
            pitch,
            dy_pitch,
            dy_tile,
            vectors,
            channels: (INPUT_BYTES / channel_bytes).clamp(1, g.group_in()),
        }
    }

    /// An estimate of the time for one tile and input channel of a group, in half cycles.
    fn cost(&self, g: &Geometry, lanes: usize) -> usize {
        let blocks = g.group_out().div_ceil(BLOCK);
        let products = self.vectors.len() * blocks * BLOCK * self.taps.len();
        let copied = self.planes.len() * self.plane_rows * self.pitch.div_ceil(lanes);
        self.per_image * (products + copied * (6 + 2 * blocks))
    }

    /// Distance of the planes of `dy`, values of all of them, and values behind those of `x`.
    fn room<F>(&self, g: &Geometry, lanes: usize) -> (usize, usize, usize) {
        // Three cache lines more, so that planes of a power of two do not fall on each other.
        let dy_plane = self.group * self.dy_tile + 3 * 64 / size_of::<F>();
        let dy_len = g.group_out().next_multiple_of(BLOCK) * dy_plane;
        // The vectors at the end of a tile reach into what follows.
        (
            dy_plane,
            dy_len,
            self.dy_tile + self.plane_rows * self.pitch + lanes,
        )
    }

    /// Values that the copies of a group take.
    fn workspace<F>(&self, g: &Geometry, lanes: usize) -> usize {
        let (_, dy_len, slack) = self.room::<F>(g, lanes);
        let tile = self.plane_rows * self.pitch;
        dy_len + self.channels * self.planes.len() * self.group * tile + slack + 64
    }

    fn tiles(&self) -> usize {
        self.images * self.per_image
    }
}

struct Share<'a, F> {
    g: &'a Geometry,
    x: &'a [F],
    dy: &'a [F],
    plan: &'a Plan,
    tiles: std::ops::Range<usize>,
}

struct Sum<'a, F> {
    share: Share<'a, F>,
    /// Added to.
    dw: &'a mut [F],
    buffer: &'a mut [F],
}

impl<F: Element> WithSimd for Sum<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { share, dw, buffer } = self;
        let Share {
            g,
            x,
            dy,
            plan,
            tiles,
        } = share;
        let lanes = F::lanes::<S>();
        let patch = g.patch();
        let (group_in, group_out) = (g.group_in(), g.group_out());
        let out_blocks = group_out.div_ceil(BLOCK);
        let tile = plan.plane_rows * plan.pitch;
        let (dy_plane, dy_len, slack) = plan.room::<F>(g, lanes);
        let skip = buffer.as_ptr().align_offset(64);
        let (dys, xs) = buffer[skip..].split_at_mut(dy_len);
        let mut places = Vec::with_capacity(plan.group * plan.vectors.len());
        let mut tiles = tiles;
        while !tiles.is_empty() {
            let count = plan.group.min(tiles.len());
            let group = tiles.start..tiles.start + count;
            tiles.start = group.end;
            places.clear();
            for t in 0..count {
                for v in &plan.vectors {
                    places.push(t * tile + v);
                }
            }
            for gi in 0..g.groups {
                copy_dy(simd, g, plan, dy, group.clone(), gi, dy_plane, dys);
                let mut first = 0;
                while first < group_in {
                    let channels = plan.channels.min(group_in - first);
                    let used = copy_x(
                        simd,
                        g,
                        plan,
                        x,
                        group.clone(),
                        gi * group_in + first..gi * group_in + first + channels,
                        xs,
                    );
                    // Times zero it must not be NaN.
                    xs[used..used + slack].fill(F::ZERO);
                    for block in 0..out_blocks {
                        let rows = BLOCK.min(group_out - block * BLOCK);
                        let start = (gi * group_out + block * BLOCK) * patch + first * g.kh * g.kw;
                        // SAFETY: the planes were laid out for the plan.
                        unsafe {
                            strip(
                                simd,
                                plan,
                                count * tile,
                                &places,
                                dys.as_ptr().add(block * BLOCK * dy_plane),
                                dy_plane,
                                xs.as_ptr(),
                                channels,
                                &mut dw[start..],
                                patch,
                                rows,
                            );
                        }
                    }
                    first += channels;
                }
            }
        }
    }
}

/// Copies a group's output channels of `dy`, filled up to whole blocks with zeros.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn copy_dy<S: Simd, F: Element>(
    simd: S,
    g: &Geometry,
    plan: &Plan,
    dy: &[F],
    tiles: std::ops::Range<usize>,
    group: usize,
    dy_plane: usize,
    to: &mut [F],
) {
    let plane = g.out_plane();
    for o in 0..g.group_out().next_multiple_of(BLOCK) {
        let to = &mut to[o * dy_plane..(o + 1) * dy_plane];
        let used = tiles.len() * plan.dy_tile;
        assert!(used + F::lanes::<S>() <= to.len());
        if o >= g.group_out() {
            to[..used].fill(F::ZERO);
            continue;
        }
        for (i, t) in tiles.clone().enumerate() {
            let (image, row) = (t / plan.per_image, t % plan.per_image * plan.rows);
            let rows = plan.rows.min(g.out_h - row);
            let start = (image * g.c_out + group * g.group_out() + o) * plane + row * g.out_w;
            let from = &dy[start..];
            // SAFETY: a tile's rows lie within its `dy_tile` values, and there is room for a
            // vector behind the last one; what overshoots is overwritten in order.
            unsafe {
                let to = to.as_mut_ptr().add(i * plan.dy_tile);
                let used = if plan.dy_pitch == g.out_w {
                    planes::gather(simd, from, 1, rows * g.out_w, to);
                    rows * g.out_w
                } else {
                    for r in 0..rows {
                        let to = to.add(r * plan.dy_pitch);
                        planes::gather(simd, &from[r * g.out_w..], 1, g.out_w, to);
                        if r + 1 < rows {
                            planes::zero(simd, to.add(g.out_w), plan.dy_pitch - g.out_w);
                        }
                    }
                    (rows - 1) * plan.dy_pitch + g.out_w
                };
                planes::zero(simd, to.add(used), plan.dy_tile - used);
            }
        }
    }
}

/// Copies channels of `x` and returns how much of `to` they take.
#[inline(always)]
fn copy_x<S: Simd, F: Element>(
    simd: S,
    g: &Geometry,
    plan: &Plan,
    x: &[F],
    tiles: std::ops::Range<usize>,
    channels: std::ops::Range<usize>,
    to: &mut [F],
) -> usize {
    let tile = plan.plane_rows * plan.pitch;
    let mut used = 0;
    for c in channels {
        for (r, l) in &plan.planes {
            for t in tiles.clone() {
                let (image, row) = (t / plan.per_image, t % plan.per_image * plan.rows);
                let at = (image * g.c_in + c) * g.in_plane();
                let window = Window {
                    top: (row * g.stride.0 + r) as isize - g.padding.0 as isize,
                    left: *l as isize - g.padding.1 as isize,
                    step: g.stride,
                    rows: plan.plane_rows,
                    pitch: plan.pitch,
                };
                assert!(used + tile + F::lanes::<S>() <= to.len());
                // SAFETY: the room was just checked.
                unsafe {
                    planes::copy(simd, x, at, (g.h, g.w), window, to.as_mut_ptr().add(used));
                }
                used += tile;
            }
        }
    }
    used
}

/// Adds the products of one block of output channels with all taps of `channels` input channels.
///
/// # Safety
/// For every place and tap, `x` must hold a vector there, and `dy` a vector for every place in
/// each of its [`BLOCK`] planes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn strip<S: Simd, F: Element>(
    simd: S,
    plan: &Plan,
    plane: usize,
    places: &[usize],
    dy: *const F,
    dy_plane: usize,
    x: *const F,
    channels: usize,
    dw: &mut [F],
    patch: usize,
    rows: usize,
) {
    let taps = plan.taps.len();
    let total = channels * taps;
    // As many accumulators as registers allow: 32 in AVX-512 and NEON, else 16.
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
            let tap = plan.taps[k % taps];
            // SAFETY: the caller's promise.
            unsafe { x.add((k / taps * plan.planes.len() + tap.plane) * plane + tap.offset) }
        };
        macro_rules! run {
            ($n:literal) => {{
                let xs: [*const F; $n] = std::array::from_fn(|j| at(k + j));
                // SAFETY: the caller's promise.
                let sums = unsafe { block::<S, F, $n>(simd, places, dy, dy_plane, xs) };
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

/// The sums over all places of [`BLOCK`] planes of `dy` times `N` planes of `x`.
///
/// # Safety
/// `dy` must hold as many vectors as there are places in each of its planes, and each of `xs` a
/// vector at each place.
#[inline(always)]
unsafe fn block<S: Simd, F: Element, const N: usize>(
    simd: S,
    places: &[usize],
    dy: *const F,
    dy_plane: usize,
    xs: [*const F; N],
) -> [[F; N]; BLOCK] {
    let lanes = F::lanes::<S>();
    let mut sums = [[F::splat(simd, F::ZERO); N]; BLOCK];
    for (v, place) in places.iter().enumerate() {
        // SAFETY: the caller's promise.
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
