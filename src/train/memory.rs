//! The memory that a run needs, estimated before its first step.

use candle_core::{DType, Tensor};

use super::available::{available_memory, resident_memory};
use super::error::TrainError;
use super::optimizer::{Optimizer, RuleOptimizer};
use super::step::loss_of;
use super::trainer::Run;
use crate::autograd::{StepMemory, step_memory};
use crate::device::free_memory;
use crate::ops::Target;

/// Images in the forward pass that is measured: batch norm needs more than one value.
const SAMPLE: usize = 2;
/// Batches that the loader holds while the network trains on another one: two are ready, and one is
/// in preparation.
const LOADED: usize = 3;

/// The memory that training needs at most, in bytes.
#[derive(Debug, Clone)]
pub struct MemoryEstimate {
    step: StepMemory,
    /// Bytes of an image in a batch.
    image: usize,
    /// Bytes that are in use already: program, images and weights.
    base: usize,
    /// Bytes that the optimizer and averages of the weights keep between steps.
    kept: usize,
    /// Bytes that can be used in addition to `base`, if the system says so.
    available: Option<usize>,
}

impl MemoryEstimate {
    /// The bytes that a run with batches of `batch_size` images needs, with those that are in use
    /// already.
    pub fn total(&self, batch_size: usize) -> usize {
        self.base + self.additional(batch_size)
    }

    fn additional(&self, batch_size: usize) -> usize {
        let loaded = LOADED * batch_size * self.image;
        self.step.peak(batch_size) + loaded + self.kept
    }

    /// The bytes that the process can use on the device, with those that are in use already. `None` if
    /// the system does not say: for a CPU, on systems other than Linux.
    pub fn available(&self) -> Option<usize> {
        self.available.map(|available| self.base + available)
    }

    /// Whether batches of `batch_size` images fit into the available memory.
    pub fn fits(&self, batch_size: usize) -> bool {
        let needed = self.additional(batch_size);
        self.available.is_none_or(|available| needed <= available)
    }

    /// The largest batch of at most `batch_size` images that fits; `None` if not one image does.
    pub fn largest_batch(&self, batch_size: usize) -> Option<usize> {
        let (mut fits, mut too_large) = (0, batch_size + 1);
        while too_large - fits > 1 {
            let middle = fits + (too_large - fits) / 2;
            if self.fits(middle) {
                fits = middle;
            } else {
                too_large = middle;
            }
        }
        (fits > 0).then_some(fits)
    }
}

/// Estimates the memory of a run from the forward pass of two images: all values that the backward
/// pass needs, the gradients, the buffers of the optimizer and the batches of the loader. The state of
/// the network does not change.
///
/// On the CPU the measured peak is within about 20 % of it; `docs/train.md` has figures. On a GPU it is
/// a lower bound: temporary buffers of Candle's ops are not in it.
///
/// # Errors
/// The network fails, or the optimizer cannot be made.
pub fn estimate(run: &Run<'_>) -> Result<MemoryEstimate, TrainError> {
    let device = run.store.device();
    let images = run.train.images();
    let sizes = run.recipe.train_img_sizes.as_ref();
    let largest = sizes.and_then(|sizes| sizes.sizes().max());
    let (height, width) = match largest {
        None => (images.height(), images.width()),
        Some(size) => (size, size),
    };
    let shape = (SAMPLE, images.channels(), height, width);
    let batch = Tensor::zeros(shape, DType::F32, device)?;
    let labels = Tensor::zeros(SAMPLE, DType::U32, device)?;
    // Before the forward pass, whose memory a GPU's pool keeps.
    let on_gpu = free_memory(device);
    let groups = run.recipe.groups(run.store.params());
    let optimizer = RuleOptimizer::new(run.recipe.optimizer(), groups)?;
    let step = without_effect(run, || {
        step_memory(SAMPLE, || {
            let (logits, own) = run.forward(run.recipe.freeze_backbone, &batch, &labels)?;
            loss_of(run.recipe, &logits, own, &Target::Classes(&labels))
        })
    })?;
    let weights = bytes(run.store.tensors());
    let averages = usize::from(run.recipe.model_ema) + usize::from(run.recipe.swa_start.is_some());
    let (base, available) = if device.is_cpu() {
        (resident_memory().unwrap_or(weights), available_memory())
    } else {
        (weights, on_gpu)
    };
    Ok(MemoryEstimate {
        step,
        image: batch.elem_count() / SAMPLE * DType::F32.size_in_bytes(),
        base,
        kept: bytes(optimizer.state()) + averages * weights,
        available,
    })
}

fn bytes(tensors: Vec<(String, Tensor)>) -> usize {
    let size = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
    tensors.iter().map(|(_, tensor)| size(tensor)).sum()
}

/// Runs `forward` and restores the running statistics and the random generators of the network.
fn without_effect<T>(
    run: &Run<'_>,
    forward: impl FnOnce() -> candle_core::Result<T>,
) -> candle_core::Result<T> {
    let buffers = run.store.buffers();
    let values = buffers.iter().map(|(_, var)| var.copy());
    let values = values.collect::<candle_core::Result<Vec<_>>>()?;
    let generators = run.generators.iter().map(|(_, generator)| generator);
    let states: Vec<_> = generators.clone().map(|g| g.state()).collect();
    let result = forward();
    for ((_, buffer), value) in buffers.iter().zip(&values) {
        buffer.set(value)?;
    }
    for (generator, state) in generators.zip(&states) {
        generator.restore(state);
    }
    result
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::MemoryEstimate;
    use crate::autograd::step_memory;
    use crate::ops::mish;

    #[test]
    fn the_largest_batch_just_fits() {
        let x = Var::zeros((2, 100), DType::F32, &Device::Cpu).expect("zeros");
        let images = x.detach();
        let forward = || mish(&mish(&(images + x.as_tensor())?)?);
        let estimate = MemoryEstimate {
            step: step_memory(2, forward).expect("a step"),
            image: 10,
            base: 5000,
            kept: 200,
            available: None,
        };
        // Twenty times the images: twenty times all but the base.
        let [two, forty] = [2, 40].map(|batch| estimate.additional(batch) - 200);
        assert!(two >= 3 * 800, "{two}");
        assert_eq!(forty, 20 * two);
        assert_eq!(estimate.available(), None);
        assert!(estimate.fits(usize::MAX >> 32));
        let limited = |bytes| MemoryEstimate {
            available: Some(bytes),
            ..estimate.clone()
        };
        let just = limited(estimate.additional(40));
        assert_eq!(just.available(), Some(estimate.total(40)));
        assert!(just.fits(40) && !just.fits(41));
        assert_eq!(just.largest_batch(1000), Some(40));
        assert_eq!(just.largest_batch(30), Some(30));
        assert_eq!(limited(100).largest_batch(1000), None);
    }
}
