//! The weights in the order in which the kernels read them.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::plan::Plan;
use super::transpose;

/// Where the weight of a tap lies: `start + group * group + dst * dst + src * src + tap`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Distances of groups, destination and source channels.
    pub group: usize,
    pub dst: usize,
    pub src: usize,
}

/// For each phase `[group][block][tap][source channel][channel of the block]`.
#[derive(Debug)]
pub(super) struct Weights {
    phases: Vec<Vec<f32>>,
    /// Values of a block of each phase.
    block: Vec<usize>,
    blocks: usize,
}

impl Weights {
    /// Reorders weights for blocks of `width` destination channels.
    pub fn new(arch: Arch, plan: &Plan, width: usize, w: &[f32], order: Order) -> Self {
        let blocks = plan.dst_c.div_ceil(width);
        let block = |taps: usize| plan.src_c * taps * width;
        let reorder = |phase: &super::super::plan::Phase| {
            let size = block(phase.taps.len());
            let mut packed = vec![0.0; plan.groups * blocks * size];
            if size > 0 {
                let many = 1 << 15;
                packed
                    .par_chunks_mut(size)
                    .with_min_len(many / size + 1)
                    .enumerate()
                    .for_each(|(i, packed)| {
                        let (group, first) = (i / blocks, i % blocks * width);
                        arch.dispatch(Block {
                            channels: width.min(plan.dst_c - first),
                            w: &w[group * order.group + first * order.dst..],
                            packed,
                            plan,
                            phase,
                            width,
                            order,
                        });
                    });
            }
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

/// One block of a phase to reorder.
struct Block<'a> {
    /// From the first channel's on.
    w: &'a [f32],
    packed: &'a mut [f32],
    plan: &'a Plan,
    phase: &'a super::super::plan::Phase,
    channels: usize,
    width: usize,
    order: Order,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            w,
            packed,
            plan,
            phase,
            channels,
            width,
            order,
        } = self;
        let lanes = S::F32_LANES;
        let all = phase
            .taps
            .iter()
            .map(|t| t.weight)
            .max()
            .map_or(0, |t| t + 1);
        // Where in a block's channel each of the kernel's weights goes, if anywhere.
        let mut places = vec![None; all];
        for (t, tap) in phase.taps.iter().enumerate() {
            places[tap.weight] = Some(t * plan.src_c * width);
        }
        // Weights of several source channels in a row, where they are neighbours.
        let run = if order.src == all { plan.src_c } else { 1 };
        for first in (0..channels).step_by(lanes) {
            let rows = lanes.min(channels - first);
            for c in (0..plan.src_c).step_by(run) {
                let from = &w[first * order.dst + c * order.src..];
                assert!((rows - 1) * order.dst + run * all <= from.len());
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
                        if order.dst == 1 && rows == lanes {
                            put(j, from.cast::<S::f32s>().read_unaligned());
                            j += 1;
                        } else if transpose::by_fours::<S>() && rows == lanes && j + 4 <= run * all
                        {
                            let vectors = transpose::four_columns(simd, from, order.dst);
                            for (i, vector) in vectors.into_iter().enumerate() {
                                put(j + i, vector);
                            }
                            j += 4;
                        } else {
                            put(j, transpose::column(simd, from, order.dst, rows));
                            j += 1;
                        }
                    }
                }
            }
        }
    }
}
