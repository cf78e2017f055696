//! Forward passes on the threads of the pool.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{ModuleT, Result, Tensor};
use tracing::dispatcher::{get_default, with_default};

use super::awake::{Awake, Computing};
use super::layer_input::observes;
use super::summary::records;
use crate::ops::composed::composes;

/// The least input values of a part in [`forward_in_parts`]: eight images of 32x32.
const LEAST_VALUES: usize = 8 * 3 * 32 * 32;

/// How many weights a part may read for each of its input values. A small part stays in the cache, but
/// reads all weights again.
const WEIGHTS_PER_VALUE: usize = 128;

/// The output of `model` in evaluation, computed on a thread of rayon's pool.
///
/// An op that uses several threads sleeps while they compute, if it runs on another thread than
/// theirs. For single images and small batches, waking takes a good part of the time. Here that
/// happens once for all ops, and the other threads of the pool stay awake between ops. Inside of
/// functions that observe layers on this thread, such as [`summarize`](super::summarize), and on other
/// devices than the CPU this is `forward_t`.
///
/// Other work in the same pool may wait for this pass: a thread that waits inside of an op of another
/// caller can stay awake here until the pass ends, even if what it waits for is done.
///
/// # Errors
/// As `forward_t` of the model.
pub fn forward_in_pool<M: ModuleT + Sync + ?Sized>(model: &M, x: &Tensor) -> Result<Tensor> {
    match stays_on_thread(x) {
        true => model.forward_t(x, false),
        false => in_pool(|| model.forward_t(x, false)),
    }
}

/// As [`forward_in_pool`], with a part of the images `[N, C, H, W]` at a time, so that what the layers
/// pass on stays in the cache. Each thread computes its own parts. `model` has about `weights` weights:
/// the more it has, the larger the parts.
///
/// This suits models that arrange their weights once; others would do it for each part. The model must
/// treat images independently. The division depends on the number of images and of threads, and changes
/// the output by rounding.
///
/// # Errors
/// As `forward_t` of the model.
pub fn forward_in_parts<M: ModuleT + Sync + ?Sized>(
    model: &M,
    images: &Tensor,
    weights: usize,
) -> Result<Tensor> {
    let threads = rayon::current_num_threads();
    let size = images_per_part(images.dims(), weights, threads);
    let parts = match size {
        Some(size) if !stays_on_thread(images) => divide(images, size.get())?,
        _ => return forward_in_pool(model, images),
    };
    let outputs: Vec<OnceLock<Result<Tensor>>> = parts.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let dispatch = get_default(Clone::clone);
    let compute = || {
        with_default(&dispatch, || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let (Some(part), Some(output)) = (parts.get(index), outputs.get(index)) else {
                    break;
                };
                output.get_or_init(|| model.forward_t(part, false));
            }
        });
    };
    in_pool(|| {
        rayon::scope(|scope| {
            for _ in 1..threads.min(parts.len()) {
                // A thread that waits inside of a part would only start another one later.
                scope.spawn(|_| {
                    if let Some(_computing) = Computing::enter_first() {
                        compute();
                    }
                });
            }
            compute();
        });
    });
    let outputs: Vec<Tensor> = outputs
        .into_iter()
        .filter_map(OnceLock::into_inner)
        .collect::<Result<_>>()?;
    Tensor::cat(&outputs, 0)
}

/// Whether a forward pass of `x` must run on this thread.
fn stays_on_thread(x: &Tensor) -> bool {
    observes() || records() || composes(x)
}

/// Runs a forward pass on a thread of the pool.
fn in_pool<T: Send>(forward: impl FnOnce() -> T + Send) -> T {
    // The subscriber of a profile may be this thread's own.
    let dispatch = get_default(Clone::clone);
    let forward = || {
        let _computing = Computing::enter();
        let _awake = Awake::new();
        with_default(&dispatch, forward)
    };
    // From outside of the pool, `join` runs on a thread of the pool and waits for it; on a thread of the
    // pool it runs at once.
    rayon::join(forward, || ()).0
}

/// The images of a part, if images of this shape are divided.
fn images_per_part(dims: &[usize], weights: usize, threads: usize) -> Option<NonZeroUsize> {
    let (images, image) = match dims {
        [images, image @ ..] if !image.is_empty() => (*images, image.iter().product::<usize>()),
        _ => return None,
    };
    let least = LEAST_VALUES
        .div_ceil(image.max(1))
        .min(images.div_ceil(threads));
    let size = least.max((weights / WEIGHTS_PER_VALUE).div_ceil(image.max(1)));
    NonZeroUsize::new(size).filter(|size| size.get() < images)
}

fn divide(images: &Tensor, size: usize) -> Result<Vec<Tensor>> {
    let count = images.dim(0)?;
    let part = |start| images.narrow(0, start, size.min(count - start));
    (0..count).step_by(size).map(part).collect()
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

    #[test]
    fn parts_give_the_outputs_in_order() -> Result<()> {
        for images in [0, 1, 2, 9, 61] {
            let x = Tensor::arange(0f32, (images * 3 * 32 * 32) as f32, &Device::Cpu)?;
            let x = x.reshape((images, 3, 32, 32))?;
            let whole = Doubled.forward_t(&x, false)?.flatten_all()?;
            // More passes at a time than threads.
            rayon::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|_| {
                        let y = forward_in_parts(&Doubled, &x, 1).unwrap();
                        assert_eq!(y.dims(), x.dims());
                        let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                        assert_eq!(y, whole.to_vec1::<f32>().unwrap());
                    });
                }
            });
            let (_, layers) = summarize(|| forward_in_parts(&Doubled, &x, 1))?;
            assert_eq!(layers.len(), 1);
        }
        Ok(())
    }

    struct Failing;

    impl ModuleT for Failing {
        fn forward_t(&self, x: &Tensor, _train: bool) -> Result<Tensor> {
            x.narrow(1, 0, 4)
        }
    }

    #[test]
    fn an_error_in_a_part_is_the_error_of_the_pass() -> Result<()> {
        let x = Tensor::zeros((64, 3, 32, 32), candle_core::DType::F32, &Device::Cpu)?;
        assert!(forward_in_parts(&Failing, &x, 1).is_err());
        Ok(())
    }

    #[test]
    fn parts_fit_the_cache_and_the_threads() {
        let size = |dims: &[usize], weights, threads| {
            images_per_part(dims, weights, threads).map(NonZeroUsize::get)
        };
        let (million, cifar, imagenet) = (1_000_000, [3, 32, 32], [3, 224, 224]);
        let batch = |images: usize, image: [usize; 3]| [&[images][..], &image].concat();
        assert_eq!(size(&batch(500, cifar), million / 4, 2), Some(8));
        assert_eq!(size(&batch(500, cifar), 11 * million, 2), Some(28));
        assert_eq!(size(&batch(8, cifar), million / 4, 2), Some(4));
        assert_eq!(size(&batch(8, cifar), million / 4, 16), Some(1));
        assert_eq!(size(&batch(8, imagenet), 8 * million, 2), Some(1));
        assert_eq!(size(&batch(8, imagenet), 25 * million, 2), Some(2));
        assert_eq!(size(&batch(16, imagenet), 138 * million, 2), Some(8));
        assert_eq!(size(&batch(16, imagenet), 138 * million, 16), Some(8));
        // Nothing to divide.
        assert_eq!(size(&batch(1, imagenet), million, 2), None);
        assert_eq!(size(&batch(8, cifar), million, 1), None);
        assert_eq!(size(&batch(8, cifar), 11 * million, 2), None);
        assert_eq!(size(&batch(0, cifar), million, 2), None);
        assert_eq!(size(&[7], million, 2), None);
        assert_eq!(size(&[], million, 2), None);
    }
}
