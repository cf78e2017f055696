//! The weights for direct convolution with pixel lanes.

use rayon::prelude::*;

use super::super::plan::{Phase, Plan};
use super::weights::WeightStrides;

/// The fewest values that a thread packs: handing over fewer costs more than it gains.
const VALUES_PER_THREAD: usize = 1 << 14;

/// Destination channels of a register tile: `half` in a last block of at most that many channels,
/// `full` in all other blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heights {
    pub full: usize,
    pub half: usize,
}

impl Heights {
    /// Blocks of `channels` channels.
    pub fn blocks(&self, channels: usize) -> usize {
        channels.div_ceil(self.full)
    }

    /// Channels of the tile that computes `block`, including those that are not stored.
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
pub struct PixelWeights {
    phases: Vec<Vec<f32>>,
    /// Values of a block of each phase.
    block: Vec<usize>,
    blocks: usize,
}

impl PixelWeights {
    /// Packs `weights` for blocks of `heights`.
    pub fn new(plan: &Plan, heights: Heights, weights: &[f32], strides: WeightStrides) -> Self {
        let blocks = heights.blocks(plan.dst_c);
        let block = |taps: usize| plan.src_c * taps * heights.full;
        let pack = |phase: &Phase| {
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
                        let at =
                            group * strides.group + (first + m) * strides.dst + c * strides.src;
                        let w = &weights[at..];
                        for (t, tap) in phase.taps.iter().enumerate() {
                            packed[(c * phase.taps.len() + t) * height + m] = w[tap.weight];
                        }
                    }
                }
            };
            packed
                .par_chunks_mut(size)
                .with_min_len(VALUES_PER_THREAD / size + 1)
                .enumerate()
                .for_each(fill);
            packed
        };
        Self {
            phases: plan.phases.iter().map(pack).collect(),
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
