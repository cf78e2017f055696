//! From outputs in the order in which they were computed to their places.

use super::plan::Plan;

/// Copies `stage`, `[phase][channel][row][column][image]`, to the planes that `plane(image,
/// channel)` points to. `sizes` are the rows and columns of each phase, `first_row` the row of
/// all phases that the stage begins with.
///
/// # Safety
/// The planes must be writable, and these rows of them nobody else's.
#[inline(always)]
pub(super) unsafe fn unload(
    plan: &Plan,
    sizes: &[(usize, usize)],
    images: usize,
    channels: usize,
    first_row: usize,
    stage: &[f32],
    plane: impl Fn(usize, usize) -> *mut f32,
) {
    let width = plan.dst.1;
    let (step_y, step_x) = plan.out_step;
    let mut start = 0;
    for (phase, &(rows, cols)) in plan.phases.iter().zip(sizes) {
        let size = rows * cols * images;
        for c in 0..channels {
            let stage = &stage[start + c * size..][..size];
            for image in 0..images {
                let to = plane(image, c);
                for row in 0..rows {
                    let line = &stage[row * cols * images..][..cols * images];
                    let y = phase.origin.0 + (first_row + row) * step_y;
                    let to = to.wrapping_add(y * width + phase.origin.1);
                    for col in 0..cols {
                        // SAFETY: an output of this phase, within the plane.
                        unsafe { *to.add(col * step_x) = line[col * images + image] };
                    }
                }
            }
        }
        start += size * channels;
    }
}
