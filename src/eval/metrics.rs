//! Accuracy and loss over labelled images.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};

/// The accuracy and loss of a network on a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Evaluation {
    /// The number of images.
    pub images: usize,
    /// The fraction of images whose class has the highest logit, in [0, 1].
    pub top1: f64,
    /// The fraction of images whose class is among the five highest logits, in [0, 1].
    pub top5: f64,
    /// The mean cross-entropy, without label smoothing.
    pub loss: f64,
}

/// Evaluates `model` over batches of images `[B, C, H, W]` and labels `[B]`.
///
/// A model on detached weights, such as
/// [`ParamStore::frozen`](crate::nn::ParamStore::frozen) has, records no graph and needs only the memory
/// of one batch.
///
/// # Errors
/// The model or a batch fails, or a label is not below the number of classes.
pub fn evaluate(
    model: &dyn ModuleT,
    batches: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
) -> Result<Evaluation> {
    Ok(totals(model, batches)?.mean())
}

/// The sums of [`evaluate`] over the images, to add to the sums of other parts of a set. A batch may
/// be empty.
///
/// # Errors
/// As [`evaluate`].
pub fn totals(
    model: &dyn ModuleT,
    batches: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
) -> Result<Totals> {
    let mut total = Totals::default();
    for batch in batches {
        let (images, labels) = batch?;
        if labels.elem_count() > 0 {
            let logits = model.forward_t(&images, false)?;
            total.add(&logits, &labels)?;
        }
    }
    Ok(total)
}

/// Evaluates `model` on images of only some of its classes, once among all classes and once among
/// `classes` alone: then the logits of all other classes are left out, as ImageNet-A and ImageNet-R
/// are evaluated in their papers. Returns both, in this order.
///
/// # Errors
/// As [`evaluate`], or if a label is not in `classes`.
pub fn evaluate_subset(
    model: &dyn ModuleT,
    batches: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
    classes: &[u32],
) -> Result<(Evaluation, Evaluation)> {
    let (mut all, mut among) = (Totals::default(), Totals::default());
    for batch in batches {
        let (images, labels) = batch?;
        let logits = model.forward_t(&images, false)?;
        all.add(&logits, &labels)?;
        among.add_among(&logits, &labels, classes)?;
    }
    Ok((all.mean(), among.mean()))
}

/// Sums over the images so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    images: usize,
    top1: usize,
    top5: usize,
    loss: f64,
}

impl Totals {
    /// Adds a batch: logits `[B, classes]`, labels `[B]`.
    ///
    /// # Errors
    /// If the shapes differ or a label is not below the number of classes.
    pub fn add(&mut self, logits: &Tensor, labels: &Tensor) -> Result<()> {
        let (rows, labels) = rows(logits, labels)?;
        for (row, label) in rows.iter().zip(labels) {
            self.add_row(row, label as usize)?;
        }
        Ok(())
    }

    /// Adds a batch as [`Totals::add`] does, with the logits of `classes` only.
    ///
    /// # Errors
    /// If the shapes differ, a class has no logit, or a label is not in `classes`.
    pub fn add_among(&mut self, logits: &Tensor, labels: &Tensor, classes: &[u32]) -> Result<()> {
        let (rows, labels) = rows(logits, labels)?;
        let mut among = Vec::with_capacity(classes.len());
        for (row, label) in rows.iter().zip(labels) {
            among.clear();
            for class in classes {
                let Some(logit) = row.get(*class as usize) else {
                    bail!("class {class}, but the model has {} classes", row.len())
                };
                among.push(*logit);
            }
            let Some(position) = classes.iter().position(|class| *class == label) else {
                bail!("label {label} is not among the {} classes", classes.len())
            };
            self.add_row(&among, position)?;
        }
        Ok(())
    }

    fn add_row(&mut self, logits: &[f32], label: usize) -> Result<()> {
        let Some(rank) = rank(logits, label) else {
            bail!("label {label}, but the model has {} classes", logits.len())
        };
        self.images += 1;
        self.top1 += usize::from(rank < 1);
        self.top5 += usize::from(rank < 5);
        self.loss += cross_entropy(logits, label);
        Ok(())
    }

    /// The sums: images, images with the highest logit, images among the five highest, cross-entropy.
    pub fn sums(&self) -> [f64; 4] {
        let count = |images: usize| images as f64;
        [
            count(self.images),
            count(self.top1),
            count(self.top5),
            self.loss,
        ]
    }

    /// The totals with these [`Totals::sums`].
    pub fn from_sums([images, top1, top5, loss]: [f64; 4]) -> Self {
        let count = |images: f64| images as usize;
        Self {
            images: count(images),
            top1: count(top1),
            top5: count(top5),
            loss,
        }
    }

    /// The sums over the images of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            images: self.images + other.images,
            top1: self.top1 + other.top1,
            top5: self.top5 + other.top5,
            loss: self.loss + other.loss,
        }
    }

    /// The number of images so far.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The means over the images; zero without images.
    pub fn mean(&self) -> Evaluation {
        let images = self.images.max(1) as f64;
        Evaluation {
            images: self.images,
            top1: self.top1 as f64 / images,
            top5: self.top5 as f64 / images,
            loss: self.loss / images,
        }
    }
}

/// The logits and the label of each image.
pub(super) fn rows(logits: &Tensor, labels: &Tensor) -> Result<(Vec<Vec<f32>>, Vec<u32>)> {
    let logits = logits.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let labels = labels.to_dtype(DType::U32)?.to_vec1::<u32>()?;
    if logits.len() != labels.len() {
        bail!("{} rows of logits, {} labels", logits.len(), labels.len())
    }
    Ok((logits, labels))
}

/// The number of classes ranked above `label`. Of equal logits the first class ranks higher. NaN counts
/// against the label: a label of NaN ranks last, and every other class of NaN ranks above it.
pub(super) fn rank(logits: &[f32], label: usize) -> Option<usize> {
    let target = *logits.get(label)?;
    let before =
        |(class, logit): (usize, &f32)| !(*logit < target || (*logit == target && class >= label));
    Some(logits.iter().enumerate().filter(|l| before(*l)).count())
}

/// The negative log-likelihood of `label`, in f64.
pub(super) fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|l| (*l as f64 - highest).exp()).sum();
    highest + sum.ln() - logits[label] as f64
}

/// The logarithms of the probabilities, in f64.
pub(super) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|l| (f64::from(*l) - highest).exp()).sum();
    let shift = highest + sum.ln();
    logits.iter().map(|l| f64::from(*l) - shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn ranks_ties_and_nan() {
        assert_eq!(rank(&[1.0, 3.0, 2.0], 1), Some(0));
        assert_eq!(rank(&[1.0, 3.0, 2.0], 0), Some(2));
        assert_eq!(rank(&[2.0, 2.0, 2.0], 2), Some(2));
        assert_eq!(rank(&[f32::NAN, 0.0], 0), Some(2));
        assert_eq!(rank(&[f32::NAN, 0.0], 1), Some(1));
        assert_eq!(rank(&[0.0], 1), None);
    }

    #[test]
    fn averages_over_uneven_batches() -> Result<()> {
        let mut totals = Totals::default();
        let logits = Tensor::new(
            &[[0f32, 1., 2., 3., 4., 5.], [5., 4., 3., 2., 1., 0.]],
            &Device::Cpu,
        )?;
        totals.add(&logits, &Tensor::new(&[0u32, 1], &Device::Cpu)?)?;
        let extreme = Tensor::new(&[[1e4f32, -1e4, 0., 0., 0., 0.]], &Device::Cpu)?;
        totals.add(&extreme, &Tensor::new(&[0u32], &Device::Cpu)?)?;
        let mean = totals.mean();
        assert_eq!(
            (mean.images, mean.top1, mean.top5),
            (3, 1.0 / 3.0, 2.0 / 3.0)
        );
        // log(sum(exp(0..=5))) = 5.456193316018123; the third image costs nothing.
        let expected = (5.456_193_316_018_123 + 1.456_193_316_018_123) / 3.0;
        assert!((mean.loss - expected).abs() < 1e-12);
        let outside = Tensor::new(&[6u32, 0], &Device::Cpu)?;
        assert!(totals.add(&logits, &outside).is_err());
        Ok(())
    }

    #[test]
    fn classes_that_are_absent_do_not_count() -> Result<()> {
        struct Known;
        impl ModuleT for Known {
            fn forward_t(&self, images: &Tensor, _train: bool) -> Result<Tensor> {
                Ok(images.clone())
            }
        }
        // Class 1 is absent. It wins on both images; among 0 and 2, the second is right.
        let logits = Tensor::new(&[[1f32, 9., 2.], [1., 9., 2.]], &Device::Cpu)?;
        let labels = Tensor::new(&[0u32, 2], &Device::Cpu)?;
        let batch = || [Ok((logits.clone(), labels.clone()))];
        let (all, among) = evaluate_subset(&Known, batch(), &[0, 2])?;
        assert_eq!((all.images, all.top1, all.top5), (2, 0.0, 1.0));
        assert_eq!((among.images, among.top1, among.top5), (2, 0.5, 1.0));
        // The softmax of 1 and 2.
        let (e1, e2) = (1f64.exp(), 2f64.exp());
        let expected = -((e1 / (e1 + e2)).ln() + (e2 / (e1 + e2)).ln()) / 2.0;
        assert!((among.loss - expected).abs() < 1e-12);
        assert_eq!(all, evaluate(&Known, batch())?);
        assert!(evaluate_subset(&Known, batch(), &[0, 1]).is_err());
        assert!(evaluate_subset(&Known, batch(), &[0, 2, 3]).is_err());
        Ok(())
    }
}
