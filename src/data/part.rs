//! A rectangle of pixels.

use std::ops::Range;

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

impl Part {
    /// The rectangle of these rows and columns.
    pub(super) fn of(rows: Range<usize>, columns: Range<usize>) -> Self {
        Self {
            top: rows.start,
            left: columns.start,
            height: rows.len(),
            width: columns.len(),
        }
    }

    /// The number of pixels.
    pub(super) fn area(&self) -> usize {
        self.height * self.width
    }

    /// The positions of the rectangle's rows in planes `[channels, height, width]`, each as a range.
    pub(super) fn lines(
        &self,
        channels: usize,
        (height, width): (usize, usize),
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let part = *self;
        let rows = (0..channels).flat_map(move |channel| {
            (part.top..part.top + part.height).map(move |row| (channel, row))
        });
        rows.map(move |(channel, row)| {
            let start = (channel * height + row) * width + part.left;
            start..start + part.width
        })
    }
}
