//! The logits of a network for the images of a study.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;

use crate::data::{Batch, Loader};

/// The logits and labels of all images.
pub(super) struct Logits {
    /// `[N, classes]`
    pub logits: Tensor,
    pub labels: Vec<u32>,
}

impl Logits {
    pub fn of(frozen: &dyn ModuleT, loader: &Loader, stop: &AtomicBool) -> Result<Self> {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for batch in batches(loader, stop) {
            let (x, y) = batch?;
            rows.push(frozen.forward_t(&x, false)?.detach());
            labels.extend(y.to_vec1::<u32>()?);
        }
        if rows.is_empty() {
            bail!("there are no test images");
        }
        Ok(Self {
            logits: Tensor::cat(&rows, 0)?,
            labels,
        })
    }
}

/// The first `count` batches of a shuffled set, over as many epochs as they take.
pub(super) fn first_batches<'a>(
    loader: &'a Loader,
    count: usize,
    stop: &'a AtomicBool,
) -> Result<impl Iterator<Item = Result<Tensor>> + 'a> {
    if loader.batches_per_epoch() == 0 {
        bail!("there are no images for calibration");
    }
    let epochs = (0..).flat_map(|epoch| loader.epoch(epoch, 0));
    Ok(epochs.take(count).map(move |batch| {
        go_on(stop)?;
        Ok(batch?.images)
    }))
}

/// Fails if the study has been stopped.
pub(super) fn go_on(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        bail!("stopped");
    }
    Ok(())
}

/// The images and labels of a set, until the study is stopped.
pub(super) fn batches<'a>(
    loader: &Loader,
    stop: &'a AtomicBool,
) -> impl Iterator<Item = Result<(Tensor, Tensor)>> + 'a {
    loader.epoch(0, 0).map(move |batch| {
        go_on(stop)?;
        let Batch { images, labels, .. } = batch?;
        Ok((images, labels))
    })
}
