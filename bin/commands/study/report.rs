//! `mish study report`.

use std::path::{Path, PathBuf};

use candle_mish::study::{Metric, Outcome, Place, ReportedRun, Study, StudyKind, StudyReport};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::folder::{STUDY, StudyFolder};
use super::{csv, text};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::shell::quoted;

/// Arguments of `mish study report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folder of the study
    dir: PathBuf,
    /// Figure to compare instead of the study's
    #[arg(long, value_name = "NAME", value_parser = metric_values())]
    metric: Option<Metric>,
    /// Write the runs and their metrics as CSV
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
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let web_page = OutputFile::given("--html", &args.html, Content::Html)?;
    let (folder, mut study) = StudyFolder::open(&args.dir)?;
    if let Some(metric) = args.metric {
        if (study.kind == StudyKind::Timing) != (metric == Metric::Milliseconds) {
            let name = metric.name();
            return Err(usage(format!(
                "--metric {name}: the runs of this study have no such metric"
            )));
        }
        study.metric = metric;
    }
    if let Some(table) = table {
        let runs = study.runs();
        let text = csv::runs(&study, &runs, &folder.outcomes(&runs)?);
        table.write(text.as_bytes())?;
    }
    if let Some(web_page) = web_page {
        let path = args.html.as_deref().unwrap_or(Path::new(""));
        web_page.write(page(&study, &folder, &args.dir, path)?.as_bytes())?;
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

/// The report as a web page for the file `page`.
fn page(study: &Study, folder: &StudyFolder, dir: &Path, page: &Path) -> anyhow::Result<String> {
    let runs = study.runs();
    let outcomes = folder.outcomes(&runs)?;
    let mut reported = Vec::with_capacity(runs.len());
    for (run, outcome) in runs.iter().zip(&outcomes) {
        reported.push(ReportedRun {
            name: run.name.clone(),
            link: folder.link(run, page)?,
            state: outcome.to_string(),
            cell: run.cell,
            records: folder.records(run)?,
        });
    }
    // All runs of a study that times activations have the same place.
    let place = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Timed(timed) => Some(&timed.place),
        _ => None,
    });
    let report = StudyReport {
        study,
        analysis: &study.analyse(&outcomes)?,
        runs: &reported,
        place,
        command: &command(dir, place),
    };
    Ok(report.page())
}

/// The command that repeats the study in `dir`.
fn command(dir: &Path, place: Option<&Place>) -> String {
    let shown = |path: &Path| quoted(&path.display().to_string());
    let mut command = format!(
        "mish study run {} --output {}",
        shown(&dir.join(STUDY)),
        shown(dir)
    );
    if let Some(place) = place {
        command += &format!(" --device {} --threads {}", place.device, place.threads);
    }
    command
}
