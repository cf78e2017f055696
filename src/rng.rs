//! The random numbers of a run, from one seeded generator.
//!
//! Candle's CPU device cannot be seeded. Initialisation, shuffling, augmentation, dropout and the
//! synthetic data set therefore draw from this generator.

use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngCore;
use serde::{Deserialize, Serialize};

/// A shared handle to a seeded generator: clones draw from the same sequence.
#[derive(Debug, Clone)]
pub struct Generator(Arc<Mutex<GeneratorState>>);

/// The position of a [`Generator`] in its sequence. It can be saved with a checkpoint, and it draws
/// numbers through the traits of `rand`.
///
/// It is the state of xoshiro256++ (Blackman and Vigna, "Scrambled Linear Pseudorandom Number
/// Generators", 2021).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorState {
    s: [u64; 4],
}

impl Generator {
    /// A generator whose sequence `seed` determines.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(GeneratorState::from_seed(seed))))
    }

    /// A generator that depends on `seed` and `name` only, not on earlier draws: draws for one
    /// purpose then do not shift those for another.
    pub fn named(seed: u64, name: &str) -> Self {
        Self::new(seed ^ fnv1a(name.as_bytes()))
    }

    /// Exclusive use of the generator, for drawing with the traits of `rand`.
    pub fn lock(&self) -> MutexGuard<'_, GeneratorState> {
        // A panic while drawing leaves a generator that is still valid.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The position in the sequence.
    pub fn state(&self) -> GeneratorState {
        self.lock().clone()
    }

    /// Continues from `state`; every clone of this handle does.
    pub fn restore(&self, state: &GeneratorState) {
        *self.lock() = state.clone();
    }
}

impl GeneratorState {
    /// The state that four draws of SplitMix64 give, as the generator's authors recommend.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut counter = seed;
        let s = std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { s }
    }
}

impl RngCore for GeneratorState {
    fn next_u32(&mut self) -> u32 {
        // The upper bits have the better quality.
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.s;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.s = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// As in `rand_core`: a rest of four bytes or fewer takes 32 bits.
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            match chunk.len() {
                len @ 1..=4 => chunk.copy_from_slice(&self.next_u32().to_le_bytes()[..len]),
                len => chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..len]),
            }
        }
    }
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo). Unlike the standard library's hashers it is the same
/// on all Rust versions and platforms.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn draws_are_those_of_xoshiro256plusplus() {
        for seed in [0, 1, 42, u64::MAX] {
            let (generator, mut oracle) = (
                Generator::new(seed),
                Xoshiro256PlusPlus::seed_from_u64(seed),
            );
            for len in [0, 3, 4, 5, 8, 11, 13] {
                assert_eq!(generator.lock().next_u64(), oracle.next_u64());
                assert_eq!(generator.lock().next_u32(), oracle.next_u32());
                let (mut drawn, mut expected) = ([0; 13], [0; 13]);
                generator.lock().fill_bytes(&mut drawn[..len]);
                oracle.fill_bytes(&mut expected[..len]);
                assert_eq!(drawn, expected);
            }
        }
    }

    #[test]
    fn states_are_read_as_they_were_written_with_rand_xoshiro() {
        let text = r#"{"s":[1,2,3,18446744073709551615]}"#;
        let state: GeneratorState = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        let oracle: Xoshiro256PlusPlus = serde_json::from_str(text).unwrap();
        let generator = Generator::new(0);
        generator.restore(&state);
        assert_eq!(generator.lock().next_u64(), oracle.clone().next_u64());
        assert_eq!(serde_json::to_string(&oracle).unwrap(), text);
    }
}
