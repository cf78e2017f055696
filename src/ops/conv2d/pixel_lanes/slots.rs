//! Which outputs share a vector.

use super::source::Band;

/// Some lanes of a vector that are neighbours in the destination.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub lanes: (u32, u32),
    /// Where the first of them goes.
    pub dst: usize,
}

/// One vector of outputs.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Of the first output, without a tap, in the workspace.
    pub src: usize,
    /// Of the first output in the destination, where all lanes are neighbours there.
    pub dst: usize,
    /// Otherwise the segments that they form.
    pub segments: std::ops::Range<usize>,
}

/// The vectors that cover some rows of a phase.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub slots: Vec<Slot>,
    pub segments: Vec<Segment>,
}

impl Slots {
    /// Vectors of `lanes` lanes for `rows` rows of `cols` outputs, which lie `dst_pitch` values
    /// apart in the destination.
    pub fn new(band: &Band, rows: usize, cols: usize, dst_pitch: usize, lanes: usize) -> Self {
        let (src_pitch, line) = (band.pitch, cols);
        if rows == 0 || cols == 0 {
            return Self::default();
        }
        // Without padding at the sides all rows are one.
        if src_pitch == line && dst_pitch == line && rows * line >= lanes {
            return Self::lines(1, rows * line, 0, 0, lanes);
        }
        let along = (line >= lanes).then(|| rows * line.div_ceil(lanes));
        let across = ((rows - 1) * src_pitch + line).div_ceil(lanes);
        if along.is_some_and(|along| along <= across) {
            Self::lines(rows, line, src_pitch, dst_pitch, lanes)
        } else {
            Self::across(rows, line, src_pitch, dst_pitch, lanes)
        }
    }

    /// Vectors along each row; the last one of a row overlaps its neighbour.
    fn lines(rows: usize, line: usize, src_pitch: usize, dst_pitch: usize, lanes: usize) -> Self {
        let starts = |row| {
            (0..line)
                .step_by(lanes)
                .map(move |x| (row, x.min(line - lanes)))
        };
        let slot = |(row, x)| Slot {
            src: row * src_pitch + x,
            dst: row * dst_pitch + x,
            segments: 0..0,
        };
        Self {
            slots: (0..rows).flat_map(starts).map(slot).collect(),
            segments: Vec::new(),
        }
    }

    /// Vectors across the ends of rows; the lanes on the padding between them are lost.
    fn across(rows: usize, line: usize, src_pitch: usize, dst_pitch: usize, lanes: usize) -> Self {
        let mut all = Self::default();
        for src in (0..(rows - 1) * src_pitch + line).step_by(lanes) {
            let first = all.segments.len();
            for row in src / src_pitch..rows.min((src + lanes - 1) / src_pitch + 1) {
                let begin = (row * src_pitch).max(src);
                let end = (row * src_pitch + line).min(src + lanes);
                if begin < end {
                    all.segments.push(Segment {
                        lanes: ((begin - src) as u32, (end - src) as u32),
                        dst: row * dst_pitch + (begin - row * src_pitch),
                    });
                }
            }
            let segments = first..all.segments.len();
            match all.segments.get(first) {
                None => continue,
                Some(s) if s.lanes == (0, lanes as u32) => {
                    let dst = s.dst;
                    all.segments.truncate(first);
                    all.slots.push(Slot {
                        src,
                        dst,
                        segments: 0..0,
                    });
                }
                Some(_) => all.slots.push(Slot {
                    src,
                    dst: 0,
                    segments,
                }),
            }
        }
        all
    }
}
