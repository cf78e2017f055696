//! The correlation map as a power series.

/// Terms of the series.
const TERMS: usize = 96;
const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// E[f(sqrt(q) z1) f(sqrt(q) z2)] for standard normal z1 and z2 with the correlation c, as a power
/// series in c (Mehler's formula): the coefficient of c^k is the square of E[f(sqrt(q) z) h_k(z)] with
/// the normalised Hermite polynomial h_k.
pub(super) struct Correlation {
    coefficients: Vec<f64>,
}

impl Correlation {
    /// The series of `f` at the variance `q`. `mean_square` is E[f(sqrt(q) z)^2], the sum of all
    /// coefficients: what the terms lack counts as the last one.
    pub(super) fn new(f: impl Fn(f64) -> f64, q: f64, mean_square: f64) -> Self {
        // The trapezoidal rule converges exponentially for smooth functions. With this step a kink
        // adds less than 1e-6.
        const STEPS: i32 = 4800;
        const BOUND: f64 = 12.0;
        let step = 2.0 * BOUND / f64::from(STEPS);
        let mut projections = vec![0.0; TERMS];
        for i in 0..=STEPS {
            let z = -BOUND + step * f64::from(i);
            let value = f(q.sqrt() * z) * INV_SQRT_2PI * (-0.5 * z * z).exp() * step;
            let (mut last, mut polynomial) = (0.0, 1.0);
            for (k, projection) in projections.iter_mut().enumerate() {
                *projection += value * polynomial;
                let k = k as f64;
                let next = (z * polynomial - k.sqrt() * last) / (k + 1.0).sqrt();
                (last, polynomial) = (polynomial, next);
            }
        }
        let mut coefficients: Vec<f64> = projections.iter().map(|p| p * p).collect();
        let rest = mean_square - coefficients.iter().sum::<f64>();
        coefficients.push(rest.max(0.0));
        Self { coefficients }
    }

    /// The expectation at the correlation `c`.
    pub(super) fn at(&self, c: f64) -> f64 {
        let terms = self.coefficients.iter().rev();
        terms.fold(0.0, |sum, coefficient| sum * c + coefficient)
    }

    /// The derivative in c, q E[f'(sqrt(q) z1) f'(sqrt(q) z2)].
    pub(super) fn slope(&self, c: f64) -> f64 {
        let terms = self.coefficients.iter().enumerate().skip(1).rev();
        terms.fold(0.0, |sum, (k, coefficient)| {
            sum * c + k as f64 * coefficient
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Correlation;
    use crate::activation::Activation;

    #[test]
    fn relu_gives_the_arc_cosine_kernel() {
        // Cho and Saul, "Kernel Methods for Deep Learning" (2009), equation 6.
        let relu = |x: f64| Activation::Relu.value(x);
        let series = Correlation::new(relu, 1.7, 0.85);
        for c in [0.0, 0.2, 0.5, 0.8] {
            let angle = f64::acos(c);
            let kernel = 1.7 / (2.0 * std::f64::consts::PI)
                * (angle.sin() + (std::f64::consts::PI - angle) * c);
            assert!(
                (series.at(c) - kernel).abs() < 2e-6,
                "{c}: {}",
                series.at(c)
            );
            let slope = 1.7 * (std::f64::consts::PI - angle) / (2.0 * std::f64::consts::PI);
            assert!(
                (series.slope(c) - slope).abs() < 2e-5,
                "{c}: {}",
                series.slope(c)
            );
        }
    }

    #[test]
    fn polynomials_have_a_finite_series() {
        // E[(z1^2)(z2^2)] = 1 + 2 c^2.
        let series = Correlation::new(|x| x * x, 1.0, 3.0);
        assert!((series.at(0.5) - 1.5).abs() < 1e-9);
        assert!((series.slope(0.5) - 2.0).abs() < 1e-9);
    }
}
