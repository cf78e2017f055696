//! Source planes copied with their padding, in positions for whole vectors.

use pulp::Simd;

use super::super::element::Element;
use super::super::geometry::{Axis, Geometry};
use super::super::pack::planes::{self, AxisCopies, PerTap, Plane, Window};

/// Bytes of the planes that are copied before the first of them is read. A vector that several
/// stores have written can be loaded only after they have reached the L1 cache.
const BATCH_BYTES: usize = 16 << 10;

/// The most planes of a batch. The weight gradient sums this many channels together, so that their
/// sums stay in the L1 cache.
pub const CHANNELS: usize = 16;

/// The sizes that determine which pixels the taps of a kernel read.
#[derive(Debug, Clone, Copy)]
pub struct TapPositions {
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    pub dilation: (usize, usize),
    /// Position of the first tap for the first output, in the source; negative in the padding.
    pub first: (isize, isize),
    /// Columns of the source.
    pub width: usize,
    pub out: (usize, usize),
}

impl TapPositions {
    /// For the convolution and the weight gradient: the source is x.
    pub fn forward(g: &Geometry) -> Self {
        Self {
            kernel: (g.kh, g.kw),
            stride: g.stride,
            dilation: g.dilation,
            first: (-(g.padding.0 as isize), -(g.padding.1 as isize)),
            width: g.w,
            out: (g.out_h, g.out_w),
        }
    }

    /// For the input gradient: the source is dy with zeros between its values, and the kernel is
    /// reversed.
    pub fn input_grad(g: &Geometry) -> Self {
        let first = |a: Axis| a.padding as isize - (a.dilation * (a.kernel - 1)) as isize;
        Self {
            kernel: (g.kh, g.kw),
            stride: (1, 1),
            dilation: g.dilation,
            first: (first(g.vertical()), first(g.horizontal())),
            width: (g.out_w - 1) * g.stride.1 + 1,
            out: (g.h, g.w),
        }
    }
}

/// How a source plane is copied: one copy per remainder of row and column under the stride.
pub struct PaddedCopies {
    windows: Vec<Window>,
    /// Distance between the copies.
    plane: usize,
    /// Positions of the taps.
    pub taps: Vec<usize>,
    /// Positions of the vectors, relative to the taps. The outputs of the vectors are contiguous.
    pub vectors: Vec<usize>,
    /// Distance between the rows of the outputs; more than their width if vectors span rows.
    pub pitch: usize,
    /// Values of all copies, and those that the last vectors load after them.
    pub len: usize,
    /// Values of the outputs, rounded up to vectors.
    pub outputs: usize,
}

impl PaddedCopies {
    /// The copies for vectors of `lanes` lanes.
    pub fn new(p: &TapPositions, lanes: usize) -> Self {
        let row_copies = AxisCopies::new(p.kernel.0, p.stride.0, p.dilation.0, PerTap::No);
        let column_copies = AxisCopies::new(p.kernel.1, p.stride.1, p.dilation.1, PerTap::No);
        let rows = p.out.0 + row_copies.reach();
        let needed = p.out.1 + column_copies.reach();
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
        let columns = &column_copies.firsts;
        let mut windows = Vec::new();
        for r in &row_copies.firsts {
            for c in columns {
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
        for (r, i) in &row_copies.taps {
            for (c, j) in &column_copies.taps {
                taps.push((r * columns.len() + c) * plane + i * pitch + j);
            }
        }
        let out_pitch = if by_row { p.out.1 } else { pitch };
        let outputs = ((p.out.0 - 1) * out_pitch + p.out.1).next_multiple_of(lanes);
        let vectors: Vec<usize> = (0..outputs)
            .step_by(lanes)
            .map(|at| at / out_pitch * pitch + at % out_pitch)
            .collect();
        // The last vector of the last row may end after the planes.
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

    /// Planes to copy before the first of them is read: see [`BATCH_BYTES`].
    #[inline(always)]
    pub fn batch<F>(&self) -> usize {
        (BATCH_BYTES / (self.len * size_of::<F>())).clamp(1, CHANNELS)
    }

    /// Copies a plane, with `spread - 1` zeros between its values.
    #[inline(always)]
    pub fn copy<S: Simd, F: Element>(
        &self,
        simd: S,
        plane: Plane<F>,
        spread: (usize, usize),
        to: &mut [F],
    ) {
        assert!(to.len() >= self.len && 2 * F::lanes::<S>() <= self.len);
        for (i, window) in self.windows.iter().enumerate() {
            // SAFETY: the copies are in `to`, with more than a vector after the last.
            unsafe {
                let to = to.as_mut_ptr().add(i * self.plane);
                if spread == (1, 1) {
                    planes::copy(simd, plane, *window, to);
                } else {
                    planes::copy_spread(simd, plane, *window, spread, to);
                }
            }
        }
        // The vectors multiply the values after the planes by zero, so these must not be NaN.
        let end = self.windows.len() * self.plane;
        let whole = (self.len - end) / F::lanes::<S>() * F::lanes::<S>();
        // SAFETY: whole vectors up to the end. The last may overlap the one before.
        unsafe {
            let end = to.as_mut_ptr().add(end);
            planes::zero(simd, end, whole);
            let last = to.as_mut_ptr().add(self.len - F::lanes::<S>());
            planes::zero(simd, last, 1);
        }
    }
}
