//! The gain that keeps a signal's size through an activation.

use crate::activation::Activation;

/// 1 / sqrt(E[f(z)²]) for z standard normal: what weights are scaled by so that the output of
/// the activation has mean square one (He et al., "Delving Deep into Rectifiers", 2015, section
/// 2.2, for any f). sqrt(2) for ReLU; PyTorch tabulates a few rounded ones.
///
/// One where the activation is zero almost everywhere or its values are not finite.
pub fn gain(activation: &Activation) -> f64 {
    // Simpson's rule over ±12 standard deviations, beyond which the normal density is below
    // 1e-31; the step is fine enough for kinks to cost less than 1e-6.
    const STEPS: usize = 9600;
    const BOUND: f64 = 12.0;
    let h = 2.0 * BOUND / STEPS as f64;
    let term = |i: usize| {
        let z = -BOUND + i as f64 * h;
        let weight = match i {
            0 | STEPS => 1.0,
            _ if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * activation.value(z).powi(2) * (-0.5 * z * z).exp()
    };
    let integral: f64 = (0..=STEPS).map(term).sum::<f64>() * h / 3.0;
    let mean_square = integral / (2.0 * std::f64::consts::PI).sqrt();
    let gain = mean_square.sqrt().recip();
    if gain.is_finite() { gain } else { 1.0 }
}
