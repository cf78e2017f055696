//! Copies of image planes with their padding, so that kernels need no test at the borders.

use pulp::Simd;

use super::element::Element;

/// Which part of a plane to copy: `rows` by `pitch` values, of which the one at `(i, j)` is the
/// plane's at `(top + i * step.0, left + j * step.1)`, or zero outside of the plane.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Row of the first value; may lie above the plane.
    pub top: isize,
    /// Column of the first value; may lie left of the plane.
    pub left: isize,
    /// Rows and columns of the plane from one value to the next.
    pub step: (usize, usize),
    /// Rows of the copy.
    pub rows: usize,
    /// Columns of the copy.
    pub pitch: usize,
}

/// The planes that the taps along one axis lie in, by their first row or column, and for each tap
/// its plane and its offset there. A stride needs a plane for each remainder that a tap has; with
/// `own`, each tap has a plane to itself.
pub fn axis(
    taps: usize,
    stride: usize,
    dilation: usize,
    own: bool,
) -> (Vec<usize>, Vec<(usize, usize)>) {
    let mut firsts = Vec::new();
    let mut places = Vec::new();
    for k in 0..taps {
        let at = k * dilation;
        let first = if own { at } else { at % stride };
        let plane = firsts.iter().position(|f| *f == first).unwrap_or_else(|| {
            firsts.push(first);
            firsts.len() - 1
        });
        places.push((plane, (at - first) / stride));
    }
    (firsts, places)
}

/// The largest offset of a tap in its plane.
pub fn reach(places: &[(usize, usize)]) -> usize {
    places.iter().map(|p| p.1).max().unwrap_or(0)
}

/// The indices `i < count` with `0 <= first + i * step < size`, as start and end.
#[inline(always)]
pub fn inside(first: isize, step: usize, count: usize, size: usize) -> (usize, usize) {
    let start = if first < 0 {
        first.unsigned_abs().div_ceil(step)
    } else {
        0
    };
    let end = match size as isize - first {
        room if room > 0 => (room as usize).div_ceil(step),
        _ => 0,
    };
    (start.min(count), end.clamp(start.min(count), count))
}

/// Copies the window of the plane of `h` by `w` values that lies `at` values behind the begin of
/// `all`. More of `all` may be read, but is not used.
///
/// # Safety
/// `to` must be valid for writing `rows * pitch` values and one vector.
#[inline(always)]
pub unsafe fn copy<S: Simd, F: Element>(
    simd: S,
    all: &[F],
    at: usize,
    (h, w): (usize, usize),
    window: Window,
    to: *mut F,
) {
    let Window {
        top,
        left,
        step,
        rows,
        pitch,
    } = window;
    let (first_row, end_row) = inside(top, step.0, rows, h);
    let (start, end) = inside(left, step.1, pitch, w);
    let from = &all[at..at + h * w];
    if step.1 == 1 && pitch <= F::lanes::<S>() {
        // SAFETY: the caller's promise.
        unsafe { copy_narrow(simd, all, at, (h, w), window, to) };
        return;
    }
    // SAFETY: rows are written in order, each of `pitch` values and less than a vector more; what
    // overshoots into the next row is overwritten by it.
    unsafe {
        zero(simd, to, first_row * pitch);
        for i in first_row..end_row {
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
        zero(simd, to.add(end_row * pitch), (rows - end_row) * pitch);
    }
}

/// [`copy`] where a row of the copy is not longer than a vector.
///
/// # Safety
/// As [`copy`]; `step.1` must be 1 and `pitch` not more than a vector.
#[inline(always)]
unsafe fn copy_narrow<S: Simd, F: Element>(
    simd: S,
    all: &[F],
    at: usize,
    (h, w): (usize, usize),
    window: Window,
    to: *mut F,
) {
    let lanes = F::lanes::<S>();
    let (first_row, end_row) = inside(window.top, window.step.0, window.rows, h);
    let (start, end) = inside(window.left, 1, window.pitch, w);
    assert!(lanes <= 16);
    let mut used = [F::ZERO; 16];
    used[start..end].fill(F::ONE);
    let zeros = F::splat(simd, F::ZERO);
    // SAFETY: there are at most 16 lanes; a row is read where a vector of `all` starts with it,
    // and written in order, so that what overshoots is overwritten.
    unsafe {
        let used = F::less_than(simd, zeros, load::<S, F>(used.as_ptr()));
        zero(simd, to, first_row * window.pitch);
        for i in first_row..end_row {
            let row = (window.top + (i * window.step.0) as isize) as usize * w;
            let to = to.add(i * window.pitch);
            let first = (at + row) as isize + window.left;
            if first >= 0 && first as usize + lanes <= all.len() {
                let row = load::<S, F>(all.as_ptr().add(first as usize));
                store::<S, F>(to, F::select(simd, used, row, zeros));
            } else {
                for j in 0..window.pitch {
                    let inside = (start..end).contains(&j);
                    *to.add(j) = match inside {
                        true => all[(first + j as isize) as usize],
                        false => F::ZERO,
                    };
                }
            }
        }
        zero(
            simd,
            to.add(end_row * window.pitch),
            (window.rows - end_row) * window.pitch,
        );
    }
}

/// As [`copy`], of the plane that has its values `spread` apart and zeros between them; only
/// for a window with a step of 1.
///
/// # Safety
/// As [`copy`].
#[inline(always)]
pub unsafe fn spread<S: Simd, F: Element>(
    simd: S,
    all: &[F],
    at: usize,
    (h, w): (usize, usize),
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
    let (first_row, end_row) = inside(-top, spread.0, h, rows);
    let (start, end) = inside(-left, spread.1, w, pitch);
    let from = &all[at..at + h * w];
    // SAFETY: `inside` leaves the rows and columns of the plane that lie in the window.
    unsafe {
        zero(simd, to, rows * pitch);
        for i in first_row..end_row {
            let row = (i * spread.0) as isize - top;
            let to = to.offset(row * pitch as isize - left);
            for j in start..end {
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
        // SAFETY: the caller's promise.
        unsafe { store::<S, F>(to.add(j), zeros) };
        j += F::lanes::<S>();
    }
}

/// Copies every `step`th of `from`, `count` values, by whole vectors where `step` is 1.
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
    // SAFETY: reads lie within `from` by the assertion and the test for a whole vector; writes
    // are the caller's promise.
    unsafe {
        if step != 1 {
            if step == 2 {
                // A constant distance is compiled to shuffles of whole vectors.
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

/// Copies the first, third, fifth and so on value.
///
/// # Safety
/// `to` must be valid for writing half of the values of `from`, rounded up.
#[inline(always)]
unsafe fn every_second<F: Element>(from: &[F], to: *mut F) {
    for j in 0..from.len().div_ceil(2) {
        // SAFETY: the caller's promise.
        unsafe { *to.add(j) = *from.get_unchecked(2 * j) };
    }
}

/// A vector from anywhere in memory.
///
/// # Safety
/// `from` must be valid for reading a vector; it need not be aligned to one.
#[inline(always)]
pub unsafe fn load<S: Simd, F: Element>(from: *const F) -> F::Vector<S> {
    // SAFETY: the caller's promise; every bit pattern is a vector of floats.
    unsafe { from.cast::<F::Vector<S>>().read_unaligned() }
}

/// A vector to anywhere in memory.
///
/// # Safety
/// `to` must be valid for writing a vector; it need not be aligned to one.
#[inline(always)]
pub unsafe fn store<S: Simd, F: Element>(to: *mut F, v: F::Vector<S>) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<F::Vector<S>>().write_unaligned(v) }
}
