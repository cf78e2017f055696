//! Random draws that depend only on their keys, so that any thread can make a batch or an image
//! again, in any order.

use rand::RngCore;
use rand_distr::Distribution;

use crate::rng::{GeneratorState, fnv1a};

/// A generator determined by its keys.
pub(crate) struct Draw(GeneratorState);

impl Draw {
    /// The generator of `keys`. Other keys, or the same keys in another order, give another one.
    pub(crate) fn new(keys: &[u64]) -> Self {
        let key = keys.iter().fold(0, |hash, &key| mix(hash ^ mix(key)));
        Self(GeneratorState::from_seed(key))
    }

    /// The generator of `keys` for the purpose `name`. Its draws do not shift those for another
    /// purpose.
    pub(crate) fn named(keys: &[u64], name: &str) -> Self {
        let key = keys
            .iter()
            .fold(fnv1a(name.as_bytes()), |hash, &key| mix(hash ^ mix(key)));
        Self(GeneratorState::from_seed(key))
    }

    /// Uniform in `0..n`; 0 if `n` is 0. The bias is below `n / 2^64`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [low, high).
    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        f64::from(self.unit()) < probability
    }

    /// A value of `distribution`.
    pub(crate) fn sample<T>(&mut self, distribution: &impl Distribution<T>) -> T {
        distribution.sample(&mut self.0)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A random order of `0..n` (Fisher-Yates).
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// A bijection of 64 bits whose output bits each depend on all input bits (the finaliser of
/// SplitMix64, preceded by its increment so that 0 does not map to 0).
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
