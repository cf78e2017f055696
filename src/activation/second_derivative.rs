//! The second derivative of an activation.

use super::Activation;

impl Activation {
    /// f''(x) from central differences of the exact f' in double precision. The error is about 1e-10.
    /// The result is not a number at a jump of f'.
    pub fn second_derivative(&self, x: f64) -> f64 {
        // The truncation error falls with the square of the step, rounding grows with its inverse.
        let step = 1e-5 * x.abs().max(1.0);
        let difference = |step: f64| {
            let change = self.derivative(x + step) - self.derivative(x - step);
            change / (2.0 * step)
        };
        let (wide, narrow) = (difference(step), difference(0.5 * step));
        // A jump of f' between the points makes the quotient grow as the step falls.
        if (wide - narrow).abs() > 1e-3 * wide.abs().max(1.0) {
            return f64::NAN;
        }
        wide
    }
}
