//! The grid of tiles over a plane, and planes as tiles with channels in the lanes.

use std::ops::Range;

use pulp::Simd;

use super::operands::{Operands, word_of};
use super::transform::{Axis, Tile, V, both_axes};
use crate::ops::memory_format::{ImageStrides, MemoryFormat};
use crate::simd::Lanes;
use crate::simd::transpose::{Matrix, to_pixel_major};

/// The tiles of all images.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub images: usize,
    /// Rows of tiles in an image.
    pub rows: usize,
    /// Tiles in a row.
    pub cols: usize,
}

/// Neighbouring tiles: whole images, or rows of one image.
#[derive(Debug, Clone)]
pub struct Block {
    pub images: Range<usize>,
    /// Rows of tiles.
    pub rows: Range<usize>,
    /// Tiles in a row.
    pub cols: usize,
}

impl Grid {
    /// Tiles of `outputs` squared outputs that cover planes of `size`.
    pub fn new(images: usize, size: (usize, usize), outputs: usize) -> Self {
        Self {
            images,
            rows: size.0.div_ceil(outputs),
            cols: size.1.div_ceil(outputs),
        }
    }

    pub fn tiles(&self) -> usize {
        self.images * self.rows * self.cols
    }

    /// Blocks of about `tiles` tiles, equal but for rounding.
    pub fn blocks(&self, tiles: usize) -> Vec<Block> {
        let image = (self.rows * self.cols).max(1);
        let even = |count: usize, parts: usize| {
            (0..parts).map(move |p| count * p / parts..count * (p + 1) / parts)
        };
        if image <= tiles {
            let parts = self.images.div_ceil(tiles / image);
            let block = |images| Block {
                images,
                rows: 0..self.rows,
                cols: self.cols,
            };
            return even(self.images, parts).map(block).collect();
        }
        let parts = self.rows.div_ceil((tiles / self.cols).max(1));
        let mut blocks = Vec::with_capacity(self.images * parts);
        for i in 0..self.images {
            blocks.extend(even(self.rows, parts).map(|rows| Block {
                images: i..i + 1,
                rows,
                cols: self.cols,
            }));
        }
        blocks
    }
}

impl Block {
    /// Tiles of one image.
    pub fn tiles_of_image(&self) -> usize {
        self.rows.len() * self.cols
    }

    pub fn tiles(&self) -> usize {
        self.images.len() * self.tiles_of_image()
    }
}

/// The part of a plane that the tiles of a block read, with zeros outside of the plane.
///
/// Tiles of `side` values start every `step` values from (`top`, `left`) on.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    pub top: isize,
    pub left: isize,
    pub rows: usize,
    pub cols: usize,
}

impl Region {
    /// For tiles of `side` values every `step` values; the first tile of a plane starts at
    /// `origin`.
    pub fn new(block: &Block, side: usize, step: usize, origin: (isize, isize)) -> Self {
        Self {
            top: origin.0 + (block.rows.start * step) as isize,
            left: origin.1,
            rows: (block.rows.len() - 1) * step + side,
            cols: (block.cols - 1) * step + side,
        }
    }

    /// Values of the region in `f32` for one vector of channels.
    pub fn len(&self, lanes: usize) -> usize {
        self.rows * self.cols * lanes
    }

    /// Copies the region of some channels to `to`, `[row][column][lane]`. Only values within the
    /// planes are written, and zeros in the lanes of missing channels: the rest of `to` must be
    /// zero.
    #[inline(always)]
    fn read<S: Simd>(&self, simd: S, planes: &Planes, first: usize, to: &mut [f32]) {
        let lanes = S::F32_LANES;
        let (height, width) = planes.size;
        let start = self.left.max(0) as usize;
        let end = (self.left + self.cols as isize).clamp(0, width as isize) as usize;
        if start >= end {
            return;
        }
        let offset = (start as isize - self.left) as usize;
        let matrix = Matrix {
            channels: lanes.min(planes.channels - first),
            pixels: end - start,
            plane: height * width,
            width: lanes,
        };
        let ImageStrides { channel, pixel, .. } = planes.strides;
        let values = &planes.values[first * channel..];
        for row in 0..self.rows {
            let y = self.top + row as isize;
            if y >= 0 && y < height as isize {
                let from = &values[(y as usize * width + start) * pixel..];
                let to = &mut to[(row * self.cols + offset) * lanes..];
                match planes.format {
                    MemoryFormat::Contiguous => to_pixel_major(simd, from, matrix, to),
                    MemoryFormat::ChannelsLast => copy_pixels(simd, from, pixel, matrix, to),
                }
            }
        }
    }

    /// The tile at (`row`, `col`) of a copy of the region.
    #[inline(always)]
    fn tile<S: Simd, const N: usize>(
        &self,
        simd: S,
        copy: &[f32],
        row: usize,
        col: usize,
    ) -> Tile<S, N> {
        let lanes = S::F32_LANES;
        let copy = &copy[(row * self.cols + col) * lanes..];
        assert!(((N - 1) * self.cols + N) * lanes <= copy.len());
        let mut tile = [[Lanes::splat(simd, 0.0); N]; N];
        for (y, row) in tile.iter_mut().enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                let from = copy.as_ptr().wrapping_add((y * self.cols + x) * lanes);
                // SAFETY: the last vector of the tile is within the copy, as asserted.
                *value = unsafe { load(simd, from) };
            }
        }
        tile
    }
}

/// Copies `[pixel][channel]`, with neighbouring pixels `pitch` values apart. The vector of a pixel is
/// padded with zeros.
#[inline(always)]
fn copy_pixels<S: Simd>(simd: S, from: &[f32], pitch: usize, sizes: Matrix, to: &mut [f32]) {
    let lanes = S::F32_LANES;
    let Matrix {
        channels, pixels, ..
    } = sizes;
    let to = &mut to[..pixels * lanes];
    for (p, to) in to.chunks_exact_mut(lanes).enumerate() {
        let from = &from[p * pitch..][..channels];
        // SAFETY: the result is as long as a vector.
        unsafe { store(to.as_mut_ptr(), Lanes::partial_load(simd, from)) };
    }
}

/// The planes of an image.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// From the first channel on.
    pub values: &'a [f32],
    pub channels: usize,
    pub size: (usize, usize),
    pub format: MemoryFormat,
    pub strides: ImageStrides,
}

/// What a product sums over, and so which values share a word.
#[derive(Debug, Clone, Copy)]
pub enum SumOver {
    Channels,
    Tiles,
}

/// Transforms the tiles of a vector of channels.
pub struct TileReader<'a> {
    pub block: &'a Block,
    pub region: Region,
    /// Values between neighbouring tiles of a plane.
    pub step: usize,
    /// Where the transformed tiles go.
    pub matrices: TileMatrices,
    pub sum_over: SumOver,
}

impl TileReader<'_> {
    /// Transforms the tiles of the channels from `first` on in the `image`-th image of the block.
    /// `copy` has the size of the region; between calls it must not be changed, and before the
    /// first it must be zero.
    ///
    /// # Safety
    /// `to` must hold the matrices, and no other thread may access these channels of the image.
    #[inline(always)]
    pub unsafe fn read<Q: Operands, T: Axis<A, N>, S: Simd, const A: usize, const N: usize>(
        &self,
        simd: S,
        (planes, image, first): (&Planes, usize, usize),
        copy: &mut [f32],
        to: *mut f32,
    ) {
        self.region.read(simd, planes, first, copy);
        let tiles = self.block.tiles_of_image();
        for t in 0..tiles {
            let (y, x) = (
                t / self.block.cols * self.step,
                t % self.block.cols * self.step,
            );
            let tile = both_axes::<T, S, A, N>(self.region.tile(simd, copy, y, x));
            let number = image * tiles + t;
            let (row, column, part) = match self.sum_over {
                SumOver::Channels => {
                    let (column, part) = word_of::<Q>(first, S::F32_LANES);
                    (number, column, part)
                }
                SumOver::Tiles => (number / Q::VALUES, first, number % Q::VALUES),
            };
            // SAFETY: guaranteed by the caller.
            unsafe { self.matrices.put::<Q, S, N>(to, (row, column), part, tile) };
        }
    }
}

/// Loads a vector; it need not be aligned.
///
/// # Safety
/// It must be readable.
#[inline(always)]
pub unsafe fn load<S: Simd>(simd: S, from: *const f32) -> V<S> {
    // SAFETY: guaranteed by the caller.
    Lanes::new(simd, unsafe { from.cast::<S::f32s>().read_unaligned() })
}

/// Stores a vector; it need not be aligned.
///
/// # Safety
/// It must be writable, and no other thread may access it.
#[inline(always)]
pub unsafe fn store<S: Simd>(to: *mut f32, vector: V<S>) {
    // SAFETY: guaranteed by the caller.
    unsafe { to.cast::<S::f32s>().write_unaligned(vector.vector()) };
}

/// Words of transformed tiles of a block, or products of them: `[place in the tile][row][column]`. A row
/// is a tile, a column a channel; words of several tiles or channels are one of them.
#[derive(Debug, Clone, Copy)]
pub struct TileMatrices {
    pub rows: usize,
    /// Rounded up to whole vectors.
    pub columns: usize,
}

/// Words between the matrices of neighbouring places. Without them these would lie at multiples
/// of a power of two, which share few sets of the cache.
const GAP: usize = 16;

impl TileMatrices {
    /// Distance between the matrices of neighbouring places.
    pub fn place(&self) -> usize {
        self.rows * self.columns + GAP
    }

    /// Words of the matrices of `places` places.
    pub fn len(&self, places: usize) -> usize {
        places * self.place()
    }

    /// Stores the values of a tile for one vector of channels as part `part` of its words.
    ///
    /// # Safety
    /// `to` must hold the matrices, and no other thread may access these words.
    #[inline(always)]
    unsafe fn put<Q: Operands, S: Simd, const N: usize>(
        &self,
        to: *mut f32,
        (row, column): (usize, usize),
        part: usize,
        values: Tile<S, N>,
    ) {
        assert!(row < self.rows && column + S::F32_LANES <= self.columns);
        let to = to.wrapping_add(row * self.columns + column);
        for (place, value) in values.as_flattened().iter().enumerate() {
            // SAFETY: within the matrices.
            unsafe { Q::put(*value, part, to.wrapping_add(place * self.place())) };
        }
    }

    /// The values of a tile for one vector of channels.
    #[inline(always)]
    pub fn get<S: Simd, const N: usize>(
        &self,
        simd: S,
        from: &[f32],
        row: usize,
        column: usize,
    ) -> Tile<S, N> {
        assert!(row < self.rows && column + S::F32_LANES <= self.columns);
        assert!(from.len() >= self.len(N * N));
        let from = from[row * self.columns + column..].as_ptr();
        let mut values = [[Lanes::splat(simd, 0.0); N]; N];
        for (place, value) in values.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: within the matrices, as asserted.
            *value = unsafe { load(simd, from.wrapping_add(place * self.place())) };
        }
        values
    }
}
