//! Copies of image planes with their padding, so that kernels need no test at the borders.
//!
//! A stride splits a plane into one copy per remainder of row and column. In the copies the taps
//! of neighbouring outputs are neighbours, so a tap is a constant offset.

use pulp::Simd;

use super::super::element::Element;
use super::super::geometry::positions_inside;

/// A plane inside the values of all images.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a, F> {
    /// The values of all images. Copies may load vectors that start in the plane and end after it.
    pub all: &'a [F],
    /// Position of the first value of the plane.
    pub at: usize,
    /// Rows and columns.
    pub size: (usize, usize),
}

impl<F> Plane<'_, F> {
    fn values(&self) -> &[F] {
        &self.all[self.at..][..self.size.0 * self.size.1]
    }
}

/// A part of a plane to copy: `rows` by `pitch` values. The value at `(i, j)` is the plane's at
/// `(top + i * step.0, left + j * step.1)`, or zero outside of the plane.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Row of the first value; negative above the plane.
    pub top: isize,
    /// Column of the first value; negative left of the plane.
    pub left: isize,
    /// Rows and columns of the plane between neighbouring values.
    pub step: (usize, usize),
    /// Rows of the copy.
    pub rows: usize,
    /// Columns of the copy.
    pub pitch: usize,
}

/// The copies that the taps of one axis need.
#[derive(Debug)]
pub struct AxisCopies {
    /// The first row or column of each copy, in the padded plane.
    pub firsts: Vec<usize>,
    /// For each tap the index of its copy and its offset there.
    pub taps: Vec<(usize, usize)>,
}

impl AxisCopies {
    /// One copy for each remainder that a tap leaves under the stride; with `PerTap::Yes`, one
    /// copy for each tap.
    pub fn new(taps: usize, stride: usize, dilation: usize, per_tap: PerTap) -> Self {
        let mut firsts = Vec::new();
        let mut places = Vec::new();
        for k in 0..taps {
            let at = k * dilation;
            let first = match per_tap {
                PerTap::Yes => at,
                PerTap::No => at % stride,
            };
            let copy = firsts.iter().position(|f| *f == first).unwrap_or_else(|| {
                firsts.push(first);
                firsts.len() - 1
            });
            places.push((copy, (at - first) / stride));
        }
        Self {
            firsts,
            taps: places,
        }
    }

    /// The largest offset of a tap in its copy.
    pub fn reach(&self) -> usize {
        self.taps.iter().map(|t| t.1).max().unwrap_or(0)
    }
}

/// Whether each tap has a copy of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerTap {
    /// Each tap.
    Yes,
    /// Taps with the same remainder share a copy.
    No,
}

/// Copies a window of a plane.
///
/// # Safety
/// `to` must be valid for writing `rows * pitch` values and one vector.
#[inline(always)]
pub unsafe fn copy<S: Simd, F: Element>(simd: S, plane: Plane<F>, window: Window, to: *mut F) {
    let Window {
        top,
        left,
        step,
        rows,
        pitch,
    } = window;
    let (h, w) = plane.size;
    let inner_rows = positions_inside(top, step.0, rows, h);
    let inner = positions_inside(left, step.1, pitch, w);
    let (start, end) = (inner.start, inner.end);
    let from = plane.values();
    if step.1 == 1 && pitch <= F::lanes::<S>() {
        // SAFETY: guaranteed by the caller.
        unsafe { copy_narrow(simd, plane, window, to) };
        return;
    }
    // SAFETY: rows are written in order, each with `pitch` values and less than a vector more. The
    // next row overwrites the excess.
    unsafe {
        zero(simd, to, inner_rows.start * pitch);
        for i in inner_rows.clone() {
            let row = (top + (i * step.0) as isize) as usize * w;
            let to = to.add(i * pitch);
            zero(simd, to, start);
            if start < end {
                let column = (left + (start * step.1) as isize) as usize;
                let from = &from[row + column..];
                gather(simd, from, step.1, end - start, to.add(start));
            }
            zero(simd, to.add(end), pitch - end);
        }
        let rest = rows - inner_rows.end;
        zero(simd, to.add(inner_rows.end * pitch), rest * pitch);
    }
}

/// [`copy`] if a row of the copy is not longer than a vector.
///
/// # Safety
/// As for [`copy`]; `step.1` must be 1 and `pitch` at most a vector.
#[inline(always)]
unsafe fn copy_narrow<S: Simd, F: Element>(simd: S, plane: Plane<F>, window: Window, to: *mut F) {
    let Plane { all, at, size } = plane;
    let (h, w) = size;
    let lanes = F::lanes::<S>();
    let inner_rows = positions_inside(window.top, window.step.0, window.rows, h);
    let inner = positions_inside(window.left, 1, window.pitch, w);
    assert!(lanes <= 16);
    let mut used = [F::ZERO; 16];
    used[inner.clone()].fill(F::ONE);
    let zeros = F::splat(simd, F::ZERO);
    // SAFETY: there are at most 16 lanes. A row is loaded as a vector only if `all` has a vector
    // there. Rows are written in order, so the next row overwrites the excess.
    unsafe {
        let used = F::less_than(simd, zeros, load::<S, F>(used.as_ptr()));
        zero(simd, to, inner_rows.start * window.pitch);
        for i in inner_rows.clone() {
            let row = (window.top + (i * window.step.0) as isize) as usize * w;
            let to = to.add(i * window.pitch);
            let first = (at + row) as isize + window.left;
            if first >= 0 && first as usize + lanes <= all.len() {
                let row = load::<S, F>(all.as_ptr().add(first as usize));
                store::<S, F>(to, F::select(simd, used, row, zeros));
            } else {
                for j in 0..window.pitch {
                    *to.add(j) = if inner.contains(&j) {
                        all[(first + j as isize) as usize]
                    } else {
                        F::ZERO
                    };
                }
            }
        }
        let rest = window.rows - inner_rows.end;
        let to = to.add(inner_rows.end * window.pitch);
        zero(simd, to, rest * window.pitch);
    }
}

/// [`copy`] of the plane with `spread - 1` zeros between its values, for a window with step 1.
///
/// # Safety
/// As for [`copy`].
#[inline(always)]
pub unsafe fn copy_spread<S: Simd, F: Element>(
    simd: S,
    plane: Plane<F>,
    window: Window,
    spread: (usize, usize),
    to: *mut F,
) {
    let Window {
        top,
        left,
        rows,
        pitch,
        ..
    } = window;
    let (h, w) = plane.size;
    let inner_rows = positions_inside(-top, spread.0, h, rows);
    let inner = positions_inside(-left, spread.1, w, pitch);
    let from = plane.values();
    // SAFETY: `positions_inside` keeps the rows and columns of the plane that are in the window.
    unsafe {
        zero(simd, to, rows * pitch);
        for i in inner_rows {
            let row = (i * spread.0) as isize - top;
            let to = to.offset(row * pitch as isize - left);
            for j in inner.clone() {
                *to.add(j * spread.1) = *from.get_unchecked(i * w + j);
            }
        }
    }
}

/// Writes `count` zeros by whole vectors.
///
/// # Safety
/// `to` must be valid for writing `count` values, rounded up to vectors.
#[inline(always)]
pub unsafe fn zero<S: Simd, F: Element>(simd: S, to: *mut F, count: usize) {
    let zeros = F::splat(simd, F::ZERO);
    let mut j = 0;
    while j < count {
        // SAFETY: guaranteed by the caller.
        unsafe { store::<S, F>(to.add(j), zeros) };
        j += F::lanes::<S>();
    }
}

/// Copies every `step`-th value of `from`, `count` in all; by whole vectors if `step` is 1.
///
/// # Safety
/// `to` must be valid for writing `count` values, rounded up to vectors.
#[inline(always)]
pub unsafe fn gather<S: Simd, F: Element>(
    simd: S,
    from: &[F],
    step: usize,
    count: usize,
    to: *mut F,
) {
    let lanes = F::lanes::<S>();
    assert!(count == 0 || (count - 1) * step < from.len());
    // SAFETY: the assertion and the test for a whole vector keep reads within `from`; the caller
    // guarantees the writes.
    unsafe {
        if step != 1 {
            if step == 2 {
                // The compiler turns a constant distance into shuffles of whole vectors.
                every_second(&from[..2 * count - 1], to);
            } else {
                for j in 0..count {
                    *to.add(j) = *from.get_unchecked(j * step);
                }
            }
            return;
        }
        let mut j = 0;
        while j < count {
            let v = if j + lanes <= from.len() {
                load::<S, F>(from.as_ptr().add(j))
            } else {
                F::partial_load(simd, &from[j..])
            };
            store::<S, F>(to.add(j), v);
            j += lanes;
        }
    }
}

/// Copies the first, third, fifth value and so on.
///
/// # Safety
/// `to` must be valid for writing half of the values of `from`, rounded up.
#[inline(always)]
unsafe fn every_second<F: Element>(from: &[F], to: *mut F) {
    for j in 0..from.len().div_ceil(2) {
        // SAFETY: guaranteed by the caller.
        unsafe { *to.add(j) = *from.get_unchecked(2 * j) };
    }
}

/// Loads a vector.
///
/// # Safety
/// `from` must be valid for reading a vector. It need not be aligned.
#[inline(always)]
pub unsafe fn load<S: Simd, F: Element>(from: *const F) -> F::Vector<S> {
    // SAFETY: guaranteed by the caller; every bit pattern is a vector of floats.
    unsafe { from.cast::<F::Vector<S>>().read_unaligned() }
}

/// Stores a vector.
///
/// # Safety
/// `to` must be valid for writing a vector. It need not be aligned.
#[inline(always)]
pub unsafe fn store<S: Simd, F: Element>(to: *mut F, v: F::Vector<S>) {
    // SAFETY: guaranteed by the caller.
    unsafe { to.cast::<F::Vector<S>>().write_unaligned(v) }
}
