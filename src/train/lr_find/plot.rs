//! The curve of a range test as SVG.

use super::curve::RangeTest;
use crate::page::{Curve, LineChart, standalone};
use crate::train::rate::rate_text;

impl RangeTest {
    /// The losses over the exponent of the learning rate, with the suggested rates, as an SVG file.
    pub fn svg(&self, title: &str) -> String {
        let losses = || self.points.iter().map(|point| point.smoothed);
        let (low, high) = (
            losses().fold(f64::INFINITY, f64::min),
            losses().fold(f64::NEG_INFINITY, f64::max),
        );
        let of_points = |value: fn(&super::Point) -> f64| {
            // Single losses can be far above all means.
            let inside = |loss: f64| if loss > 1.5 * high { f64::NAN } else { loss };
            let points = self.points.iter();
            points
                .map(|point| (point.lr.log10(), inside(value(point))))
                .collect()
        };
        let mut curves = vec![
            Curve {
                name: "loss, running mean".to_string(),
                style: 0,
                points: of_points(|point| point.smoothed),
            },
            Curve {
                name: "loss".to_string(),
                style: 2,
                points: of_points(|point| point.loss),
            },
        ];
        if let Some(suggestion) = self.suggestion() {
            for (what, lr, style) in [
                ("steepest", suggestion.steepest, 1),
                ("minimum / 10", suggestion.minimum_tenth, 3),
            ] {
                let x = lr.log10();
                curves.push(Curve {
                    name: format!("{what}: {}", rate_text(lr)),
                    style,
                    points: vec![(x, low), (x, high)],
                });
            }
        }
        let chart = LineChart {
            title: "training loss".to_string(),
            x: "learning rate, power of ten",
            curves,
        };
        standalone(title, &[chart])
    }
}
