//! Activations and their derivatives as curves.

use serde::Serialize;

use super::lines::{Line, LinePlot, line_plots};
use crate::activation::Activation;

/// What to plot of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// f(x)
    Value,
    /// f'(x)
    First,
    /// f''(x)
    Second,
}

impl Order {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Value, Self::First, Self::Second];

    /// The order of the derivative.
    pub fn number(self) -> usize {
        self as usize
    }

    /// The name in headings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::First => "first derivative",
            Self::Second => "second derivative",
        }
    }

    /// The value at `x`. It is not a number where f' jumps.
    pub fn of(self, activation: &Activation, x: f64) -> f64 {
        match self {
            Self::Value => activation.value(x),
            Self::First => activation.derivative(x),
            Self::Second => activation.second_derivative(x),
        }
    }
}

/// Activations over a range of x.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationCurves {
    activations: Vec<Activation>,
    orders: Vec<Order>,
    xs: Vec<f64>,
}

impl ActivationCurves {
    /// `points` values of x from `low` to `high`, at least 2.
    pub fn new(
        activations: &[Activation],
        orders: &[Order],
        (low, high): (f64, f64),
        points: usize,
    ) -> Self {
        let last = points.max(2) - 1;
        let x = |i: usize| low + (high - low) * i as f64 / last as f64;
        Self {
            activations: activations.to_vec(),
            orders: orders.to_vec(),
            xs: (0..=last).map(x).collect(),
        }
    }

    /// One plot for each derivative as an SVG file.
    pub fn svg(&self) -> String {
        let names: Vec<String> = self.activations.iter().map(ToString::to_string).collect();
        let title = match names.as_slice() {
            names if names.len() <= 6 => names.join(", "),
            names => format!("{} activations", names.len()),
        };
        let line = |activation: &Activation, order: Order| Line {
            name: activation.to_string(),
            points: self
                .xs
                .iter()
                .map(|x| (*x, order.of(activation, *x)))
                .collect(),
        };
        let plot = |order: &Order| LinePlot {
            title: order.name().to_string(),
            x: "x",
            lines: self.activations.iter().map(|a| line(a, *order)).collect(),
        };
        let plots: Vec<LinePlot> = self.orders.iter().map(plot).collect();
        line_plots(&title, &plots)
    }

    /// The columns `activation,x` and one for each derivative: `value`, `first_derivative`,
    /// `second_derivative`. A derivative that does not exist is empty.
    pub fn csv(&self) -> String {
        let columns = self
            .orders
            .iter()
            .map(|order| order.name().replace(' ', "_"));
        let header: Vec<String> = columns.collect();
        let mut text = format!("activation,x,{}\n", header.join(","));
        for activation in &self.activations {
            // The parameters of an activation are separated by commas.
            let name = activation.to_string();
            let name = match name.contains(',') {
                true => format!("\"{name}\""),
                false => name,
            };
            for x in &self.xs {
                let values = self.orders.iter().map(|order| order.of(activation, *x));
                let values = values.map(|value| match value.is_nan() {
                    true => String::new(),
                    false => value.to_string(),
                });
                let values: Vec<String> = values.collect();
                text.push_str(&format!("{name},{x},{}\n", values.join(",")));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_values_of_the_table_of_activations() {
        let activations = ["mish", "hardtanh:-2,2"].map(|name| name.parse().expect("a name"));
        let curves = ActivationCurves::new(&activations, &Order::ALL, (-4.0, 4.0), 5);
        let csv = curves.csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(
            lines[0],
            "activation,x,value,first_derivative,second_derivative"
        );
        let mish: Vec<&str> = lines[4].split(',').collect();
        assert_eq!(mish[..2], ["mish", "2"]);
        assert_eq!(mish[2], Activation::Mish.value(2.0).to_string());
        assert_eq!(mish[3], Activation::Mish.derivative(2.0).to_string());
        // The derivative jumps at the bounds.
        assert_eq!(lines[7], "\"hardtanh:-2,2\",-2,-2,0,");
    }

    #[test]
    fn each_derivative_has_a_chart() {
        let activations = [Activation::Mish, Activation::Relu];
        for orders in [&Order::ALL[..1], &Order::ALL] {
            let svg = ActivationCurves::new(&activations, orders, (-1.5, 1.5), 101).svg();
            assert_eq!(svg.matches("translate(").count(), orders.len());
            assert!(svg.contains("mish, relu") && !svg.contains("NaN"), "{svg}");
            // The range has ticks between whole numbers.
            assert!(svg.contains(">-0.5<"), "{svg}");
        }
        // The second derivative of ReLU has a gap at 0: it is drawn as two lines.
        let svg =
            ActivationCurves::new(&[Activation::Relu], &[Order::Second], (-1.0, 1.0), 101).svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
    }
}
