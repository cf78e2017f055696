//! From outputs in the order in which they were computed to their places.

use super::plan::Plan;

/// Pairs that are interleaved in one go.
const BLOCK: usize = 16;

/// Copies `stage`, `[phase][channel][row][column]`, to the planes that `plane(channel)`
/// points to. `sizes` are the rows and columns of each phase, `first_row` the row of
/// all phases that the stage begins with.
///
/// # Safety
/// The planes must be writable, and these rows of them nobody else's.
#[inline(always)]
pub(super) unsafe fn unload(
    plan: &Plan,
    sizes: &[(usize, usize)],
    channels: usize,
    first_row: usize,
    stage: &[f32],
    plane: impl Fn(usize) -> *mut f32,
) {
    let width = plan.dst.1;
    let (step_y, step_x) = plan.out_step;
    if step_x == 2 && width > 1 {
        // SAFETY: as promised.
        unsafe { interleave(plan, sizes, channels, first_row, stage, plane) };
        return;
    }
    let mut start = 0;
    for (phase, &(rows, cols)) in plan.phases.iter().zip(sizes) {
        let size = rows * cols;
        for c in 0..channels {
            let stage = &stage[start + c * size..][..size];
            let to = plane(c);
            for row in 0..rows {
                let line = &stage[row * cols..][..cols];
                let y = phase.origin.0 + (first_row + row) * step_y;
                let to = to.wrapping_add(y * width + phase.origin.1);
                for (col, value) in line.iter().enumerate() {
                    // SAFETY: an output of this phase, within the plane.
                    unsafe { *to.add(col * step_x) = *value };
                }
            }
        }
        start += size * channels;
    }
}

/// [`unload`] under a horizontal step of two: pairs of phases share their rows.
///
/// # Safety
/// As for [`unload`].
#[inline(always)]
unsafe fn interleave(
    plan: &Plan,
    sizes: &[(usize, usize)],
    channels: usize,
    first_row: usize,
    stage: &[f32],
    plane: impl Fn(usize) -> *mut f32,
) {
    let width = plan.dst.1;
    let mut start = 0;
    for (phases, sizes) in plan.phases.chunks_exact(2).zip(sizes.chunks_exact(2)) {
        let (rows, (even_cols, odd_cols)) = (sizes[0].0, (sizes[0].1, sizes[1].1));
        let (even, odd) = stage[start..].split_at(rows * even_cols * channels);
        for c in 0..channels {
            for row in 0..rows {
                let even = &even[(c * rows + row) * even_cols..][..even_cols];
                let odd = &odd[(c * rows + row) * odd_cols..][..odd_cols];
                let y = phases[0].origin.0 + (first_row + row) * plan.out_step.0;
                // SAFETY: a row of the plane that belongs to the caller; all of it is written.
                let to = unsafe { std::slice::from_raw_parts_mut(plane(c).add(y * width), width) };
                let blocks = odd_cols / BLOCK;
                let (front, to) = to.split_at_mut(blocks * 2 * BLOCK);
                let (evens, even) = even.split_at(blocks * BLOCK);
                let (odds, odd) = odd.split_at(blocks * BLOCK);
                let evens = evens.as_chunks::<BLOCK>().0;
                let odds = odds.as_chunks::<BLOCK>().0;
                let front = front.as_chunks_mut::<{ 2 * BLOCK }>().0;
                for ((to, even), odd) in front.iter_mut().zip(evens).zip(odds) {
                    // Of a known length: the compiler makes shuffles of it.
                    for i in 0..BLOCK {
                        (to[2 * i], to[2 * i + 1]) = (even[i], odd[i]);
                    }
                }
                let (pairs, last) = to.as_chunks_mut::<2>();
                for ((pair, even), odd) in pairs.iter_mut().zip(even).zip(odd) {
                    *pair = [*even, *odd];
                }
                if let ([last], Some(even)) = (last, even.last()) {
                    *last = *even;
                }
            }
        }
        start += rows * (even_cols + odd_cols) * channels;
    }
}
