//! The vectors that cover the outputs of a band, for direct convolution with pixel lanes.

use super::band::Band;

/// Some lanes of a vector that are neighbours in the destination.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// First lane, and the lane after the last.
    pub lanes: (u32, u32),
    /// Position of the first lane in the destination.
    pub dst: usize,
}

/// One vector of outputs.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Position of the first output in the band, without a tap.
    pub src: usize,
    /// Position of the first output in the destination, if all lanes are neighbours there.
    pub dst: usize,
    /// Otherwise the segments of the vector.
    pub segments: std::ops::Range<usize>,
}

/// Outputs of a phase to cover with vectors.
#[derive(Debug, Clone, Copy)]
pub struct Outputs {
    pub rows: usize,
    pub cols: usize,
    /// Distance between rows in the destination.
    pub pitch: usize,
}

/// The vectors that cover some rows of a phase.
#[derive(Debug, Default)]
pub struct Slots {
    pub slots: Vec<Slot>,
    pub segments: Vec<Segment>,
}

impl Slots {
    /// The fewest vectors of `lanes` lanes.
    pub fn new(band: &Band, outputs: Outputs, lanes: usize) -> Self {
        let Outputs { rows, cols, pitch } = outputs;
        if rows == 0 || cols == 0 {
            return Self::default();
        }
        // Without padding at the sides, all rows form one.
        if band.pitch == cols && pitch == cols && rows * cols >= lanes {
            let one = Outputs {
                rows: 1,
                cols: rows * cols,
                pitch: 0,
            };
            return Self::along_rows(one, 0, lanes);
        }
        let along = (cols >= lanes).then(|| rows * cols.div_ceil(lanes));
        let across = ((rows - 1) * band.pitch + cols).div_ceil(lanes);
        if along.is_some_and(|along| along <= across) {
            Self::along_rows(outputs, band.pitch, lanes)
        } else {
            Self::across_rows(outputs, band.pitch, lanes)
        }
    }

    /// Vectors along each row. The last one of a row overlaps the one before it.
    fn along_rows(outputs: Outputs, src_pitch: usize, lanes: usize) -> Self {
        let Outputs { rows, cols, pitch } = outputs;
        let starts = |row| {
            (0..cols)
                .step_by(lanes)
                .map(move |x| (row, x.min(cols - lanes)))
        };
        let slot = |(row, x)| Slot {
            src: row * src_pitch + x,
            dst: row * pitch + x,
            segments: 0..0,
        };
        Self {
            slots: (0..rows).flat_map(starts).map(slot).collect(),
            segments: Vec::new(),
        }
    }

    /// Vectors across the ends of rows. The lanes on the padding between rows are wasted.
    fn across_rows(outputs: Outputs, src_pitch: usize, lanes: usize) -> Self {
        let Outputs { rows, cols, pitch } = outputs;
        let mut all = Self::default();
        for src in (0..(rows - 1) * src_pitch + cols).step_by(lanes) {
            let first = all.segments.len();
            for row in src / src_pitch..rows.min((src + lanes - 1) / src_pitch + 1) {
                let begin = (row * src_pitch).max(src);
                let end = (row * src_pitch + cols).min(src + lanes);
                if begin < end {
                    all.segments.push(Segment {
                        lanes: ((begin - src) as u32, (end - src) as u32),
                        dst: row * pitch + (begin - row * src_pitch),
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
