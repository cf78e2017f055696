//! The weights for direct convolution with channel lanes.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::plan::{Phase, Plan};
use super::pairs::pair_rows;
use super::weights::WeightStrides;
use crate::simd::transpose;

/// The fewest values that a thread packs: handing over fewer costs more than it gains.
const VALUES_PER_THREAD: usize = 1 << 15;

/// For each phase `[group][block][tap][source channel][channel of the block]`.
#[derive(Debug)]
pub struct ChannelWeights {
    phases: Vec<Vec<f32>>,
    /// Values of a block of each phase.
    block: Vec<usize>,
    blocks: usize,
}

impl ChannelWeights {
    /// Packs `weights` for blocks of `width` destination channels.
    pub fn new(
        arch: Arch,
        plan: &Plan,
        width: usize,
        weights: &[f32],
        strides: WeightStrides,
    ) -> Self {
        let blocks = plan.dst_c.div_ceil(width);
        let block = |taps: usize| plan.src_c * taps * width;
        let pack = |phase: &Phase| {
            let size = block(phase.taps.len());
            let mut packed = vec![0.0; plan.groups * blocks * size];
            if size > 0 {
                packed
                    .par_chunks_mut(size)
                    .with_min_len(VALUES_PER_THREAD / size + 1)
                    .enumerate()
                    .for_each(|(i, packed)| {
                        let (group, first) = (i / blocks, i % blocks * width);
                        arch.dispatch(PackBlock {
                            channels: width.min(plan.dst_c - first),
                            weights: &weights[group * strides.group + first * strides.dst..],
                            packed,
                            plan,
                            phase,
                            width,
                            strides,
                        });
                    });
            }
            packed
        };
        Self {
            phases: plan.phases.iter().map(pack).collect(),
            block: plan.phases.iter().map(|p| block(p.taps.len())).collect(),
            blocks,
        }
    }

    /// The same weights with pairs of source channels: `[group][block][tap][pair][channel of the block]`.
    pub fn in_pairs(self, arch: Arch, plan: &Plan, width: usize) -> Self {
        let pair = |values: &Vec<f32>| pair_rows(arch, values, plan.src_c, width);
        let pairs = plan.src_c.div_ceil(2);
        Self {
            phases: self.phases.iter().map(pair).collect(),
            block: plan
                .phases
                .iter()
                .map(|p| pairs * p.taps.len() * width)
                .collect(),
            blocks: self.blocks,
        }
    }

    /// The weights of a block.
    pub fn block(&self, phase: usize, group: usize, block: usize) -> &[f32] {
        let size = self.block[phase];
        &self.phases[phase][(group * self.blocks + block) * size..][..size]
    }
}

/// One block of a phase.
struct PackBlock<'a> {
    /// From the first channel of the block on.
    weights: &'a [f32],
    packed: &'a mut [f32],
    plan: &'a Plan,
    phase: &'a Phase,
    channels: usize,
    width: usize,
    strides: WeightStrides,
}

impl WithSimd for PackBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            weights,
            packed,
            plan,
            phase,
            channels,
            width,
            strides,
        } = self;
        let lanes = S::F32_LANES;
        let all = phase
            .taps
            .iter()
            .map(|t| t.weight)
            .max()
            .map_or(0, |t| t + 1);
        // Where each weight of the kernel goes within a channel of the block, if this phase has it.
        let mut places = vec![None; all];
        for (t, tap) in phase.taps.iter().enumerate() {
            places[tap.weight] = Some(t * plan.src_c * width);
        }
        // Weights of several source channels in one run, if they are contiguous.
        let run = if strides.src == all { plan.src_c } else { 1 };
        for first in (0..channels).step_by(lanes) {
            let rows = lanes.min(channels - first);
            for c in (0..plan.src_c).step_by(run) {
                let from = &weights[first * strides.dst + c * strides.src..];
                assert!((rows - 1) * strides.dst + run * all <= from.len());
                let mut j = 0;
                while j < run * all {
                    let from = from[j..].as_ptr();
                    let mut put = |j: usize, vector: S::f32s| {
                        if let Some(tap) = places[j % all] {
                            let to = tap + (c + j / all) * width + first;
                            let to = &mut packed[to..to + lanes];
                            // SAFETY: the vector is as long as the slice.
                            unsafe { to.as_mut_ptr().cast::<S::f32s>().write_unaligned(vector) };
                        }
                    };
                    // SAFETY: the rows were just checked.
                    unsafe {
                        if strides.dst == 1 && rows == lanes {
                            put(j, from.cast::<S::f32s>().read_unaligned());
                            j += 1;
                        } else if transpose::by_fours::<S>() && rows == lanes && j + 4 <= run * all
                        {
                            let vectors = transpose::four_columns(simd, from, strides.dst);
                            for (i, vector) in vectors.into_iter().enumerate() {
                                put(j + i, vector);
                            }
                            j += 4;
                        } else {
                            put(j, transpose::column(simd, from, strides.dst, rows));
                            j += 1;
                        }
                    }
                }
            }
        }
    }
}
