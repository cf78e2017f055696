//! The machine that trained, and the files.

use maud::{Markup, html};

use crate::page::{definitions, head, wide};
use crate::report::provenance::HashedFile;
use crate::report::run_report::RunReport;
use crate::report::stored_run::StoredRun;
use crate::report::time::utc;

/// The processes that trained.
pub(super) fn environment(run: &StoredRun) -> Markup {
    html! {
        @if run.sessions.is_empty() {
            p { "The version that trained this run did not record its environment." }
        }
        @for (i, session) in run.sessions.iter().enumerate() {
            @if run.sessions.len() > 1 {
                h3 { "Process " (i + 1) ", from step " (session.step + 1) }
            }
            (definitions([
                ("Command", session.command.clone()),
                ("Started", utc(session.started)),
                ("Version", format!("candle-mish {}", session.version)),
                ("System", session.system.clone()),
                ("Processor", format!("{}, {} logical cores", session.processor, session.cores)),
                ("Device", session.device.clone()),
                ("Threads", session.threads.to_string()),
            ]))
        }
    }
}

/// The files of the data set and the weights.
pub(super) fn files(report: &RunReport<'_>) -> Markup {
    let source = &report.dataset.source;
    let mut pairs = vec![
        ("Run", report.run.folder.display().to_string()),
        ("Data set", report.dataset.name.clone()),
        ("Source", source.location.clone()),
    ];
    pairs.extend(
        source
            .fallback
            .iter()
            .map(|text| ("Fallback", text.clone())),
    );
    pairs.extend(source.notes.iter().map(|text| ("Note", text.clone())));
    let skipped = source.skipped.len();
    if skipped > 0 {
        pairs.push(("Images left out", skipped.to_string()));
    }
    html! {
        (definitions(pairs))
        @if !report.data_files.is_empty() {
            (wide("Files of the data set", &table("Files of the data set", report.data_files)))
        }
        (wide("Weights", &table("Weights", report.weight_files)))
    }
}

fn table(caption: &str, files: &[HashedFile]) -> Markup {
    html! {
        table {
            caption { (caption) }
            (head(&["file", "bytes", "SHA-256"]))
            tbody {
                @for file in files {
                    tr {
                        th scope="row" { (file.name) }
                        td { (file.bytes) }
                        td { code { (file.sha256) } }
                    }
                }
            }
        }
    }
}
