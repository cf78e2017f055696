//! Which taps meet which pixels of a row.

use std::ops::Range;

use super::super::plan::{Phase, Plan};
use super::super::planes::inside;
use super::kernel::Tap;

/// Values of weights that stay in the first-level cache while the task's pixels pass.
const WEIGHTS: usize = 6 << 10;

/// Neighbouring pixels that see the same taps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Of the first pixel's sums.
    pub at: usize,
    /// Of the first pixel in its row, from where the taps count.
    pub column: usize,
    pub pixels: usize,
    /// First and last of the taps.
    pub taps: (usize, usize),
}

/// The products of a phase on a band of rows of an image.
#[derive(Debug, Default)]
pub(super) struct Products {
    /// Runs of some columns of taps, of which the weights should stay in the cache.
    pub sets: Vec<Vec<Run>>,
    pub taps: Vec<Tap>,
    /// Most taps of a set.
    most: usize,
}

impl Products {
    /// For blocks of `width` channels, by tiles of `pixels`; all that the taps of a run see lies
    /// within a plane of the source.
    pub fn new(
        plan: &Plan,
        phase: &Phase,
        rows: Range<usize>,
        width: usize,
        pixels: usize,
    ) -> Self {
        let mut columns: Vec<isize> = phase.taps.iter().map(|t| t.x).collect();
        columns.sort_unstable();
        columns.dedup();
        // All taps at once where their weights fit, else one column of them after the other.
        let together = match phase.taps.len() * plan.src_c * width <= WEIGHTS {
            true => columns.len().max(1),
            false => 1,
        };
        let mut all = Self::default();
        for columns in columns.chunks(together) {
            let parts = parts(plan, phase, columns, pixels);
            let taps = phase.taps.iter().filter(|t| columns.contains(&t.x));
            all.most = all.most.max(taps.count());
            let mut runs = Vec::new();
            for row in rows.clone() {
                for (pixels, columns) in &parts {
                    let first = all.taps.len();
                    for (t, tap) in phase.taps.iter().enumerate() {
                        let y = (row * plan.step.0) as isize + tap.y;
                        if columns.contains(&tap.x) && (0..plan.src.0 as isize).contains(&y) {
                            all.taps.push(Tap {
                                src: y * plan.src.1 as isize + tap.x,
                                weights: t * plan.src_c * width,
                            });
                        }
                    }
                    let column = |pixel| (pixel * plan.step.1) as isize;
                    for tap in &all.taps[first..] {
                        let start = tap.src + column(pixels.start);
                        let last = tap.src + column(pixels.end - 1);
                        assert!(start >= 0 && last < (plan.src.0 * plan.src.1) as isize);
                    }
                    if first < all.taps.len() {
                        runs.push(Run {
                            at: ((row - rows.start) * phase.cols + pixels.start) * width,
                            column: pixels.start * plan.step.1,
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

    /// Source channels of which a set's weights stay in the cache.
    pub fn depth(&self, width: usize) -> usize {
        (WEIGHTS / (self.most * width).max(1)).max(16)
    }
}

/// Divides a row into tiles, and those into the pixels for which the same columns of taps lie
/// inside of the source.
fn parts(
    plan: &Plan,
    phase: &Phase,
    columns: &[isize],
    pixels: usize,
) -> Vec<(Range<usize>, Vec<isize>)> {
    let valid = |x| {
        let (start, end) = inside(x, plan.step.1, phase.cols, plan.src.1);
        start..end
    };
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
