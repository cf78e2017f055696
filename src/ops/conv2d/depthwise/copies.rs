//! Source planes laid out for vectors.

use pulp::Simd;

use super::super::element::Element;
use super::super::geometry::Geometry;
use super::super::planes::{self, Window};
use super::CHANNELS;

/// Bytes of the planes copied before the first is read.
const BATCH_BYTES: usize = 16 << 10;

/// What decides where the taps of a kernel meet the pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) kernel: (usize, usize),
    pub(super) stride: (usize, usize),
    pub(super) dilation: (usize, usize),
    /// The first tap of the first output, in the source; negative in the padding.
    pub(super) first: (isize, isize),
    /// Columns of the source.
    pub(super) width: usize,
    pub(super) out: (usize, usize),
}

impl Places {
    pub(super) fn forward(g: &Geometry) -> Self {
        Self {
            kernel: (g.kh, g.kw),
            stride: g.stride,
            dilation: g.dilation,
            first: (-(g.padding.0 as isize), -(g.padding.1 as isize)),
            width: g.w,
            out: (g.out_h, g.out_w),
        }
    }
}

/// A source plane copied for vectors: one copy for each row and column that a stride visits.
pub(super) struct Copies {
    pub(super) windows: Vec<Window>,
    /// Distance of the copies.
    pub(super) plane: usize,
    /// Where the taps lie.
    pub(super) taps: Vec<usize>,
    /// Where, relative to the taps, the vectors lie; those of the outputs follow each other.
    pub(super) vectors: Vec<usize>,
    /// Distance of the rows of the outputs; more than their width where vectors span rows.
    pub(super) pitch: usize,
    /// Values of all copies, with what the last vectors read beyond them.
    pub(super) len: usize,
    /// Values of the outputs, rounded up to vectors.
    pub(super) outputs: usize,
}

impl Copies {
    pub(super) fn new(p: &Places, lanes: usize) -> Self {
        let (row_firsts, row_places) = planes::axis(p.kernel.0, p.stride.0, p.dilation.0, false);
        let (column_firsts, column_places) =
            planes::axis(p.kernel.1, p.stride.1, p.dilation.1, false);
        let rows = p.out.0 + planes::reach(&row_places);
        let needed = p.out.1 + planes::reach(&column_places);
        let by_row = p.out.1.is_multiple_of(lanes);
        let pitch = if p.stride.1 == 1 && !by_row {
            // The zeros right of a row are those left of the next.
            let zeros = (-p.first.1).max(0) as usize;
            needed.min(
                p.out
                    .1
                    .max(p.width + zeros)
                    .max(needed.saturating_sub(zeros)),
            )
        } else {
            needed
        };
        let mut windows = Vec::new();
        for r in &row_firsts {
            for c in &column_firsts {
                windows.push(Window {
                    top: p.first.0 + *r as isize,
                    left: p.first.1 + *c as isize,
                    step: p.stride,
                    rows,
                    pitch,
                });
            }
        }
        let plane = rows * pitch;
        let mut taps = Vec::new();
        for (r, i) in &row_places {
            for (c, j) in &column_places {
                taps.push((r * column_firsts.len() + c) * plane + i * pitch + j);
            }
        }
        let out_pitch = if by_row { p.out.1 } else { pitch };
        let outputs = ((p.out.0 - 1) * out_pitch + p.out.1).next_multiple_of(lanes);
        let vectors: Vec<usize> = (0..outputs)
            .step_by(lanes)
            .map(|at| at / out_pitch * pitch + at % out_pitch)
            .collect();
        // How far the last vector of the last row may reach behind the planes.
        let len = windows.len() * plane + needed - pitch + 2 * lanes;
        Self {
            windows,
            plane,
            taps,
            vectors,
            pitch: out_pitch,
            len,
            outputs,
        }
    }

    /// Planes to copy before the first of them is read: a vector that several stores have written
    /// can be loaded only when they have reached the cache.
    #[inline(always)]
    pub(super) fn batch<F>(&self) -> usize {
        (BATCH_BYTES / (self.len * size_of::<F>())).clamp(1, CHANNELS)
    }

    /// Copies the plane that lies `at` values behind the begin of `all`.
    #[inline(always)]
    pub(super) fn copy<S: Simd, F: Element>(
        &self,
        simd: S,
        all: &[F],
        at: usize,
        size: (usize, usize),
        spread: (usize, usize),
        to: &mut [F],
    ) {
        assert!(to.len() >= self.len && 2 * F::lanes::<S>() <= self.len);
        for (i, window) in self.windows.iter().enumerate() {
            // SAFETY: the copies lie in `to`, with more than a vector behind the last.
            unsafe {
                let to = to.as_mut_ptr().add(i * self.plane);
                if spread == (1, 1) {
                    planes::copy(simd, all, at, size, *window, to);
                } else {
                    planes::spread(simd, all, at, size, *window, spread, to);
                }
            }
        }
        // Times zero it must not be NaN.
        let end = self.windows.len() * self.plane;
        let whole = (self.len - end) / F::lanes::<S>() * F::lanes::<S>();
        // SAFETY: whole vectors up to the end, the last of which may overlap the one before.
        unsafe {
            let end = to.as_mut_ptr().add(end);
            planes::zero(simd, end, whole);
            let last = to.as_mut_ptr().add(self.len - F::lanes::<S>());
            planes::zero(simd, last, 1);
        }
    }
}
