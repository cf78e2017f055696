//! What a network predicts for each image.

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;

use super::metrics::{cross_entropy, log_softmax, rank, rows};

/// The prediction for an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The class of the image.
    pub label: u32,
    /// The class with the highest logit, the first of equals.
    pub class: u32,
    /// Its probability.
    pub confidence: f64,
    /// The probability of `label`.
    pub label_probability: f64,
    /// The number of classes with a higher logit than `label`.
    pub rank: usize,
    /// The cross-entropy.
    pub loss: f64,
}

impl Prediction {
    /// The prediction from the logits of an image.
    ///
    /// # Errors
    /// If a logit is not finite or `label` has none.
    pub fn new(logits: &[f32], label: u32) -> Result<Self> {
        if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
            bail!("a logit is {logit}")
        }
        let Some(rank) = rank(logits, label as usize) else {
            bail!("label {label}, but the model has {} classes", logits.len())
        };
        let log_probabilities = log_softmax(logits);
        let mut class = 0;
        for (i, logit) in logits.iter().enumerate() {
            if *logit > logits[class] {
                class = i;
            }
        }
        Ok(Self {
            label,
            class: class as u32,
            confidence: log_probabilities[class].exp(),
            label_probability: log_probabilities[label as usize].exp(),
            rank,
            loss: cross_entropy(logits, label as usize),
        })
    }

    /// Whether the class is the label.
    pub fn is_correct(&self) -> bool {
        self.rank == 0
    }
}

/// The predictions of `model` for batches of images `[B, C, H, W]` and labels `[B]`, in order.
///
/// # Errors
/// The model or a batch fails, a batch has another number of labels than images, a logit is not finite, or
/// a label is not below the number of classes.
pub fn predict(
    model: &dyn ModuleT,
    batches: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
) -> Result<Vec<Prediction>> {
    let mut predictions = Vec::new();
    for batch in batches {
        let (images, labels) = batch?;
        let logits = model.forward_t(&images, false)?;
        let (logits, labels) = rows(&logits, &labels)?;
        for (row, label) in logits.iter().zip(labels) {
            predictions.push(Prediction::new(row, label)?);
        }
    }
    Ok(predictions)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_prediction_has_the_probabilities_of_the_softmax() -> Result<()> {
        let logits = [0.1f32.ln(), 0.6f32.ln(), 0.3f32.ln()];
        let wrong = Prediction::new(&logits, 2)?;
        assert_eq!((wrong.class, wrong.rank, wrong.is_correct()), (1, 1, false));
        assert!((wrong.confidence - 0.6).abs() < 1e-6);
        assert!((wrong.label_probability - 0.3).abs() < 1e-6);
        assert!((wrong.loss + 0.3f64.ln()).abs() < 1e-6);
        assert!(Prediction::new(&logits, 1)?.is_correct());
        // Of equal logits the first class counts, for the rank too.
        let equal = Prediction::new(&[1.0, 1.0], 1)?;
        assert_eq!((equal.class, equal.is_correct()), (0, false));
        assert!(Prediction::new(&logits, 3).is_err());
        assert!(Prediction::new(&[0.0, f32::NAN], 0).is_err());
        Ok(())
    }

    #[test]
    fn a_batch_has_as_many_labels_as_images() -> Result<()> {
        let images = Tensor::new(&[[2f32, 1.0], [0.0, 3.0]], &Device::Cpu)?;
        let network = candle_nn::func(|x| Ok(x.clone()));
        let of = |labels: &[u32]| {
            let labels = Tensor::new(labels, &Device::Cpu)?;
            predict(&network, [Ok((images.clone(), labels))])
        };
        let classes = of(&[0, 0])?.into_iter().map(|found| found.class);
        assert_eq!(classes.collect::<Vec<_>>(), [0, 1]);
        assert!(of(&[0]).is_err());
        assert!(of(&[0, 0, 0]).is_err());
        Ok(())
    }
}
