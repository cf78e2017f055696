//! Packed forms of a weight that outlive a call.

use std::sync::{Arc, Mutex};

use super::super::cost_model::Outputs;
use super::super::fp32_precision::Fp32Precision;
use super::channel_weights::ChannelWeights;
use super::pixel_weights::{Heights, PixelWeights};

/// The weight of a convolution in the order in which its algorithm reads it, kept between calls.
///
/// A convolution of a few images spends much of its time on arranging its weight. Where the weight
/// does not change, it can be arranged once: the first call with an empty `PackedWeight` fills it,
/// and later calls use it. The results have the same bits.
///
/// It must be used with one weight only, and the weight must not change: neither is checked. It
/// takes the memory of the weight, or four times as much where Winograd's algorithm is used. Clones
/// share it.
#[derive(Debug, Clone, Default)]
pub struct PackedWeight(Arc<Forms>);

impl PackedWeight {
    pub(in super::super) fn forms(&self) -> &Forms {
        &self.0
    }
}

/// A weight in the forms of all algorithms that used it.
#[derive(Debug, Default)]
pub(in super::super) struct Forms {
    pub(in super::super) channels: Form<(usize, Fp32Precision), ChannelWeights>,
    pub(in super::super) pixels: Form<Heights, PixelWeights>,
    pub(in super::super) winograd: Form<(Outputs, Fp32Precision, usize), Vec<f32>>,
    pub(in super::super) depthwise: Form<usize, Vec<f32>>,
}

/// One form of the weight and the register tile for which it was made.
#[derive(Debug)]
pub struct Form<K, T>(Mutex<Option<(K, Arc<T>)>>);

impl<K, T> Default for Form<K, T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<K: Copy + PartialEq, T> Form<K, T> {
    /// The form for `key`, which `pack` makes if another or none is there.
    pub fn get_or_pack(&self, key: K, pack: impl FnOnce() -> T) -> Arc<T> {
        // A panic cannot leave a partial form, so a poisoned lock is usable.
        let lock = || {
            self.0
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        };
        if let Some((made_for, form)) = &*lock()
            && *made_for == key
        {
            return form.clone();
        }
        // Without the lock: packing runs on all threads, and a thread that waits for the others
        // may take up another convolution with this weight.
        let form = Arc::new(pack());
        *lock() = Some((key, form.clone()));
        form
    }
}
