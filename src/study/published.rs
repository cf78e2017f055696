//! Figures from a publication, shown next to the results.

use serde::{Deserialize, Serialize};

use super::definition::Settings;

/// A published figure of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The settings that it belongs to: those of the cell, or some of them.
    pub axes: Settings,
    /// The value in the unit of the metric's title, such as percent.
    pub value: f64,
}

impl Published {
    /// The figure of the cell with these settings.
    pub fn of<'a>(published: &'a [Self], cell: &Settings) -> Option<&'a Self> {
        let fits = |figure: &&Self| figure.axes.iter().all(|pair| cell.contains(pair));
        published.iter().find(fits)
    }
}
