//! Figures from a publication, shown next to the results.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::metric::Metric;

/// The figures of a publication and the setting that they are from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The heading of its column.
    #[serde(default = "heading")]
    pub name: String,
    /// The publication and the table, plot or file in it.
    pub source: String,
    /// What the figures measure.
    #[serde(default)]
    pub metric: Metric,
    /// Whether the figures are read off a plot.
    #[serde(default)]
    pub approximate: bool,
    /// What else the reader has to know, in sentences.
    #[serde(default)]
    pub note: String,
    /// The options of the publication's runs. The report lists those in which the study differs.
    #[serde(default)]
    pub setting: Table,
    /// The figures.
    pub figures: Vec<PublishedFigure>,
}

/// A published figure of a combination of settings. Figures have the unit of the metric's title, such
/// as percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedFigure {
    /// The figure, a mean if there are several runs.
    pub value: f64,
    /// The standard deviation over runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// The number of runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// The values of axes that it belongs to: all of a cell, or some of them.
    #[serde(flatten)]
    pub axes: Table,
}

fn heading() -> String {
    "published".to_owned()
}
