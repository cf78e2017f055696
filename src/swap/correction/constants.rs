//! The constants of a parametric activation, fitted to another activation.

use super::fit::least_squares;
use crate::activation::Activation;

/// `activation` with the constants that bring it closest to `wanted` at the inputs `samples`, by least
/// squares; learnable parameters get this initial value. `None` if it has no constants.
///
/// The constants have six decimals, so that they are readable in a checkpoint's header.
pub fn fit_constants(
    activation: &Activation,
    wanted: &Activation,
    samples: &[f64],
) -> Option<Activation> {
    let start: Vec<f64> = activation
        .parameters()
        .iter()
        .map(|(_, value)| *value)
        .collect();
    if start.is_empty() {
        return None;
    }
    let targets: Vec<f64> = samples.iter().map(|x| wanted.value(*x)).collect();
    let residuals = |parameters: &[f64], out: &mut Vec<f64>| {
        let candidate = activation.with_parameters(parameters);
        let pairs = samples.iter().zip(&targets);
        out.extend(pairs.map(|(x, target)| candidate.value(*x) - target));
        candidate.violation().is_none()
    };
    let found = least_squares(&start, &residuals);
    let rounded: Vec<f64> = found
        .iter()
        .map(|value| (value * 1e6).round() / 1e6)
        .collect();
    let fitted = activation.with_parameters(&rounded);
    Some(if fitted.violation().is_none() {
        fitted
    } else {
        *activation
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_found_where_the_inputs_are() {
        let samples: Vec<f64> = (-300..300).map(|i| f64::from(i) / 100.0).collect();
        let fit = |activation: &str, wanted: &str| {
            let activation: Activation = activation.parse().expect("an activation");
            let wanted: Activation = wanted.parse().expect("an activation");
            fit_constants(&activation, &wanted, &samples)
        };
        assert_eq!(
            fit("leaky_relu", "leaky_relu:0.2"),
            Some(Activation::LeakyRelu { slope: 0.2 })
        );
        assert_eq!(
            fit("elu", "elu:0.35"),
            Some(Activation::Elu { alpha: 0.35 })
        );
        assert_eq!(fit("prelu", "relu"), Some(Activation::PRelu { init: 0.0 }));
        assert_eq!(fit("relu", "mish"), None);
        // The slope of the straight line through the origin that is closest to Mish on the left.
        let (mut products, mut squares) = (0.0, 0.0);
        for x in samples.iter().filter(|x| **x < 0.0) {
            products += x * Activation::Mish.value(*x);
            squares += x * x;
        }
        match fit("leaky_relu", "mish") {
            Some(Activation::LeakyRelu { slope }) => {
                assert!((slope - products / squares).abs() < 1e-6, "{slope}");
            }
            other => panic!("{other:?}"),
        }
    }
}
