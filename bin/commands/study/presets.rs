//! Studies that ship with the program.

use std::path::Path;

use anyhow::Context as _;
use candle_mish::study::{Study, StudyError};
use serde::Serialize;

use crate::context::Context;
use crate::embedded::{self, Embedded, embedded};
use crate::failure::{Done, usage};
use crate::output;
use crate::table::table;

static PRESETS: [Embedded; 19] = embedded![
    "presets":
    "activations",
    "depth",
    "width",
    "batch-size",
    "optimizer",
    "learning-rate",
    "initialisation",
    "dropout",
    "regularisation",
    "input-noise",
    "augmentation",
    "cosine",
    "one-cycle",
    "mixup",
    "six-layer-cnn",
    "significance",
    "architectures",
    "efficiency",
    "sweep",
];

/// The study called `name`, or in the file `name`.
///
/// # Errors
/// If there is none, or it is not valid.
pub(super) fn find(name: &str, budget: Option<&str>) -> anyhow::Result<Study> {
    let parse = |text: &str| Study::from_toml(text, budget);
    if let Some(preset) = preset(name) {
        return parse(preset.text).map_err(usage);
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(unknown(name));
    }
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {name}"))?;
    parse(&text).map_err(|error: StudyError| usage(format!("{name}: {error}")))
}

/// The text of the study called `name`.
///
/// # Errors
/// If there is none.
pub(super) fn text(name: &str) -> anyhow::Result<&'static str> {
    preset(name)
        .map(|preset| preset.text)
        .ok_or_else(|| unknown(name))
}

fn preset(name: &str) -> Option<&'static Embedded> {
    embedded::find(&PRESETS, name)
}

fn unknown(name: &str) -> anyhow::Error {
    let advice = embedded::advice(&PRESETS, name, "mish study list");
    usage(format!("'{name}' is neither a study nor a file; {advice}"))
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    title: String,
    runs: usize,
}

/// Prints the names, titles and numbers of runs of all studies.
///
/// # Errors
/// If stdout is closed.
pub(super) fn list(context: &Context) -> anyhow::Result<Done> {
    let row = |preset: &Embedded| {
        let study = Study::from_toml(preset.text, None)?;
        Ok(Row {
            name: preset.name,
            runs: study.runs().len(),
            title: study.title,
        })
    };
    let rows = PRESETS
        .iter()
        .map(row)
        .collect::<Result<Vec<Row>, StudyError>>()?;
    if context.json {
        output::json(&rows)?;
        return Ok(Done::Complete);
    }
    let mut table = table(&["study", "runs", "title"]);
    for row in rows {
        table.add_row([row.name.to_owned(), row.runs.to_string(), row.title]);
    }
    output::text(&table.trim_fmt())?;
    Ok(Done::Complete)
}
