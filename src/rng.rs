//! The random numbers of a run: one seeded generator, handed to whoever draws.
//!
//! Candle's CPU device cannot be seeded, so initialisation, shuffling, augmentation, dropout and
//! the synthetic set draw from here.

use std::sync::{Arc, Mutex, MutexGuard};

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// A shared handle to a seeded generator: clones draw from the same sequence.
#[derive(Debug, Clone)]
pub struct Generator(Arc<Mutex<Xoshiro256PlusPlus>>);

/// Where a [`Generator`] stands in its sequence, to be saved with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorState(Xoshiro256PlusPlus);

impl Generator {
    /// A generator of its own sequence for every seed.
    pub fn new(seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(rng)))
    }

    /// A generator that depends on `seed` and `name` only, not on what was drawn before: what
    /// is drawn for one purpose then does not shift what another one gets.
    pub fn named(seed: u64, name: &str) -> Self {
        Self::new(seed ^ fnv1a(name.as_bytes()))
    }

    /// Exclusive use of the underlying generator, for drawing with the `rand` crates.
    pub fn lock(&self) -> MutexGuard<'_, Xoshiro256PlusPlus> {
        // A panic while drawing leaves a generator that is still valid.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Where the sequence stands.
    pub fn state(&self) -> GeneratorState {
        GeneratorState(self.lock().clone())
    }

    /// Continues from `state`; every clone of this handle does.
    pub fn restore(&self, state: &GeneratorState) {
        *self.lock() = state.0.clone();
    }
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo): stable over Rust versions and platforms, unlike
/// the standard library's hashers.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
