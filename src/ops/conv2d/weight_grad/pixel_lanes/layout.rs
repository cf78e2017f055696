//! The layout of the pixels for the weight gradient with pixel lanes.

use pulp::Simd;

use super::super::super::cost_model::padded_copies_fit;
use super::super::super::element::Element;
use super::super::super::geometry::Geometry;
use super::super::super::pack::planes::{AxisCopies, PerTap};

/// Output channels of a block.
pub const BLOCK: usize = 4;

/// Bytes of one channel of dy in a group of tiles. Longer groups would amortise the sums over the
/// lanes better, but the four channels of a block should stay near the L1 cache.
const GROUP_BYTES: usize = 16 << 10;

/// Bytes of the copied input: it should stay in the L2 cache, with dy.
const INPUT_BYTES: usize = 384 << 10;

/// Bytes between the planes of dy: three cache lines, so that planes whose size is a power of two
/// do not all map to the same sets of the cache.
const PLANE_GAP_BYTES: usize = 3 * 64;

/// A tap of the kernel in the copied planes.
#[derive(Debug, Clone, Copy)]
pub struct PlaneTap {
    pub plane: usize,
    pub offset: usize,
}

/// Tiles of the images, and the positions of taps and vectors in them.
#[derive(Debug)]
pub struct TileLayout {
    /// Tiles of an image, each of `rows` output rows.
    pub per_image: usize,
    pub rows: usize,
    images: usize,
    /// Tiles that are in the workspace together.
    pub group: usize,
    /// First row and column of each plane, in the padded image.
    pub planes: Vec<(usize, usize)>,
    /// One for each of kh * kw.
    pub taps: Vec<PlaneTap>,
    /// Rows of a plane for one tile.
    pub plane_rows: usize,
    /// Distance between the rows of a plane.
    pub pitch: usize,
    /// Distance between the rows of dy.
    pub dy_pitch: usize,
    /// Distance between the tiles of dy.
    pub dy_tile: usize,
    /// Positions in a tile's plane of the vectors of its dy.
    pub vectors: Vec<usize>,
    /// Input channels that are in the workspace together.
    pub channels: usize,
}

/// The taps that have a plane of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Split {
    /// Taps in rows and columns with the same remainder under the stride share a plane.
    Strides,
    /// As `Strides`, and a vector never spans two rows.
    Rows,
    /// Each column of taps has planes of its own, which have no gaps between their rows.
    Columns,
    /// Each tap has a plane of its own, without gaps.
    Taps,
}

/// Sizes of the workspace, in values.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Distance between the planes of dy.
    pub dy_plane: usize,
    /// All planes of dy.
    pub dy_len: usize,
    /// The values after the planes of x that the vectors at the end of a tile load.
    pub slack: usize,
}

impl TileLayout {
    /// The layout with the lowest estimated time.
    pub fn new<S: Simd, F: Element>(g: &Geometry, threads: usize) -> Self {
        let layout = |split| Self::with_split::<S, F>(g, threads, split);
        if !padded_copies_fit(g) {
            // Only planes of single taps do not grow with the distance between taps.
            return layout(Split::Taps);
        }
        let cost = |layout: &Self| layout.cost(g, F::lanes::<S>());
        let first = layout(Split::Rows);
        [Split::Strides, Split::Columns, Split::Taps]
            .map(layout)
            .into_iter()
            .fold(first, |best, layout| {
                if cost(&layout) < cost(&best) {
                    layout
                } else {
                    best
                }
            })
    }

    fn with_split<S: Simd, F: Element>(g: &Geometry, threads: usize, split: Split) -> Self {
        let lanes = F::lanes::<S>();
        let limit = GROUP_BYTES / size_of::<F>();
        let per_image = g.out_plane().div_ceil(limit).min(g.out_h);
        let rows = g.out_h.div_ceil(per_image);
        let per_image = g.out_h.div_ceil(rows);
        let (per_row, per_column) = match split {
            Split::Strides | Split::Rows => (PerTap::No, PerTap::No),
            Split::Columns => (PerTap::No, PerTap::Yes),
            Split::Taps => (PerTap::Yes, PerTap::Yes),
        };
        let row_copies = AxisCopies::new(g.kh, g.stride.0, g.dilation.0, per_row);
        let column_copies = AxisCopies::new(g.kw, g.stride.1, g.dilation.1, per_column);
        let plane_rows = rows + row_copies.reach();
        let needed = g.out_w + column_copies.reach();
        let pitch = if g.stride.1 == 1 && per_column == PerTap::No {
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
        let columns = &column_copies.firsts;
        let planes = row_copies
            .firsts
            .iter()
            .flat_map(|r| columns.iter().map(|c| (*r, *c)))
            .collect::<Vec<_>>();
        let taps = row_copies
            .taps
            .iter()
            .flat_map(|(r, i)| {
                column_copies.taps.iter().map(|(c, j)| PlaneTap {
                    plane: *r * columns.len() + *c,
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

    /// An estimate of the time for one image and input channel of a group, in half cycles: one per
    /// product, six per copied vector, and two more for each block that loads that vector. The
    /// history records no timings for these weights. To check them, let [`Self::new`] return the
    /// layout of each [`Split`] in turn and compare the lines "forward + weight gradient" of
    /// `cargo bench --bench conv2d`.
    fn cost(&self, g: &Geometry, lanes: usize) -> usize {
        let blocks = g.group_out().div_ceil(BLOCK);
        let products = self.vectors.len() * blocks * BLOCK * self.taps.len();
        let copied = self.planes.len() * self.plane_rows * self.pitch.div_ceil(lanes);
        self.per_image * (products + copied * (6 + 2 * blocks))
    }

    /// Sizes of the workspace for vectors of `lanes` lanes.
    pub fn room<F>(&self, g: &Geometry, lanes: usize) -> Room {
        let dy_plane = self.group * self.dy_tile + PLANE_GAP_BYTES / size_of::<F>();
        Room {
            dy_plane,
            dy_len: g.group_out().next_multiple_of(BLOCK) * dy_plane,
            slack: self.dy_tile + self.plane_rows * self.pitch + lanes,
        }
    }

    /// Values of the workspace, with some to align it to a cache line.
    pub fn workspace<F>(&self, g: &Geometry, lanes: usize) -> usize {
        let room = self.room::<F>(g, lanes);
        let tile = self.plane_rows * self.pitch;
        let x_len = self.channels * self.planes.len() * self.group * tile;
        room.dy_len + x_len + room.slack + 64
    }

    /// Tiles of all images.
    pub fn tiles(&self) -> usize {
        self.images * self.per_image
    }
}
