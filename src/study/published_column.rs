//! From published figures to a column of the report.

use serde::Serialize;
use toml::Value;

use super::definition::{Settings, Study, plain};
use super::metric::Metric;
use super::published::Published;

/// A publication with figures of at least one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishedColumn {
    /// The heading of the column.
    pub name: String,
    /// The publication and the place in it.
    pub source: String,
    /// Whether the figures are read off a plot.
    pub approximate: bool,
    /// What else the reader has to know.
    pub note: String,
    /// The options in which the publication's runs differ from the study's.
    pub differences: Vec<SettingDifference>,
}

/// An option with another value in a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingDifference {
    /// The option.
    pub option: String,
    /// Its value in the publication.
    pub published: String,
    /// Its value, or values, in the study; `None` if the study leaves it to the program.
    pub here: Option<String>,
}

/// The published figure of a cell. Accuracies are fractions in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PublishedValue {
    /// The figure, a mean if there are several runs.
    pub value: f64,
    /// The standard deviation over runs.
    pub std: Option<f64>,
    /// The number of runs.
    pub n: Option<usize>,
}

/// The publications whose figures the report shows.
pub(super) fn shown<'a>(study: &'a Study, cells: &[Settings]) -> Vec<&'a Published> {
    let has_figures = |published: &&Published| {
        let mut values = cells
            .iter()
            .map(|cell| value(published, study.metric, cell));
        values.any(|value| value.is_some())
    };
    study.published.iter().filter(has_figures).collect()
}

/// The figure of a cell, if the publication has it and it measures the same.
pub(super) fn value(
    published: &Published,
    metric: Metric,
    cell: &Settings,
) -> Option<PublishedValue> {
    if !published.metric.measures_the_same(metric) {
        return None;
    }
    let has = |(name, value): (&String, &Value)| cell.iter().any(|(n, v)| n == name && v == value);
    let mut figures = published.figures.iter();
    let figure = figures.find(|figure| figure.axes.iter().all(has))?;
    Some(PublishedValue {
        value: metric.unscaled(figure.value),
        std: figure.std.map(|std| metric.unscaled(std)),
        n: figure.n,
    })
}

/// The column of a publication.
pub(super) fn column(published: &Published, study: &Study) -> PublishedColumn {
    let difference = |(option, value): (&String, &Value)| {
        let axis = study.axes.iter().find(|axis| axis.name == *option);
        let base = study.base.iter().find(|(name, _)| name == option);
        let here = match (axis, base) {
            (Some(axis), _) => Some(axis.values.as_slice()),
            (None, Some((_, value))) => Some(std::slice::from_ref(value)),
            (None, None) => None,
        };
        let same = here.is_some_and(|values| values.contains(value));
        (!same).then(|| SettingDifference {
            option: option.clone(),
            published: plain(value),
            here: here.map(|values| values.iter().map(plain).collect::<Vec<_>>().join(", ")),
        })
    };
    PublishedColumn {
        name: published.name.clone(),
        source: published.source.clone(),
        approximate: published.approximate,
        note: published.note.clone(),
        differences: published.setting.iter().filter_map(difference).collect(),
    }
}

impl PublishedColumn {
    /// A figure as text.
    pub fn text(&self, metric: Metric, figure: &PublishedValue) -> String {
        let about = if self.approximate { "≈ " } else { "" };
        let mut text = format!("{about}{}", metric.text(figure.value));
        if let Some(std) = figure.std {
            text += &format!(" ± {}", metric.text(std));
        }
        if let Some(n) = figure.n {
            text += &format!(", n = {n}");
        }
        text
    }

    /// Where the figures are from and how their setting differs from the study's, in sentences.
    pub fn description(&self) -> String {
        let mut text = format!("{}: {}.", self.name, self.source.trim_end_matches('.'));
        if self.approximate {
            text += " The figures are read off a plot.";
        }
        if !self.differences.is_empty() {
            let difference = |difference: &SettingDifference| {
                let here = difference.here.as_deref().unwrap_or("the default");
                let SettingDifference {
                    option, published, ..
                } = difference;
                format!("{option} {published} (here {here})")
            };
            let differences = self.differences.iter().map(difference);
            let differences = differences.collect::<Vec<_>>().join(", ");
            text += &format!(" Another setting: {differences}.");
        }
        if !self.note.is_empty() {
            text += &format!(" {}", self.note);
        }
        text
    }
}
