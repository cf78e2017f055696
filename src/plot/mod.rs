//! Plots of activations and of networks with them, as SVG, PNG and CSV.

mod colours;
mod curves;
mod heat_map;
mod histogram;
mod lines;
mod output;
mod signals;

pub use curves::{ActivationCurves, Order};
pub use heat_map::{HeatMap, heat_maps};
pub use histogram::{LayerHistogram, LayerValues, histogram_plots, pre_activations};
pub use lines::{Line, LinePlot, line_plots};
pub use output::OutputLandscape;
pub use signals::{network_signals, random_batch};
