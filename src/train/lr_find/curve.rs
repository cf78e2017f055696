//! The losses of a range test, and the rates that they suggest.

use serde::Serialize;

/// The loss at a learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The learning rate of the step.
    pub lr: f64,
    /// The training loss before its update.
    pub loss: f64,
    /// The running mean of the losses so far.
    pub smoothed: f64,
}

/// The steps of a range test.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RangeTest {
    /// The steps in order.
    pub points: Vec<Point>,
    /// Whether the loss diverged, which ended the test.
    pub diverged: bool,
}

/// Learning rates to try.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Suggestion {
    /// Where the smoothed loss falls the fastest, per factor of the rate.
    pub steepest: f64,
    /// A tenth of the rate with the lowest smoothed loss.
    pub minimum_tenth: f64,
}

impl RangeTest {
    /// The weight of the past in the running mean, as in fastai and Lightning.
    const SMOOTHING: f64 = 0.98;
    /// A loss has diverged at this multiple of the lowest loss, as in fastai and Lightning.
    const DIVERGENCE: f64 = 4.0;
    /// Steps at the start that suggest no rate, as in Lightning: the running mean is short there.
    const SKIPPED: usize = 10;
    /// A loss that falls by less than this per factor e of the rate does not fall.
    const FLAT: f64 = 1e-6;
    /// A loss has risen again at this multiple of the lowest loss. Noise rises less.
    const RISEN: f64 = 1.1;

    /// Adds the loss of a step. Returns false if the losses have diverged.
    pub fn push(&mut self, lr: f64, loss: f64) -> bool {
        // The mean without its correction for the first steps.
        let sum = |point: &Point, steps: usize| point.smoothed * Self::correction(steps);
        let steps = self.points.len();
        let past = self.points.last().map_or(0.0, |point| sum(point, steps));
        let mean = Self::SMOOTHING * past + (1.0 - Self::SMOOTHING) * loss;
        let smoothed = mean / Self::correction(steps + 1);
        let lowest = self.lowest().map_or(smoothed, |point| point.smoothed);
        self.diverged |= !smoothed.is_finite() || smoothed > Self::DIVERGENCE * lowest;
        if loss.is_finite() {
            self.points.push(Point { lr, loss, smoothed });
        }
        !self.diverged
    }

    /// The sum of the weights in a running mean of `steps` losses.
    fn correction(steps: usize) -> f64 {
        1.0 - Self::SMOOTHING.powf(steps as f64)
    }

    fn lowest(&self) -> Option<&Point> {
        let points = self.points.iter();
        points.min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))
    }

    /// Whether the rates went far enough: the loss has risen again, or has diverged.
    pub fn rises(&self) -> bool {
        let ends = self.points.last().zip(self.lowest());
        let risen = ends.is_some_and(|(last, low)| last.smoothed > Self::RISEN * low.smoothed);
        self.diverged || risen
    }

    /// Learning rates to try, within the rates of the test. `None` if the loss does not fall and then
    /// rise, or after too few steps.
    pub fn suggestion(&self) -> Option<Suggestion> {
        let slopes = (Self::SKIPPED..self.points.len().saturating_sub(1)).map(|i| {
            let [before, after] = [&self.points[i - 1], &self.points[i + 1]];
            let slope = (after.smoothed - before.smoothed) / (after.lr / before.lr).ln();
            (self.points[i].lr, slope)
        });
        let (steepest, slope) = slopes.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let (first, lowest) = self.points.first().zip(self.lowest())?;
        let minimum_tenth = lowest.lr / 10.0;
        let is_covered = self.rises() && first.lr <= minimum_tenth;
        (is_covered && slope < -Self::FLAT).then_some(Suggestion {
            steepest,
            minimum_tenth,
        })
    }
}
