//! `mish study report`.

use std::path::PathBuf;

use anyhow::Context as _;
use candle_mish::checkpoint::write_atomically;
use candle_mish::study::{Metric, Outcome, ReportedRun, Study, StudyKind, StudyReport};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::folder::StudyFolder;
use super::{csv, text};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;

/// Arguments of `mish study report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folder of the study
    dir: PathBuf,
    /// Figure to compare instead of the study's
    #[arg(long, value_name = "NAME", value_parser = metric_values())]
    metric: Option<Metric>,
    /// Write the runs and their figures as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the report as a web page in a single file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn metric_values() -> impl TypedValueParser<Value = Metric> {
    PossibleValuesParser::new(Metric::ALL.map(Metric::name))
        .try_map(|name| Metric::from_name(&name).ok_or("unknown metric"))
}

/// Reports the results so far.
///
/// # Errors
/// If the folder holds no study, or a file cannot be read or written.
pub(super) fn run(args: &ReportArgs, context: &Context) -> anyhow::Result<Done> {
    let (folder, mut study) = StudyFolder::open(&args.dir)?;
    if let Some(metric) = args.metric {
        if (study.kind == StudyKind::Timing) != (metric == Metric::Milliseconds) {
            let name = metric.name();
            return Err(usage(format!(
                "--metric {name}: the runs of this study have no such figure"
            )));
        }
        study.metric = metric;
    }
    if let Some(path) = &args.csv {
        let runs = study.runs();
        write(path, &csv::runs(&study, &runs, &folder.outcomes(&runs)?)?)?;
    }
    if let Some(path) = &args.html {
        write(path, &page(&study, &folder, &args.dir)?)?;
    }
    print(&study, &folder, context)?;
    Ok(Done::Complete)
}

/// Prints the results so far as text or JSON.
///
/// # Errors
/// If a file of a run cannot be read, or stdout is closed.
pub(super) fn print(study: &Study, folder: &StudyFolder, context: &Context) -> anyhow::Result<()> {
    let analysis = study.analyse(&folder.outcomes(&study.runs())?)?;
    if context.json {
        return output::json(&analysis);
    }
    output::text(&text::report(study, &analysis))
}

fn page(study: &Study, folder: &StudyFolder, dir: &std::path::Path) -> anyhow::Result<String> {
    let runs = study.runs();
    let outcomes = folder.outcomes(&runs)?;
    let mut reported = Vec::with_capacity(runs.len());
    for (run, outcome) in runs.iter().zip(&outcomes) {
        reported.push(ReportedRun {
            name: run.name.clone(),
            link: StudyFolder::link(run),
            state: state(outcome),
            cell: run.cell,
            records: folder.records(run)?,
        });
    }
    let report = StudyReport {
        study,
        analysis: &study.analyse(&outcomes)?,
        runs: &reported,
        command: &format!("mish study run {0}/study.toml --output {0}", dir.display()),
    };
    Ok(report.page())
}

/// The state of a run in words.
pub(super) fn state(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Missing => "not started".to_owned(),
        Outcome::Started => "not finished".to_owned(),
        Outcome::Finished(_) | Outcome::Timed(_) => "finished".to_owned(),
        Outcome::Failed(failure) => format!("failed: {}", failure.reason),
    }
}

fn write(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    write_atomically(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
