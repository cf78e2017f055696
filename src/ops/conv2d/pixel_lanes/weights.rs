//! The weights in the order in which the kernels read them.

use rayon::prelude::*;

use super::super::plan::Plan;

/// Output channels per register tile of an instruction set: of all blocks, and of a last block
/// that has no more channels than that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heights {
    pub full: usize,
    pub half: usize,
}

impl Heights {
    /// Blocks that `channels` are divided into.
    pub fn blocks(&self, channels: usize) -> usize {
        channels.div_ceil(self.full)
    }

    /// Channels of the tile that computes `block`, counting those that nobody stores.
    pub fn of(&self, block: usize, channels: usize) -> usize {
        if channels - block * self.full <= self.half {
            self.half
        } else {
            self.full
        }
    }
}

/// For each phase `[group][block][source channel][tap][channel of the block]`.
#[derive(Debug)]
pub(super) struct Weights {
    phases: Vec<Vec<f32>>,
    block: Vec<usize>,
    blocks: usize,
}

impl Weights {
    /// Reorders weights of which `at(group, destination channel, source channel)` gives the
    /// first tap.
    pub fn new(
        plan: &Plan,
        heights: Heights,
        w: &[f32],
        at: impl Fn(usize, usize, usize) -> usize + Sync,
    ) -> Self {
        let blocks = heights.blocks(plan.dst_c);
        let block = |taps: usize| plan.src_c * taps * heights.full;
        let reorder = |phase: &super::plan::Phase| {
            let size = block(phase.taps.len());
            let mut packed = vec![0.0; plan.groups * blocks * size];
            if size == 0 {
                return packed;
            }
            let fill = |(i, packed): (usize, &mut [f32])| {
                let (group, block) = (i / blocks, i % blocks);
                let height = heights.of(block, plan.dst_c);
                let first = block * heights.full;
                for m in 0..heights.full.min(plan.dst_c - first) {
                    for c in 0..plan.src_c {
                        let w = &w[at(group, first + m, c)..];
                        for (t, tap) in phase.taps.iter().enumerate() {
                            packed[(c * phase.taps.len() + t) * height + m] = w[tap.weight];
                        }
                    }
                }
            };
            let many = 1 << 14;
            packed
                .par_chunks_mut(size)
                .with_min_len(many / size + 1)
                .enumerate()
                .for_each(fill);
            packed
        };
        Self {
            phases: plan.phases.iter().map(reorder).collect(),
            block: plan.phases.iter().map(|p| block(p.taps.len())).collect(),
            blocks,
        }
    }

    /// The weights of a block.
    pub fn block(&self, phase: usize, group: usize, block: usize) -> &[f32] {
        let size = self.block[phase];
        &self.phases[phase][(group * self.blocks + block) * size..][..size]
    }
}
