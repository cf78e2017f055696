//! What a network says to the images of a study.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;

use crate::data::{Batch, Loader};

/// A network's answers to all images.
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

/// An error once the study is to stop.
pub(super) fn go_on(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        bail!("stopped");
    }
    Ok(())
}

/// Images and labels of a set, until the study is to stop.
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
