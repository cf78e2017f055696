//! Plots of activations and of networks with them, as SVG, PNG and CSV.

mod colours;
mod curves;
mod dead_units;
mod figure;
mod heat_map;
mod histogram;
mod lines;
mod loss_gradient;
mod output;
mod signals;
mod surface;

pub use curves::{ActivationCurves, Order};
pub use dead_units::{DeadUnits, UnitResponses, unit_responses};
pub use heat_map::{HeatMap, heat_maps};
pub use histogram::{LayerHistogram, LayerValues, histogram_plots, pre_activations};
pub use lines::{Line, LinePlot, line_plots};
pub use loss_gradient::loss_gradient;
pub use output::OutputLandscape;
pub use signals::{network_signals, random_batch};
pub use surface::surfaces;
