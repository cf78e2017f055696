//! `mish compare`: compares runs.

use std::path::PathBuf;

use candle_mish::report::{Comparison, Figure, StoredRun};
use serde_json::{Map, Value, json};

use crate::args::OUTPUT;
use crate::context::Context;
use crate::csv::quoted;
use crate::failure::Done;
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};

/// Characters of a value in the table.
const WIDEST: usize = 40;

/// Flags of `mish compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Order of the runs, the best first: top1, best, ema, top5, loss, train_top1, train_loss, speed,
    /// seconds, epochs, name, or given for the order of the command line
    #[arg(long, value_name = "FIGURE", default_value = "top1", value_parser = sort)]
    sort: Sort,
    /// Print the table as CSV
    #[arg(long, conflicts_with = "json", help_heading = OUTPUT)]
    csv: bool,
    /// Draw the curves of all runs into this SVG file
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    svg: Option<PathBuf>,
    /// Write table and curves as a web page
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    html: Option<PathBuf>,
}

/// The order of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Figure(Figure),
    Name,
    Given,
}

fn sort(text: &str) -> Result<Sort, String> {
    let name = text.replace('-', "_");
    match name.as_str() {
        "name" => return Ok(Sort::Name),
        "given" => return Ok(Sort::Given),
        _ => {}
    }
    let figure = Figure::ALL.into_iter().find(|figure| figure.name() == name);
    figure.map(Sort::Figure).ok_or_else(|| {
        let names = Figure::ALL.map(Figure::name).join(", ");
        format!("expected {names}, name or given")
    })
}

/// Prints a table of the runs, and draws their curves if asked.
///
/// # Errors
/// If a folder holds no run, or a file cannot be written.
pub fn run(args: &CompareArgs, context: &Context) -> anyhow::Result<Done> {
    let curves = OutputFile::given("--svg", &args.svg, Content::Svg)?;
    let page = OutputFile::given("--html", &args.html, Content::Html)?;
    let runs = args.runs.iter().map(|folder| StoredRun::read(folder));
    let mut comparison = Comparison::new(runs.collect::<Result<_, _>>()?);
    match args.sort {
        Sort::Figure(figure) => comparison.sort(figure),
        Sort::Name => comparison.sort_by_name(),
        Sort::Given => {}
    }
    // The files come first, because stdout may be a closed pipe.
    if let Some(curves) = curves {
        curves.write(comparison.svg().as_bytes())?;
    }
    if let Some(page) = page {
        page.write(comparison.page().as_bytes())?;
    }
    if context.json {
        output::json(&rows(&comparison))?;
    } else if args.csv {
        output::text(&csv(&comparison))?;
    } else {
        output::text(&text(&comparison))?;
    }
    Ok(Done::Complete)
}

/// The table for a terminal. Figures that no run has are left out.
fn text(comparison: &Comparison) -> String {
    let runs = comparison.runs();
    let figures = comparison.figures();
    let differing = comparison.differing();
    let settings = differing.iter().map(|it| Comparison::heading(it));
    let settings: Vec<String> = settings.collect();
    let headings = figures.iter().map(|figure| figure.heading());
    let columns: Vec<&str> = ["run"]
        .into_iter()
        .chain(settings.iter().map(String::as_str))
        .chain(headings)
        .collect();
    let mut table = table(&columns);
    for (name, run) in runs {
        let mut row = vec![name.clone()];
        let values = differing.iter().map(|setting| run.setting(setting));
        row.extend(values.map(|value| shortened(value.unwrap_or("-"))));
        row.extend(figures.iter().map(|figure| figure.text(run)));
        table.add_row(row);
    }
    align_right(&mut table, 1 + differing.len()..columns.len());
    table.trim_fmt()
}

/// A value that does not widen the table much.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(WIDEST) {
        None => value.to_string(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}

/// An object for each run.
fn rows(comparison: &Comparison) -> Vec<Value> {
    let runs = comparison.runs().iter().map(|(name, run)| {
        let setting = |setting: &String| (setting.clone(), json!(run.setting(setting)));
        let settings: Map<String, Value> = comparison.differing().iter().map(setting).collect();
        let figure = |figure: Figure| (figure.name().to_string(), json!(figure.of(run)));
        let figures: Map<String, Value> = Figure::ALL.into_iter().map(figure).collect();
        json!({
            "run": name,
            "folder": run.folder,
            "finished": run.is_finished(),
            "settings": settings,
            "figures": figures,
        })
    });
    runs.collect()
}

/// A header and a line for each run.
fn csv(comparison: &Comparison) -> String {
    let figures = Figure::ALL.map(Figure::name);
    let settings = comparison.differing().iter();
    let settings: Vec<String> = settings.map(|it| Comparison::heading(it)).collect();
    let columns = ["run", "finished"]
        .into_iter()
        .chain(settings.iter().map(String::as_str))
        .chain(figures);
    let mut lines = vec![columns.map(quoted).collect::<Vec<_>>().join(",")];
    for (name, run) in comparison.runs() {
        let mut row = vec![quoted(name).into_owned(), run.is_finished().to_string()];
        let values = comparison
            .differing()
            .iter()
            .map(|setting| run.setting(setting));
        row.extend(values.map(|value| quoted(value.unwrap_or_default()).into_owned()));
        let figure = |figure: Figure| {
            figure
                .of(run)
                .map_or(String::new(), |value| value.to_string())
        };
        row.extend(Figure::ALL.map(figure));
        lines.push(row.join(","));
    }
    lines.join("\n")
}
