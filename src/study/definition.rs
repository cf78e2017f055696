//! The definition of a study in TOML.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::error::StudyError;
use super::metric::Metric;
use super::published::Published;

/// Options that the result of a run does not depend on: where its files are, and when it saves and pauses.
/// A study continues with other values of them.
pub const WITHOUT_EFFECT: [&str; 6] = [
    "data_dir",
    "cache_dir",
    "offline",
    "recovery_interval",
    "checkpoint_hist",
    "time_limit",
];

/// Values of options by name, such as `activation = "mish"`.
pub type Settings = Vec<(String, Value)>;

/// A study: runs with every combination of the axes' values, and what to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// What the study is about, in a line.
    pub title: String,
    /// What the study does and where its setting is from, in a few sentences.
    pub description: String,
    /// What a run does.
    pub kind: StudyKind,
    /// The outcome of a run.
    pub metric: Metric,
    /// The values of axes that others are compared with.
    pub baseline: Settings,
    /// The axes whose values repeat an experiment. Runs that agree in them are paired.
    pub paired_by: Vec<String>,
    /// Options of all runs.
    pub base: Settings,
    /// Options that vary, in the order of the file.
    pub axes: Vec<Axis>,
    /// Figures of publications to show next to the results.
    pub published: Vec<Published>,
}

/// What the runs of a study do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudyKind {
    /// They train a network.
    #[default]
    Training,
    /// They time an activation.
    Timing,
}

/// An option and the values that it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The name of the option.
    pub name: String,
    /// Its values.
    pub values: Vec<Value>,
}

/// The axis that repeats experiments if the file names none.
const SEED: &str = "seed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    kind: StudyKind,
    metric: Option<Metric>,
    #[serde(default)]
    baseline: Table,
    paired_by: Option<Vec<String>>,
    #[serde(default)]
    base: Table,
    axes: Options,
    #[serde(default)]
    budgets: BTreeMap<String, Budget>,
    #[serde(default)]
    published: Vec<Published>,
}

/// The axes: values by name.
type Options = BTreeMap<Spanned<String>, Vec<Value>>;

/// Other values for a smaller or larger study.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    #[serde(default)]
    base: Table,
    #[serde(default)]
    axes: Options,
}

impl Study {
    /// Reads a study. `budget` chooses one of its tables `[budgets.NAME]`, whose values replace
    /// the values of the base and of the axes.
    ///
    /// # Errors
    /// A syntax error, an unknown key or budget, an axis without values or with a value twice, or a
    /// baseline that the axes do not have.
    pub fn from_toml(text: &str, budget: Option<&str>) -> Result<Self, StudyError> {
        let mut file: File = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        if let Some(name) = budget {
            let known: Vec<String> = file.budgets.keys().cloned().collect();
            let budget = file.budgets.remove(name).ok_or_else(|| {
                contradiction(match known.is_empty() {
                    true => format!("unknown budget '{name}'; the study has no budgets"),
                    false => format!("unknown budget '{name}'; one of {}", known.join(", ")),
                })
            })?;
            file.base.extend(budget.base);
            for (name, values) in budget.axes {
                match file.axes.get_mut(&name) {
                    Some(of_file) => *of_file = values,
                    None => {
                        let name = name.into_inner();
                        return Err(contradiction(format!(
                            "the budget's axis '{name}' is no axis of the study"
                        )));
                    }
                }
            }
        }
        let mut axes: Vec<_> = file.axes.into_iter().collect();
        axes.sort_by_key(|(name, _)| name.span().start);
        let axes = axes.into_iter().map(|(name, values)| Axis {
            name: name.into_inner(),
            values,
        });
        let axes: Vec<Axis> = axes.collect();
        let has_seed = axes.iter().any(|axis| axis.name == SEED);
        let default = has_seed.then(|| SEED.to_owned()).into_iter().collect();
        let study = Self {
            title: file.title,
            description: file.description,
            kind: file.kind,
            metric: file.metric.unwrap_or(match file.kind {
                StudyKind::Training => Metric::default(),
                StudyKind::Timing => Metric::Milliseconds,
            }),
            baseline: file.baseline.into_iter().collect(),
            paired_by: file.paired_by.unwrap_or(default),
            base: file.base.into_iter().collect(),
            axes,
            published: file.published,
        };
        study.check()?;
        Ok(study)
    }

    /// Replaces an option of all runs, or the values of an axis by a list of others.
    ///
    /// # Errors
    /// If `name` is an axis and `value` is not a list, or the study with the new values is not
    /// valid, for the reasons of [`Study::from_toml`]. The study is then unchanged.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), StudyError> {
        let mut changed = self.clone();
        match changed.axes.iter_mut().find(|axis| axis.name == name) {
            Some(axis) => match value {
                Value::Array(values) => axis.values = values,
                value => {
                    return Err(contradiction(format!(
                        "the study varies '{name}'; give a list, such as {name}=[{value}]"
                    )));
                }
            },
            None => {
                changed.base.retain(|(key, _)| key != name);
                changed.base.push((name.to_owned(), value));
                changed.base.sort_by(|a, b| a.0.cmp(&b.0));
            }
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// The study in TOML, with the values of its budget.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: Value| text += &format!("{name} = {value}\n");
        line("title", self.title.clone().into());
        line("description", self.description.clone().into());
        if self.kind == StudyKind::Timing {
            line("kind", "timing".into());
        }
        line("metric", self.metric.name().into());
        line(
            "baseline",
            Value::Table(self.baseline.iter().cloned().collect()),
        );
        line("paired_by", self.paired_by.clone().into());
        text += "\n[base]\n";
        let mut line = |name: &str, value: &Value| text += &format!("{name} = {value}\n");
        self.base.iter().for_each(|(name, value)| line(name, value));
        text += "\n[axes]\n";
        let mut line = |name: &str, value: Value| text += &format!("{name} = {value}\n");
        for axis in &self.axes {
            line(&axis.name, axis.values.clone().into());
        }
        for published in &self.published {
            text += "\n[[published]]\n";
            // Strings, numbers and tables of options can always be written.
            let table = Table::try_from(published).unwrap_or_default();
            for (name, value) in table {
                text += &format!("{name} = {value}\n");
            }
        }
        text
    }

    /// The axes whose values are compared, not repeated.
    pub fn compared_axes(&self) -> impl Iterator<Item = &Axis> {
        self.axes.iter().filter(|axis| !self.repeats(axis))
    }

    /// The axes whose values repeat an experiment.
    pub fn repeated_axes(&self) -> impl Iterator<Item = &Axis> {
        self.axes.iter().filter(|axis| self.repeats(axis))
    }

    fn repeats(&self, axis: &Axis) -> bool {
        self.paired_by.contains(&axis.name)
    }

    fn check(&self) -> Result<(), StudyError> {
        let timing = self.kind == StudyKind::Timing;
        if timing != (self.metric == Metric::Milliseconds) {
            return Err(contradiction(format!(
                "a study of kind {} has no {}",
                if timing { "timing" } else { "training" },
                self.metric.name()
            )));
        }
        let axis = |name: &str| self.axes.iter().find(|axis| axis.name == name);
        for Axis { name, values } in &self.axes {
            if values.is_empty() {
                return Err(contradiction(format!("axis '{name}' has no values")));
            }
            for (i, value) in values.iter().enumerate() {
                if values[..i].contains(value) {
                    return Err(contradiction(format!("axis '{name}' has {value} twice")));
                }
            }
            if self.base.iter().any(|(key, _)| key == name) {
                return Err(contradiction(format!(
                    "'{name}' is in the base and in the axes; keep one"
                )));
            }
        }
        for name in &self.paired_by {
            if axis(name).is_none() {
                return Err(contradiction(format!(
                    "paired_by names '{name}', which is no axis"
                )));
            }
        }
        for (name, value) in &self.baseline {
            match axis(name) {
                None => {
                    return Err(contradiction(format!(
                        "the baseline names '{name}', which is no axis"
                    )));
                }
                Some(axis) if self.repeats(axis) => {
                    return Err(contradiction(format!(
                        "the baseline names '{name}', by which runs are paired"
                    )));
                }
                Some(axis) if !axis.values.contains(value) => {
                    return Err(contradiction(format!(
                        "the baseline has {name} = {value}, which axis '{name}' lacks"
                    )));
                }
                Some(_) => {}
            }
        }
        for figure in self.published.iter().flat_map(|source| &source.figures) {
            for name in figure.axes.keys() {
                let reason = match axis(name) {
                    None => "which is no axis",
                    Some(axis) if self.repeats(axis) => "by which runs are paired",
                    Some(_) => continue,
                };
                return Err(contradiction(format!(
                    "a published figure names '{name}', {reason}"
                )));
            }
        }
        Ok(())
    }
}

/// The text of a value without quotes.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    }
}

fn contradiction(message: String) -> StudyError {
    StudyError::Contradiction(message)
}

fn syntax(text: &str, error: &toml::de::Error) -> StudyError {
    let line = error
        .span()
        .map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    StudyError::Syntax {
        line,
        message: error.message().replace('\n', " "),
    }
}
