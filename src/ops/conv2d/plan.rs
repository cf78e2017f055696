//! A plan describes a direct convolution, in one form for the convolution and its input gradient.
//!
//! The gradient with respect to the input is also a convolution, of dy with the kernel reversed and
//! stride 1. A strided convolution's gradient splits into phases: inputs whose coordinates leave
//! the same remainder use the same taps.

use std::ops::Range;

use super::geometry::Geometry;

/// One position of the kernel, relative to the position of the output in the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    /// Rows from the source row `output row * step`; negative above it.
    pub y: isize,
    /// Columns from the source column `output column * step`.
    pub x: isize,
    /// Index into the `kh * kw` weights of the kernel.
    pub weight: usize,
}

/// Outputs with the same taps: every `out_step`-th from `origin` on.
#[derive(Debug)]
pub(super) struct Phase {
    pub origin: (usize, usize),
    pub rows: usize,
    pub cols: usize,
    pub taps: Vec<Tap>,
}

/// A convolution of `src` planes to `dst` planes.
#[derive(Debug)]
pub(super) struct Plan {
    pub n: usize,
    pub groups: usize,
    /// Source channels of a group.
    pub src_c: usize,
    /// Size of a source plane.
    pub src: (usize, usize),
    /// Destination channels of a group.
    pub dst_c: usize,
    /// Size of a destination plane.
    pub dst: (usize, usize),
    /// Source positions between neighbouring outputs of a phase.
    pub step: (usize, usize),
    /// Destination positions between neighbouring outputs of a phase.
    pub out_step: (usize, usize),
    pub phases: Vec<Phase>,
    /// Smallest and largest `y` of the taps of all phases.
    pub reach_y: (isize, isize),
    /// Smallest and largest `x` of the taps of all phases.
    pub reach_x: (isize, isize),
}

impl Plan {
    /// y from x.
    pub fn forward(g: &Geometry) -> Self {
        let tap = |i: usize| Tap {
            y: (i / g.kw * g.dilation.0) as isize - g.padding.0 as isize,
            x: (i % g.kw * g.dilation.1) as isize - g.padding.1 as isize,
            weight: i,
        };
        let phase = Phase {
            origin: (0, 0),
            rows: g.out_h,
            cols: g.out_w,
            taps: (0..g.taps()).map(tap).collect(),
        };
        Self {
            n: g.n,
            groups: g.groups,
            src_c: g.group_in(),
            src: (g.h, g.w),
            dst_c: g.group_out(),
            dst: (g.out_h, g.out_w),
            step: g.stride,
            out_step: (1, 1),
            phases: vec![phase],
            reach_y: (0, 0),
            reach_x: (0, 0),
        }
        .with_reach()
    }

    /// dx from dy.
    pub fn input_grad(g: &Geometry) -> Self {
        // Input i and tap k meet at output (i + padding - k dilation) / stride, if it is whole.
        let meet = |origin: usize, k: usize, stride: usize, padding: usize, dilation: usize| {
            let at = (origin + padding) as isize - (k * dilation) as isize;
            (at.rem_euclid(stride as isize) == 0).then(|| at.div_euclid(stride as isize))
        };
        let mut phases = Vec::new();
        for y in 0..g.stride.0.min(g.h) {
            for x in 0..g.stride.1.min(g.w) {
                let tap = |i: usize| {
                    Some(Tap {
                        y: meet(y, i / g.kw, g.stride.0, g.padding.0, g.dilation.0)?,
                        x: meet(x, i % g.kw, g.stride.1, g.padding.1, g.dilation.1)?,
                        weight: i,
                    })
                };
                phases.push(Phase {
                    origin: (y, x),
                    rows: (g.h - y).div_ceil(g.stride.0),
                    cols: (g.w - x).div_ceil(g.stride.1),
                    taps: (0..g.taps()).filter_map(tap).collect(),
                });
            }
        }
        Self {
            n: g.n,
            groups: g.groups,
            src_c: g.group_out(),
            src: (g.out_h, g.out_w),
            dst_c: g.group_in(),
            dst: (g.h, g.w),
            step: (1, 1),
            out_step: g.stride,
            phases,
            reach_y: (0, 0),
            reach_x: (0, 0),
        }
        .with_reach()
    }

    fn with_reach(mut self) -> Self {
        let taps = || self.phases.iter().flat_map(|p| &p.taps);
        let reach = |at: fn(&Tap) -> isize| {
            let low = taps().map(at).min().unwrap_or(0);
            (low, taps().map(at).max().unwrap_or(0))
        };
        (self.reach_y, self.reach_x) = (reach(|t| t.y), reach(|t| t.x));
        self
    }

    /// Rows of the largest phase.
    pub fn rows(&self) -> usize {
        self.phases.iter().map(|p| p.rows).max().unwrap_or(0)
    }

    /// The rows of the source that some rows of all phases read.
    pub fn source_rows(&self, rows: &Range<usize>) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        let at = |row: usize, reach: isize| {
            (row * self.step.0)
                .saturating_add_signed(reach)
                .min(self.src.0)
        };
        at(rows.start, self.reach_y.0)..at(rows.end - 1, self.reach_y.1.saturating_add(1))
    }

    /// Columns of the largest phase.
    pub fn cols(&self) -> usize {
        self.phases.iter().map(|p| p.cols).max().unwrap_or(0)
    }

    /// Multiplications for all outputs, including those with padding.
    pub fn multiplications(&self) -> usize {
        let phase = |p: &Phase| (p.rows * p.cols).saturating_mul(p.taps.len());
        let outputs = self.phases.iter().map(phase);
        let outputs = outputs.fold(0, usize::saturating_add);
        [self.n, self.groups, self.src_c, self.dst_c]
            .into_iter()
            .fold(outputs, usize::saturating_mul)
    }
}
