//! The runs of a study.

use toml::Value;

use super::definition::{Axis, Settings, Study, plain};

/// A run of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRun {
    /// The position of its [cell](Study::cells).
    pub cell: usize,
    /// The position of its repetition: runs of different cells with the same one are paired.
    pub repetition: usize,
    /// The options of the run: the base and its values of the axes.
    pub settings: Settings,
    /// The name of its folder.
    pub name: String,
}

impl Study {
    /// The combinations of the compared axes' values; the last axis varies fastest.
    pub fn cells(&self) -> Vec<Settings> {
        product(self.compared_axes())
    }

    /// The combinations of the repeated axes' values.
    pub fn repetitions(&self) -> Vec<Settings> {
        product(self.repeated_axes())
    }

    /// All runs in the order to train them: every cell of a repetition before the next repetition,
    /// so that an unfinished study is balanced.
    pub fn runs(&self) -> Vec<PlannedRun> {
        let (cells, repetitions) = (self.cells(), self.repetitions());
        let run = |repetition: usize, cell: usize| {
            let axes = cells[cell].iter().chain(&repetitions[repetition]);
            let axes: Settings = axes.cloned().collect();
            PlannedRun {
                cell,
                repetition,
                name: folder_name(&axes),
                settings: self.base.iter().cloned().chain(axes).collect(),
            }
        };
        let pairs = (0..repetitions.len()).flat_map(|r| (0..cells.len()).map(move |c| (r, c)));
        pairs.map(|(r, c)| run(r, c)).collect()
    }
}

fn product<'a>(axes: impl Iterator<Item = &'a Axis>) -> Vec<Settings> {
    let empty = vec![Settings::new()];
    axes.fold(empty, |combinations, axis| {
        let with = |settings: &Settings, value: &Value| {
            let mut settings = settings.clone();
            settings.push((axis.name.clone(), value.clone()));
            settings
        };
        let extended = combinations.iter();
        let extended = extended.flat_map(|c| axis.values.iter().map(move |v| with(c, v)));
        extended.collect()
    })
}

/// A folder name for values of axes, such as `activation=mish,seed=0`. Characters that a file system
/// or a shell may not take become their code in hexadecimal, so that names stay different.
fn folder_name(axes: &Settings) -> String {
    let text = |(name, value): &(String, Value)| format!("{name}={}", plain(value));
    let joined = axes.iter().map(text).collect::<Vec<_>>().join(",");
    let safe = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "=,._-+".contains(c) => c.to_string(),
        c => format!("%{:x}", u32::from(c)),
    };
    joined.chars().map(safe).collect()
}
