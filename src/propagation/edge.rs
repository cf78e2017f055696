//! The edge of chaos.

use serde::Serialize;

use super::mean_field::MeanField;
use crate::activation::Activation;

/// A point on the edge of chaos: there the variance q of the pre-activations stays the same from layer
/// to layer, and so does the norm of gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Edge {
    /// The critical standard deviation of the weights times sqrt(fan-in).
    pub sigma_w: f64,
    /// The variance q*; None if every variance is a fixed point, as for ReLU.
    pub q: Option<f64>,
    /// The slope of the variance map at q*. The variance returns to q* after a small change if the
    /// slope is below 1, and leaves it above 1. At 1 the next order decides.
    pub variance_slope: f64,
}

impl Edge {
    /// Whether the variance returns to q* after a small change.
    pub fn is_stable(&self) -> bool {
        self.variance_slope < 1.0 - 1e-6
    }
}

/// Smallest and largest variance that are searched, as powers of ten, and steps per power.
const POWERS: (i32, i32) = (-3, 4);
const STEPS: i32 = 8;
/// Variance that stands for the limit at 0.
const NEARLY_ZERO: f64 = 1e-12;
/// Relative error of the residual, below which it counts as 0.
const ZERO: f64 = 1e-9;

/// The points on the edge of chaos of `activation` with biases of standard deviation `sigma_b`, by
/// increasing variance q*. Variances up to 10,000 are searched.
///
/// A critical sigma_w is 1 / sqrt(E[f'(sqrt(q) z)^2]). In the map of variances it gives an equation
/// for q alone, q - E[f^2] / E[f'^2] = sigma_b^2, whose roots are bracketed and bisected (as in Hayou
/// et al., "On the Impact of the Activation Function on Deep Neural Networks Training", 2019,
/// arXiv:1902.06853).
///
/// Without biases, 0 is a fixed point of every activation with f(0) = 0. The critical sigma_w is then
/// 1 / |f'(0)|. It is found as well, unless f'(0) is 0.
pub fn edges_of_chaos(activation: &Activation, sigma_b: f64) -> Vec<Edge> {
    let bias = sigma_b.powi(2);
    let residual = |q: f64| {
        let square = MeanField::mean_square(activation, q);
        let slope = MeanField::mean_square_slope(activation, q);
        let value = q - square / slope - bias;
        // Rounding is no root.
        if value.abs() <= ZERO * q { 0.0 } else { value }
    };
    let edge = |q: f64| {
        let slope = MeanField::mean_square_slope(activation, q);
        let field = MeanField {
            activation: *activation,
            sigma_w: slope.sqrt().recip(),
            sigma_b,
        };
        (field.sigma_w, field.variance_slope(q))
    };
    let values: Vec<(f64, f64)> = grid(STEPS).map(|q| (q, residual(q))).collect();
    let mut edges = Vec::new();
    if values.iter().all(|(_, value)| *value == 0.0) {
        let (sigma_w, variance_slope) = edge(1.0);
        edges.push(Edge {
            sigma_w,
            q: None,
            variance_slope,
        });
        return edges;
    }
    // Where f'(0) is 0, the slope vanishes with the variance and has no limit to be the inverse of.
    let slope = |q: f64| MeanField::mean_square_slope(activation, q);
    let has_limit = (slope(NEARLY_ZERO) / slope(100.0 * NEARLY_ZERO) - 1.0).abs() < 1e-3;
    if bias == 0.0 && activation.value(0.0) == 0.0 && has_limit {
        let (sigma_w, variance_slope) = edge(NEARLY_ZERO);
        if sigma_w.is_finite() && variance_slope.is_finite() {
            edges.push(Edge {
                sigma_w,
                q: Some(0.0),
                variance_slope,
            });
        }
    }
    for pair in values.windows(2) {
        let [(low, left), (high, right)] = [pair[0], pair[1]];
        if left * right < 0.0 {
            let q = bisect(residual, low, high, left);
            let (sigma_w, variance_slope) = edge(q);
            edges.push(Edge {
                sigma_w,
                q: Some(q),
                variance_slope,
            });
        }
    }
    edges
}

/// The edge of chaos of `activation` as a curve in the plane of sigma_b and sigma_w, by increasing
/// variance q*, up to sigma_b = `limit`.
pub fn edge_curve(activation: &Activation, limit: f64) -> Vec<(f64, f64)> {
    let point = |q: f64| {
        let square = MeanField::mean_square(activation, q);
        let slope = MeanField::mean_square_slope(activation, q);
        let bias = q - square / slope;
        // Rounding of 0 may be negative.
        let bias = if bias.abs() <= ZERO * q { 0.0 } else { bias };
        (bias.sqrt(), slope.sqrt().recip())
    };
    let points = grid(4 * STEPS).map(point);
    let inside = |(b, w): &(f64, f64)| *b <= limit && w.is_finite();
    points.filter(inside).collect()
}

/// The variances to search, with `steps` per power of ten.
fn grid(steps: i32) -> impl Iterator<Item = f64> {
    let count = (POWERS.1 - POWERS.0) * steps;
    let power = move |i: i32| f64::from(POWERS.0) + f64::from(i) / f64::from(steps);
    (0..=count).map(move |i| 10f64.powf(power(i)))
}

/// The root of `f` between `low`, where it is `left`, and `high`.
fn bisect(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64, left: f64) -> f64 {
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let value = f(middle);
        if value == 0.0 {
            return middle;
        }
        if value * left > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
