//! Splits rows into runs of pixels that use the same taps.

use std::ops::Range;

use super::super::geometry::positions_inside;
use super::super::plan::{Phase, Plan};

/// Values of weights that stay in the L1 cache while the pixels of a task pass: 24 KiB of the 32
/// or 48 KiB that it usually has.
const WEIGHTS: usize = 6 << 10;

/// The fewest source channels of a pass through the weights. They amortise loading and storing the
/// sums.
const MIN_DEPTH: usize = 16;

/// A tap of the kernel on a row of outputs.
#[derive(Debug, Clone, Copy)]
pub struct RowTap {
    /// Position of the first pixel of the row, from the first pixel of the source on.
    pub src: isize,
    /// Position of the tap's weights in the weights of a block.
    pub weights: usize,
}

/// Neighbouring pixels with the same taps inside of the source.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Position of the sums of the first pixel.
    pub at: usize,
    /// Values of the source from the first pixel of the row to the first of the run.
    pub column: usize,
    pub pixels: usize,
    /// First tap, and the tap after the last.
    pub taps: (usize, usize),
}

/// The size of a register tile.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// The most pixels.
    pub pixels: usize,
    /// Output channels.
    pub width: usize,
}

/// The runs of a phase on a band of rows of an image.
#[derive(Debug, Default)]
pub struct Runs {
    /// Runs per set of tap columns. The weights of a set stay in the L1 cache.
    pub sets: Vec<Vec<Run>>,
    pub taps: Vec<RowTap>,
    /// Taps of the largest set.
    most_taps: usize,
}

impl Runs {
    /// The runs of some rows, for a source with `channels` channels whose pixels are `pixel` values apart.
    /// All taps of a run are within the source.
    pub fn new(
        plan: &Plan,
        phase: &Phase,
        rows: Range<usize>,
        tile: Tile,
        (pixel, channels): (usize, usize),
    ) -> Self {
        let width = tile.width;
        let mut columns: Vec<isize> = phase.taps.iter().map(|t| t.x).collect();
        columns.sort_unstable();
        columns.dedup();
        // All taps at once if their weights fit, else one column of taps after the other.
        let together = if phase.taps.len() * channels * width <= WEIGHTS {
            columns.len().max(1)
        } else {
            1
        };
        let mut all = Self::default();
        for columns in columns.chunks(together) {
            let parts = parts(plan, phase, columns, tile.pixels);
            let taps = phase.taps.iter().filter(|t| columns.contains(&t.x));
            all.most_taps = all.most_taps.max(taps.count());
            let mut runs = Vec::new();
            for row in rows.clone() {
                for (pixels, columns) in &parts {
                    let first = all.taps.len();
                    for (t, tap) in phase.taps.iter().enumerate() {
                        let y = (row * plan.step.0) as isize + tap.y;
                        if columns.contains(&tap.x) && (0..plan.src.0 as isize).contains(&y) {
                            all.taps.push(RowTap {
                                src: (y * plan.src.1 as isize + tap.x) * pixel as isize,
                                weights: t * channels * width,
                            });
                        }
                    }
                    let column = |at| (at * plan.step.1 * pixel) as isize;
                    let plane = plan.src.0 * plan.src.1 * pixel;
                    for tap in &all.taps[first..] {
                        let start = tap.src + column(pixels.start);
                        let last = tap.src + column(pixels.end - 1);
                        assert!(start >= 0 && last < plane as isize);
                    }
                    if first < all.taps.len() {
                        runs.push(Run {
                            at: ((row - rows.start) * phase.cols + pixels.start) * width,
                            column: pixels.start * plan.step.1 * pixel,
                            pixels: pixels.len(),
                            taps: (first, all.taps.len()),
                        });
                    }
                }
            }
            all.sets.push(runs);
        }
        all
    }

    /// Source channels of a pass through the weights of a set.
    pub fn depth(&self, width: usize) -> usize {
        (WEIGHTS / (self.most_taps * width).max(1)).max(MIN_DEPTH)
    }
}

/// Splits a row into tiles, and the tiles into pixels that have the same columns of taps inside of
/// the source.
fn parts(
    plan: &Plan,
    phase: &Phase,
    columns: &[isize],
    pixels: usize,
) -> Vec<(Range<usize>, Vec<isize>)> {
    let valid = |x| positions_inside(x, plan.step.1, phase.cols, plan.src.1);
    let seen = || columns.iter().map(|x| valid(*x)).filter(|v| !v.is_empty());
    let start = seen().map(|v| v.start).min().unwrap_or(0);
    let len = seen().map(|v| v.end).max().unwrap_or(0) - start;
    let tiles = len.div_ceil(pixels);
    let mut parts: Vec<(Range<usize>, Vec<isize>)> = Vec::new();
    for tile in 0..tiles {
        let first_of_tile = parts.len();
        let (from, to) = (start + len * tile / tiles, start + len * (tile + 1) / tiles);
        for x in columns {
            let valid = valid(*x);
            let part = valid.start.max(from)..valid.end.min(to);
            match parts[first_of_tile..].iter_mut().find(|p| p.0 == part) {
                Some((_, columns)) => columns.push(*x),
                None if part.is_empty() => {}
                None => parts.push((part, vec![*x])),
            }
        }
    }
    parts
}
