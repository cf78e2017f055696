//! The source rows that a task of the direct convolution with pixel lanes reads, with their
//! padding.

use pulp::Simd;

use super::super::geometry::positions_inside;
use super::super::plan::{Plan, Tap};

/// Pairs per step of the loop that splits a line into even and odd columns.
const BLOCK: usize = 16;

/// How a band of source rows is packed: `[channel][phase][row][column]`.
///
/// Under a step, phase `(y % step, x % step)` holds every step-th row and column, so columns that
/// are read together are neighbours.
#[derive(Debug, Clone, Copy)]
pub struct Band {
    /// Rows of a phase.
    rows: usize,
    /// Columns of a phase.
    pub pitch: usize,
    /// Values of a channel.
    pub channel: usize,
}

/// The outputs that a band is for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub image: usize,
    pub group: usize,
    pub first_row: usize,
}

impl Band {
    /// For `rows` rows of outputs.
    pub fn new(plan: &Plan, rows: usize) -> Self {
        let extent = |outputs: usize, step: usize, reach: (isize, isize)| {
            (outputs.saturating_sub(1) * step + (reach.1 - reach.0) as usize) / step + 1
        };
        let rows = extent(rows, plan.step.0, plan.reach_y);
        let pitch = extent(plan.cols(), plan.step.1, plan.reach_x);
        let channel = plan.step.0 * plan.step.1 * rows * pitch;
        Self {
            rows,
            pitch,
            // Channels at a distance of a power of two would map to few sets of the cache.
            channel: if channel.is_multiple_of(256) {
                channel + 16
            } else {
                channel
            },
        }
    }

    /// Position of `tap` for the first output.
    pub fn tap(&self, plan: &Plan, tap: &Tap) -> usize {
        let (y, x) = (
            (tap.y - plan.reach_y.0) as usize,
            (tap.x - plan.reach_x.0) as usize,
        );
        let phase = y % plan.step.0 * plan.step.1 + x % plan.step.1;
        (phase * self.rows + y / plan.step.0) * self.pitch + x / plan.step.1
    }

    /// Values of all channels, and `slack` more that vectors may load.
    pub fn len(&self, plan: &Plan, slack: usize) -> usize {
        plan.src_c * self.channel + slack
    }

    /// Packs the source rows of the outputs at `place`.
    #[inline(always)]
    pub fn pack<S: Simd>(
        &self,
        simd: S,
        plan: &Plan,
        src: &[f32],
        place: Place,
        workspace: &mut [f32],
    ) {
        let Place {
            image,
            group,
            first_row,
        } = place;
        let (h, w) = plan.src;
        let (step_y, step_x) = plan.step;
        let top = (first_row * step_y) as isize + plan.reach_y.0;
        // Without padding and steps the rows of a channel are contiguous.
        let whole = (step_y, step_x) == (1, 1)
            && self.pitch == w
            && plan.reach_x == (0, 0)
            && top >= 0
            && top as usize + self.rows <= h;
        for c in 0..plan.src_c {
            if whole {
                let plane = (image * plan.groups + group) * plan.src_c + c;
                let len = self.rows * w;
                let from = &src[(plane * h + top as usize) * w..][..len];
                copy_values(simd, from, &mut workspace[c * self.channel..][..len]);
                continue;
            }
            let copy = &mut workspace[c * self.channel..][..self.channel];
            for row in 0..self.rows * step_y {
                let y = top + row as isize;
                if step_x == 2 && plan.reach_x.0 <= 0 {
                    let at = (row % step_y * 2 * self.rows + row / step_y) * self.pitch;
                    let (even, odd) = copy[at..].split_at_mut(self.rows * self.pitch);
                    let lines = [&mut even[..self.pitch], &mut odd[..self.pitch]];
                    if y < 0 || y >= h as isize {
                        lines.into_iter().for_each(|line| line.fill(0.0));
                        continue;
                    }
                    let plane = (image * plan.groups + group) * plan.src_c + c;
                    let line = &src[(plane * h + y as usize) * w..][..w];
                    split_line(line, -plan.reach_x.0 as usize, lines);
                    continue;
                }
                for phase_x in 0..step_x {
                    let phase = row % step_y * step_x + phase_x;
                    let at = (phase * self.rows + row / step_y) * self.pitch;
                    let copy = &mut copy[at..][..self.pitch];
                    if y < 0 || y >= h as isize {
                        copy.fill(0.0);
                        continue;
                    }
                    let x = plan.reach_x.0 + phase_x as isize;
                    let plane = (image * plan.groups + group) * plan.src_c + c;
                    let line = &src[(plane * h + y as usize) * w..][..w];
                    copy_line(simd, line, x, step_x, copy);
                }
            }
        }
    }
}

/// Copies every `step`-th value of a line from position `x` on, with zeros outside of the line.
#[inline(always)]
fn copy_line<S: Simd>(simd: S, line: &[f32], x: isize, step: usize, copy: &mut [f32]) {
    let inside = positions_inside(x, step, copy.len(), line.len());
    copy[..inside.start].iter_mut().for_each(|v| *v = 0.0);
    copy[inside.end..].iter_mut().for_each(|v| *v = 0.0);
    if inside.is_empty() {
        return;
    }
    let line = &line[(x + (inside.start * step) as isize) as usize..];
    let copy = &mut copy[inside];
    match step {
        1 => copy_values(simd, &line[..copy.len()], copy),
        _ => copy
            .iter_mut()
            .zip(line.iter().step_by(step))
            .for_each(|(c, v)| *c = *v),
    }
}

/// Splits a line, after `padding` zeros, into the values at even and at odd positions.
#[inline(always)]
fn split_line(line: &[f32], padding: usize, [even, odd]: [&mut [f32]; 2]) {
    even.iter_mut().for_each(|v| *v = 0.0);
    odd.iter_mut().for_each(|v| *v = 0.0);
    // After an odd padding the first value of the line is at an odd position.
    let (first, second) = if padding.is_multiple_of(2) {
        (even, odd)
    } else {
        (odd, even)
    };
    let first = first.get_mut(padding / 2..).unwrap_or_default();
    let second = second.get_mut(padding.div_ceil(2)..).unwrap_or_default();
    let blocks = (line.len() / (2 * BLOCK))
        .min(first.len() / BLOCK)
        .min(second.len() / BLOCK);
    let (lines, line) = line.split_at(blocks * 2 * BLOCK);
    let (firsts, first) = first.split_at_mut(blocks * BLOCK);
    let (seconds, second) = second.split_at_mut(blocks * BLOCK);
    let lines = lines.as_chunks::<{ 2 * BLOCK }>().0;
    let firsts = firsts.as_chunks_mut::<BLOCK>().0;
    let seconds = seconds.as_chunks_mut::<BLOCK>().0;
    for ((line, first), second) in lines.iter().zip(firsts).zip(seconds) {
        // The constant length lets the compiler use shuffles.
        for i in 0..BLOCK {
            first[i] = line[2 * i];
            second[i] = line[2 * i + 1];
        }
    }
    for (f, v) in first.iter_mut().zip(line.iter().step_by(2)) {
        *f = *v;
    }
    for (s, v) in second.iter_mut().zip(line.iter().skip(1).step_by(2)) {
        *s = *v;
    }
}

/// Copies a line by vectors: most lines are too short for a call of memcpy to pay off. The last
/// vector overlaps the one before it.
#[inline(always)]
fn copy_values<S: Simd>(_: S, from: &[f32], to: &mut [f32]) {
    let (len, lanes) = (from.len(), S::F32_LANES);
    assert_eq!(len, to.len());
    if len < lanes {
        for (t, f) in to.iter_mut().zip(from) {
            *t = *f;
        }
        return;
    }
    for i in (0..len).step_by(lanes) {
        let i = i.min(len - lanes);
        // SAFETY: a vector from `i` on is within both slices, which have the same length.
        unsafe {
            let value = from.as_ptr().add(i).cast::<S::f32s>().read_unaligned();
            to.as_mut_ptr()
                .add(i)
                .cast::<S::f32s>()
                .write_unaligned(value);
        }
    }
}
