//! Variances, gradients and correlations of a wide random network.

use serde::Serialize;

use super::hermite::Correlation;
use super::quadrature::normal_expectation;
use crate::activation::Activation;

/// Variances above this have diverged.
const DIVERGED: f64 = 1e12;
/// Variances below this have vanished.
const VANISHED: f64 = 1e-12;
/// Layers after which the search for a fixed point ends.
const LAYERS: usize = 1000;
/// Relative change of the variance in one layer at a fixed point, well above the error of the integrals.
const SETTLED: f64 = 1e-11;
/// How far from 1 the factor of gradients may be at the edge of chaos.
const AT_THE_EDGE: f64 = 1e-6;

/// A wide dense network with random weights: an activation, the standard deviation sigma_w of the
/// weights times sqrt(fan-in), and the standard deviation sigma_b of the biases.
///
/// Learned parameters of the activation have their initial value, random slopes their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanField {
    /// The activation f.
    pub activation: Activation,
    /// The standard deviation of the weights times sqrt(fan-in).
    pub sigma_w: f64,
    /// The standard deviation of the biases.
    pub sigma_b: f64,
}

/// Where a network is with respect to the edge of chaos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Gradients vanish, and all inputs become equal.
    Ordered,
    /// Gradients keep their norm.
    Edge,
    /// Gradients explode, and similar inputs become different.
    Chaotic,
}

/// The variance that deep layers approach, and what holds there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FixedPoint {
    /// The variance q* of the pre-activations. 0 if it vanishes.
    pub q: f64,
    /// The factor of squared gradient norms per layer, chi_1.
    pub chi: f64,
    /// By which side of 1 chi_1 is on.
    pub phase: Phase,
    /// The correlation c* that two inputs approach: 1 in the ordered phase.
    pub correlation: f64,
    /// The layers xi_c in which the distance of the correlation from c* falls by the factor e; None
    /// at the edge, where it is infinite.
    pub correlation_length: Option<f64>,
}

impl MeanField {
    /// E[f(sqrt(q) z)^2]
    pub(super) fn mean_square(activation: &Activation, q: f64) -> f64 {
        let scale = q.sqrt();
        normal_expectation(|z| activation.value(scale * z).powi(2))
    }

    /// E[f'(sqrt(q) z)^2]
    pub(super) fn mean_square_slope(activation: &Activation, q: f64) -> f64 {
        let scale = q.sqrt();
        normal_expectation(|z| activation.derivative(scale * z).powi(2))
    }

    /// The variance of the next layer's pre-activations if this layer's is `q`:
    /// sigma_w^2 E[f(sqrt(q) z)^2] + sigma_b^2.
    pub fn variance_map(&self, q: f64) -> f64 {
        self.sigma_w.powi(2) * Self::mean_square(&self.activation, q) + self.sigma_b.powi(2)
    }

    /// The derivative of [`MeanField::variance_map`], sigma_w^2 E[f f'(sqrt(q) z) z] / sqrt(q). A fixed
    /// point attracts if it is less than 1.
    pub fn variance_slope(&self, q: f64) -> f64 {
        let scale = q.sqrt();
        let activation = &self.activation;
        let mean = normal_expectation(|z| {
            activation.value(scale * z) * activation.derivative(scale * z) * z
        });
        self.sigma_w.powi(2) * mean / scale
    }

    /// The expected squared norm of the gradient with respect to a layer's pre-activations, as a
    /// multiple of its value at the next layer of the same width: sigma_w^2 E[f'(sqrt(q) z)^2].
    pub fn chi(&self, q: f64) -> f64 {
        self.sigma_w.powi(2) * Self::mean_square_slope(&self.activation, q)
    }

    /// The variance that deep layers approach if the first layer's is 1. None if it diverges, or does
    /// not settle in 1000 layers.
    pub fn fixed_point(&self) -> Option<FixedPoint> {
        let mut q = 1.0;
        for _ in 0..LAYERS {
            let next = self.variance_map(q);
            if !next.is_finite() || next > DIVERGED {
                return None;
            }
            if next < VANISHED {
                return Some(self.at(0.0));
            }
            let settled = (next - q).abs() <= SETTLED * next;
            q = next;
            if settled {
                return Some(self.at(q));
            }
        }
        None
    }

    /// What holds at the fixed point `q`.
    fn at(&self, q: f64) -> FixedPoint {
        // At 0 the derivative may have a jump: its limit is the mean of both sides.
        let chi = self.chi(q.max(VANISHED));
        let phase = match chi {
            chi if (chi - 1.0).abs() <= AT_THE_EDGE => Phase::Edge,
            chi if chi < 1.0 => Phase::Ordered,
            _ => Phase::Chaotic,
        };
        let (correlation, slope) = match phase {
            Phase::Chaotic if q > 0.0 => self.correlation(q),
            _ => (1.0, chi),
        };
        let length = -slope.ln().recip();
        FixedPoint {
            q,
            chi,
            phase,
            correlation,
            correlation_length: (phase != Phase::Edge).then_some(length),
        }
    }

    /// The fixed point of the correlation below 1 and the slope of the map there. The map is convex,
    /// has the fixed point 1, and the slope chi_1 > 1 there: it has exactly one other in [0, 1).
    fn correlation(&self, q: f64) -> (f64, f64) {
        let mean_square = Self::mean_square(&self.activation, q);
        let series = Correlation::new(|x| self.activation.value(x), q, mean_square);
        let (w, b) = (self.sigma_w.powi(2), self.sigma_b.powi(2));
        let map = |c: f64| (w * series.at(c) + b) / q;
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if map(middle) > middle {
                low = middle;
            } else {
                high = middle;
            }
        }
        // An odd function without biases keeps the correlation 0.
        let c = if map(0.0) <= 1e-15 { 0.0 } else { low };
        (c, w * series.slope(c) / q)
    }
}
