//! Functions that approximate a network's activation where its inputs are.

use super::correction::solve;
use super::report::{Approximation, Line};
use crate::activation::Activation;

/// The most straight lines of an approximation.
pub(super) const LARGEST_PIECES: usize = 16;
/// Groups of samples with similar values, which the fit of lines works on.
const BINS: usize = 400;
/// Rounds over all knots. Each round moves a knot by less than the one before.
const ROUNDS: usize = 60;

/// The inputs of an activation layer.
pub(super) struct LayerSamples {
    pub path: String,
    pub inputs: Vec<f64>,
}

/// How well `candidate` approximates `activation` on the inputs of each layer.
fn measure(
    name: String,
    activation: &Activation,
    candidate: &dyn Fn(f64) -> f64,
    layers: &[LayerSamples],
) -> Approximation {
    let (mut squares, mut size, mut count, mut largest) = (0.0, 0.0, 0.0, 0.0f64);
    let mut worst = (0.0, String::new());
    for layer in layers {
        let (mut own, mut own_size) = (0.0, 0.0);
        for x in &layer.inputs {
            let value = activation.value(*x);
            let error = candidate(*x) - value;
            own += error * error;
            own_size += value * value;
            largest = largest.max(error.abs());
        }
        let relative = (own / f64::max(own_size, f64::MIN_POSITIVE)).sqrt();
        if relative > worst.0 {
            worst = (relative, layer.path.clone());
        }
        squares += own;
        size += own_size;
        count += layer.inputs.len() as f64;
    }
    Approximation {
        name,
        rms_error: (squares / f64::max(count, 1.0)).sqrt(),
        relative_error: (squares / f64::max(size, f64::MIN_POSITIVE)).sqrt(),
        largest_error: largest,
        worst_layer: worst.1,
        worst_relative_error: worst.0,
        lines: Vec::new(),
    }
}

/// The errors of `candidates` and of straight lines of 2 to `pieces` pieces in place of `activation`.
pub(super) fn approximations(
    activation: &Activation,
    candidates: &[Activation],
    pieces: usize,
    layers: &[LayerSamples],
) -> Vec<Approximation> {
    let functions = candidates.iter().map(|candidate| {
        measure(
            candidate.to_string(),
            activation,
            &|x| candidate.value(x),
            layers,
        )
    });
    let mut found: Vec<Approximation> = functions.collect();
    let samples: Vec<f64> = layers
        .iter()
        .flat_map(|layer| layer.inputs.clone())
        .collect();
    let bins = Bin::of(samples, activation);
    for pieces in 2..=pieces {
        let lines = Lines::fit(&bins, pieces);
        let name = format!("{pieces} straight lines");
        found.push(Approximation {
            lines: lines.pieces(),
            ..measure(name, activation, &|x| lines.value(x), layers)
        });
    }
    found
}

/// Samples with similar values.
struct Bin {
    x: f64,
    y: f64,
    weight: f64,
}

impl Bin {
    fn of(mut samples: Vec<f64>, activation: &Activation) -> Vec<Self> {
        samples.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (samples.first(), samples.last()) else {
            return Vec::new();
        };
        let width = (high - low) / BINS as f64;
        let mut bins: Vec<Self> = Vec::new();
        let mut end = *low;
        for x in &samples {
            match bins.last_mut().filter(|_| *x < end) {
                Some(bin) => {
                    bin.weight += 1.0;
                    bin.x += (x - bin.x) / bin.weight;
                }
                None => {
                    bins.push(Self {
                        x: *x,
                        y: 0.0,
                        weight: 1.0,
                    });
                    end = x + width;
                }
            }
        }
        for bin in &mut bins {
            bin.y = activation.value(bin.x);
        }
        bins
    }
}

/// A continuous function of straight lines: intercept + slope x + Σ bends max(x - knot, 0).
#[derive(Debug, Clone)]
struct Lines {
    intercept: f64,
    slope: f64,
    /// Knots in ascending order, each with the change of the slope.
    bends: Vec<(f64, f64)>,
}

impl Lines {
    fn value(&self, x: f64) -> f64 {
        let bends = self
            .bends
            .iter()
            .map(|(knot, change)| change * (x - knot).max(0.0));
        self.intercept + self.slope * x + bends.sum::<f64>()
    }

    /// The best lines: for given knots by linear least squares, the knots by moving one at a time.
    fn fit(bins: &[Bin], pieces: usize) -> Self {
        let total: f64 = bins.iter().map(|bin| bin.weight).sum();
        let quantile = |share: f64| {
            let mut left = share * total;
            let bin = bins.iter().find(|bin| {
                left -= bin.weight;
                left <= 0.0
            });
            bin.or(bins.last()).map_or(0.0, |bin| bin.x)
        };
        let mut knots: Vec<f64> = (1..pieces)
            .map(|i| quantile(i as f64 / pieces as f64))
            .collect();
        let range = quantile(1.0) - quantile(0.0);
        let (mut best, mut error) = Self::through(bins, &knots);
        let mut step = range / 8.0;
        for _ in 0..ROUNDS {
            let before = error;
            for index in 0..knots.len() {
                for by in [-step, step] {
                    let mut moved = knots.clone();
                    moved[index] += by;
                    if !moved.is_sorted() {
                        continue;
                    }
                    let (lines, own) = Self::through(bins, &moved);
                    if own < error {
                        (best, error, knots) = (lines, own, moved);
                    }
                }
            }
            if error >= before {
                step /= 2.0;
            }
        }
        best
    }

    /// The best lines with these knots, and their error.
    fn through(bins: &[Bin], knots: &[f64]) -> (Self, f64) {
        let count = knots.len() + 2;
        let row = |x: f64| {
            let bends = knots.iter().map(move |knot| (x - knot).max(0.0));
            [1.0, x].into_iter().chain(bends).collect::<Vec<f64>>()
        };
        let mut matrix = vec![vec![0.0; count]; count];
        let mut right = vec![0.0; count];
        for bin in bins {
            let row = row(bin.x);
            for i in 0..count {
                right[i] += bin.weight * row[i] * bin.y;
                for j in 0..count {
                    matrix[i][j] += bin.weight * row[i] * row[j];
                }
            }
        }
        let solution = solve(matrix, right);
        let bends = knots.iter().copied().zip(solution[2..].iter().copied());
        let lines = Self {
            intercept: solution[0],
            slope: solution[1],
            bends: bends.collect(),
        };
        let error = bins
            .iter()
            .map(|bin| bin.weight * (lines.value(bin.x) - bin.y).powi(2));
        let error: f64 = error.sum();
        (
            lines,
            if error.is_finite() {
                error
            } else {
                f64::INFINITY
            },
        )
    }

    /// Each line with the input that it starts at.
    fn pieces(&self) -> Vec<Line> {
        let (mut intercept, mut slope) = (self.intercept, self.slope);
        let mut lines = vec![Line {
            from: None,
            slope,
            intercept,
        }];
        for (knot, change) in &self.bends {
            slope += change;
            intercept -= change * knot;
            lines.push(Line {
                from: Some(*knot),
                slope,
                intercept,
            });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Vec<LayerSamples> {
        let layer = |path: &str, scale: f64| LayerSamples {
            path: path.to_string(),
            inputs: (-200..=200).map(|i| scale * f64::from(i) / 50.0).collect(),
        };
        vec![layer("narrow", 0.25), layer("wide", 1.0)]
    }

    #[test]
    fn lines_equal_functions_that_consist_of_lines() {
        for (name, pieces) in [("relu", 2), ("hardtanh", 3)] {
            let activation: Activation = name.parse().expect("an activation");
            let found = approximations(&activation, &[activation], pieces, &layers());
            assert_eq!(found[0].largest_error, 0.0, "{name} approximates itself");
            let lines = found.last().expect("lines");
            assert!(lines.rms_error < 2e-3, "{name}: {lines:?}");
            assert_eq!(lines.lines.len(), pieces);
        }
    }

    #[test]
    fn more_lines_are_closer_and_continuous() {
        let mish = Activation::Mish;
        let found = approximations(&mish, &[Activation::Relu], 6, &layers());
        let errors: Vec<f64> = found.iter().map(|row| row.rms_error).collect();
        assert!(
            errors.windows(2).all(|pair| pair[1] < pair[0]),
            "{errors:?}"
        );
        assert!(errors[5] < 0.02, "{errors:?}");
        assert_eq!(found[0].worst_layer, "narrow");
        for pair in found[5].lines.windows(2) {
            let knot = pair[1].from.expect("a knot");
            let at = |line: &Line| line.slope * knot + line.intercept;
            assert!((at(&pair[0]) - at(&pair[1])).abs() < 1e-9);
        }
    }
}
