//! The part of the input that one task reads, copied with its padding.

use std::ops::Range;

use super::plan::{Plan, Tap};

/// How a band of source rows lies in the workspace: `[channel][phase][row][column][image]`.
///
/// Under a step of two or more, columns that are read together are neighbours in the copy:
/// phase `(y % step, x % step)` holds every step-th row and column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    /// Images side by side: 1, or as many as a vector has lanes.
    pub images: usize,
    /// Rows of one phase.
    rows: usize,
    /// Columns of one phase.
    pub pitch: usize,
    /// Values of a channel.
    pub channel: usize,
}

impl Band {
    /// For `rows` rows of outputs.
    pub fn new(plan: &Plan, rows: usize, images: usize) -> Self {
        let extent = |outputs: usize, step: usize, reach: (isize, isize)| {
            (outputs.saturating_sub(1) * step + (reach.1 - reach.0) as usize) / step + 1
        };
        let rows = extent(rows, plan.step.0, plan.reach_y);
        let pitch = extent(plan.cols(), plan.step.1, plan.reach_x);
        let channel = plan.step.0 * plan.step.1 * rows * pitch * images;
        Self {
            images,
            rows,
            pitch,
            // Channels at a distance of a power of two would share few sets of the cache.
            channel: if channel.is_multiple_of(256) {
                channel + 16
            } else {
                channel
            },
        }
    }

    /// Where `tap` of the first output lies.
    pub fn tap(&self, plan: &Plan, tap: &Tap) -> usize {
        let (y, x) = (
            (tap.y - plan.reach_y.0) as usize,
            (tap.x - plan.reach_x.0) as usize,
        );
        let phase = y % plan.step.0 * plan.step.1 + x % plan.step.1;
        ((phase * self.rows + y / plan.step.0) * self.pitch + x / plan.step.1) * self.images
    }

    /// Values of all channels; vectors may read as much as `slack` beyond them.
    pub fn len(&self, plan: &Plan, slack: usize) -> usize {
        plan.src_c * self.channel + slack
    }

    /// Fills the workspace with the source rows of the outputs from `first_row` on, of images
    /// `images` and one group.
    #[inline(always)]
    pub fn copy(
        &self,
        plan: &Plan,
        src: &[f32],
        images: Range<usize>,
        group: usize,
        first_row: usize,
        workspace: &mut [f32],
    ) {
        let (h, w) = plan.src;
        let (step_y, step_x) = plan.step;
        let top = (first_row * step_y) as isize + plan.reach_y.0;
        for c in 0..plan.src_c {
            let copy = &mut workspace[c * self.channel..][..self.channel];
            for row in 0..self.rows * step_y {
                let y = top + row as isize;
                for phase_x in 0..step_x {
                    let phase = row % step_y * step_x + phase_x;
                    let at = (phase * self.rows + row / step_y) * self.pitch * self.images;
                    let copy = &mut copy[at..][..self.pitch * self.images];
                    if y < 0 || y >= h as isize {
                        copy.fill(0.0);
                        continue;
                    }
                    let x = plan.reach_x.0 + phase_x as isize;
                    for (lane, image) in images.clone().enumerate() {
                        let plane = (image * plan.groups + group) * plan.src_c + c;
                        let line = &src[(plane * h + y as usize) * w..][..w];
                        if self.images == 1 {
                            copy_line(line, x, step_x, copy);
                        } else {
                            spread_line(line, x, step_x, copy, lane, self.images);
                        }
                    }
                }
            }
        }
    }
}

/// The places of the copy that lie inside a line: `0 <= x + i step < len`.
#[inline(always)]
fn inside(len: usize, x: isize, step: usize, places: usize) -> Range<usize> {
    let before = if x < 0 {
        (-x as usize).div_ceil(step).min(places)
    } else {
        0
    };
    let last = len as isize - 1 - x;
    let end = if last < 0 {
        0
    } else {
        (last as usize / step + 1).min(places)
    };
    before..end.max(before)
}

#[inline(always)]
fn copy_line(line: &[f32], x: isize, step: usize, copy: &mut [f32]) {
    let inside = inside(line.len(), x, step, copy.len());
    copy[..inside.start].iter_mut().for_each(|v| *v = 0.0);
    copy[inside.end..].iter_mut().for_each(|v| *v = 0.0);
    if inside.is_empty() {
        return;
    }
    let line = &line[(x + (inside.start * step) as isize) as usize..];
    let copy = &mut copy[inside];
    match step {
        // Lines are short: a loop in place is faster than a call.
        1 => copy.iter_mut().zip(line).for_each(|(c, v)| *c = *v),
        2 => {
            for (c, v) in copy.iter_mut().zip(line.chunks(2)) {
                *c = v[0];
            }
        }
        _ => copy
            .iter_mut()
            .zip(line.iter().step_by(step))
            .for_each(|(c, v)| *c = *v),
    }
}

#[inline(always)]
fn spread_line(line: &[f32], x: isize, step: usize, copy: &mut [f32], lane: usize, lanes: usize) {
    let places = copy.len() / lanes;
    let inside = inside(line.len(), x, step, places);
    for i in (0..inside.start).chain(inside.end..places) {
        copy[i * lanes + lane] = 0.0;
    }
    if inside.is_empty() {
        return;
    }
    let line = &line[(x + (inside.start * step) as isize) as usize..];
    let copy = &mut copy[inside.start * lanes + lane..];
    let values = line.iter().step_by(step).take(inside.len());
    for (c, v) in copy.iter_mut().step_by(lanes).zip(values) {
        *c = *v;
    }
}
