//! Line plots as SVG files.

use crate::page::{Curve, LineChart, standalone};

/// A line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Points (x, y) in the order of x. A value that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
}

/// A plot of some lines. Lines at the same place in several plots have the same colour.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePlot {
    /// What the y axis shows.
    pub title: String,
    /// What the x axis shows.
    pub x: &'static str,
    /// The lines.
    pub lines: Vec<Line>,
}

/// Plots next to each other as one SVG file, for light and dark pages.
pub fn line_plots(title: &str, plots: &[LinePlot]) -> String {
    let charts: Vec<LineChart> = plots.iter().map(LinePlot::chart).collect();
    standalone(title, &charts)
}

impl LinePlot {
    fn chart(&self) -> LineChart {
        let curve = |(style, line): (usize, &Line)| Curve {
            name: line.name.clone(),
            style,
            points: line.points.clone(),
        };
        LineChart {
            title: self.title.clone(),
            x: self.x,
            curves: self.lines.iter().enumerate().map(curve).collect(),
        }
    }
}
