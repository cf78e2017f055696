//! Scatters the outputs of an input gradient under a stride.
//!
//! The phases of a strided input gradient are computed one after the other, but their outputs
//! alternate in the planes.

use super::super::plan::Plan;

/// Pairs per step of the interleaving loop.
const BLOCK: usize = 16;

/// Outputs of all phases: `[phase][channel][row][column]`.
pub struct PhaseOutputs<'a> {
    pub values: &'a [f32],
    /// Rows and columns of each phase.
    pub sizes: &'a [(usize, usize)],
    pub channels: usize,
    /// The row of all phases that the values begin with.
    pub first_row: usize,
}

impl PhaseOutputs<'_> {
    /// Writes the outputs to the planes that `plane(channel)` points to.
    ///
    /// # Safety
    /// The planes must be writable, and no other thread may access these rows.
    #[inline(always)]
    pub unsafe fn scatter(&self, plan: &Plan, plane: impl Fn(usize) -> *mut f32) {
        let width = plan.dst.1;
        let (step_y, step_x) = plan.out_step;
        if step_x == 2 && width > 1 {
            // SAFETY: guaranteed by the caller.
            unsafe { self.interleave(plan, plane) };
            return;
        }
        let mut start = 0;
        for (phase, &(rows, cols)) in plan.phases.iter().zip(self.sizes) {
            let size = rows * cols;
            for c in 0..self.channels {
                let values = &self.values[start + c * size..][..size];
                let to = plane(c);
                for row in 0..rows {
                    let line = &values[row * cols..][..cols];
                    let y = phase.origin.0 + (self.first_row + row) * step_y;
                    let to = to.wrapping_add(y * width + phase.origin.1);
                    for (col, value) in line.iter().enumerate() {
                        // SAFETY: an output of this phase, within the plane.
                        unsafe { *to.add(col * step_x) = *value };
                    }
                }
            }
            start += size * self.channels;
        }
    }

    /// [`Self::scatter`] for a horizontal step of two: pairs of phases share their rows.
    ///
    /// # Safety
    /// As for [`Self::scatter`].
    #[inline(always)]
    unsafe fn interleave(&self, plan: &Plan, plane: impl Fn(usize) -> *mut f32) {
        let width = plan.dst.1;
        let mut start = 0;
        for (phases, sizes) in plan.phases.chunks_exact(2).zip(self.sizes.chunks_exact(2)) {
            let (rows, (even_cols, odd_cols)) = (sizes[0].0, (sizes[0].1, sizes[1].1));
            let (even, odd) = self.values[start..].split_at(rows * even_cols * self.channels);
            for c in 0..self.channels {
                for row in 0..rows {
                    let even = &even[(c * rows + row) * even_cols..][..even_cols];
                    let odd = &odd[(c * rows + row) * odd_cols..][..odd_cols];
                    let y = phases[0].origin.0 + (self.first_row + row) * plan.out_step.0;
                    // SAFETY: a row of the plane that belongs to the caller. All of it is
                    // written.
                    let to =
                        unsafe { std::slice::from_raw_parts_mut(plane(c).add(y * width), width) };
                    let blocks = odd_cols / BLOCK;
                    let (front, to) = to.split_at_mut(blocks * 2 * BLOCK);
                    let (evens, even) = even.split_at(blocks * BLOCK);
                    let (odds, odd) = odd.split_at(blocks * BLOCK);
                    let evens = evens.as_chunks::<BLOCK>().0;
                    let odds = odds.as_chunks::<BLOCK>().0;
                    let front = front.as_chunks_mut::<{ 2 * BLOCK }>().0;
                    for ((to, even), odd) in front.iter_mut().zip(evens).zip(odds) {
                        // The constant length lets the compiler use shuffles.
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
            start += rows * (even_cols + odd_cols) * self.channels;
        }
    }
}
