//! Calibration: whether a network is as confident as it is accurate.

use serde::Serialize;

/// Bins of the confidence (Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2).
const BINS: usize = 15;

/// The images with a confidence in one range.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bin {
    /// The number of images.
    pub images: usize,
    /// The sum of the confidences.
    pub confidence: f64,
    /// The number of correct images.
    pub correct: f64,
}

/// The accuracy of images by their confidence, the highest probability of a class.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Calibration {
    /// 15 bins of equal width, from confidence 0 to 1.
    pub bins: [Bin; BINS],
}

impl Calibration {
    /// Counts images by confidence, each with whether its class is correct.
    pub fn new(images: impl IntoIterator<Item = (f64, bool)>) -> Self {
        let mut calibration = Self::default();
        for (confidence, correct) in images {
            let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
            let bin = &mut calibration.bins[bin];
            bin.images += 1;
            bin.confidence += confidence;
            bin.correct += f64::from(correct);
        }
        calibration
    }

    /// The expected calibration error: the mean distance between confidence and accuracy, over the
    /// bins, weighted by their images.
    pub fn error(&self) -> f64 {
        let images: usize = self.bins.iter().map(|bin| bin.images).sum();
        let distance = |bin: &Bin| (bin.confidence - bin.correct).abs();
        self.bins.iter().map(distance).sum::<f64>() / images.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_bin_are_averaged() {
        // Two images in a bin with mean confidence 0.95, half of them correct; one in another bin.
        let calibration = Calibration::new([(0.94, true), (0.96, false), (0.3, true)]);
        let expected = (2.0 * 0.45 + 0.7) / 3.0;
        assert!((calibration.error() - expected).abs() < 1e-12);
        assert_eq!(calibration.bins[14].images, 2);
        assert_eq!(Calibration::new([(1.0, true)]).bins[14].images, 1);
        assert_eq!(Calibration::default().error(), 0.0);
    }
}
