//! The part of each batch that a process of a data parallel run takes.

use std::ops::Range;

/// Part number `rank` of `ranks`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shard {
    rank: usize,
    ranks: usize,
}

impl Shard {
    pub(super) const WHOLE: Self = Self { rank: 0, ranks: 1 };

    /// Part number `rank` of `ranks` of this part.
    pub(super) fn part(self, rank: usize, ranks: usize) -> Self {
        Self {
            rank: self.rank * ranks + rank,
            ranks: self.ranks * ranks,
        }
    }

    /// The places in a batch of `count` images.
    pub(super) fn of(self, count: usize) -> Range<usize> {
        count * self.rank / self.ranks..count * (self.rank + 1) / self.ranks
    }
}
