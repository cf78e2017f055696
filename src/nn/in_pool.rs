//! Forward passes on a thread of the pool.

use candle_core::{ModuleT, Result, Tensor};

use super::layer_input::observes;
use super::summary::records;
use crate::ops::composed::composes;

/// The output of `model` in evaluation, computed on a thread of rayon's pool.
///
/// An op that uses several threads sleeps while they compute, if it runs on another thread than
/// theirs. For single images and small batches, waking takes a good part of the time. Here that
/// happens once for all ops. Inside of functions that observe layers on this thread, such as
/// [`summarize`](super::summarize), and on other devices than the CPU this is `forward_t`.
///
/// # Errors
/// As `forward_t` of the model.
pub fn forward_in_pool<M: ModuleT + Sync + ?Sized>(model: &M, x: &Tensor) -> Result<Tensor> {
    if observes() || records() || composes(x) {
        return model.forward_t(x, false);
    }
    // The subscriber of a profile may be this thread's own.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let forward = || tracing::dispatcher::with_default(&dispatch, || model.forward_t(x, false));
    rayon::join(forward, || ()).0
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Module};

    use super::super::{record, summarize};
    use super::*;

    struct Doubled;

    impl ModuleT for Doubled {
        fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
            assert!(!train);
            let y = (x * 2.0)?;
            record("layer", "Doubled", &y, &[], 0);
            crate::activation::Activation::Relu.forward(&y)
        }
    }

    #[test]
    fn the_pool_computes_and_observers_see_the_layers() -> Result<()> {
        let x = Tensor::new(&[1f32, -2.0], &Device::Cpu)?;
        let y = forward_in_pool(&Doubled, &x)?;
        assert_eq!(y.to_vec1::<f32>()?, [2.0, 0.0]);
        let (y, layers) = summarize(|| forward_in_pool(&Doubled, &x))?;
        assert_eq!(y.to_vec1::<f32>()?, [2.0, 0.0]);
        assert_eq!(layers.len(), 1);
        Ok(())
    }
}
