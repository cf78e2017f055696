//! The confusion matrix, and the classes that are confused most.

use maud::{Markup, html};

use crate::page::{head, wide};
use crate::report::confusion::{Confusion, Grouping, confused_pairs, hardest};
use crate::report::run_report::RunReport;

/// Rows of the tables of classes.
const ROWS: usize = 12;

/// The confusion matrix with the share of each row as its colour.
pub(super) fn matrix(report: &RunReport<'_>) -> Markup {
    let confusion = Confusion::new(report.dataset, report.predictions);
    let explanation = match confusion.grouping {
        Grouping::Coarse => "A row for each coarse class, ",
        Grouping::Classes => "A row for each class, ",
        Grouping::MostConfused => "A row for each of the classes with the most errors, ",
    };
    let others = confusion.counts.iter().any(|row| row.last() > Some(&0));
    let columns = confusion.names.len() + usize::from(others);
    let table = html! {
        table.matrix {
            thead {
                tr {
                    td {}
                    @for name in &confusion.names { th scope="col" { span { (name) } } }
                    @if others { th scope="col" { span { "another class" } } }
                }
            }
            tbody {
                @for (i, (name, row)) in confusion.names.iter().zip(&confusion.counts).enumerate() {
                    @let images = row.iter().sum::<usize>().max(1) as f64;
                    tr {
                        th scope="row" { (name) }
                        @for (j, count) in row.iter().take(columns).enumerate() {
                            @let share = *count as f64 / images;
                            @let colour = format!("background: rgb(var(--heat) / {:.2})", 0.65 * share);
                            td class=[(i == j).then_some("right")] style=[(*count > 0).then_some(colour)] {
                                @if share >= 0.005 { (format!("{:.0}", 100.0 * share)) }
                            }
                        }
                    }
                }
            }
        }
    };
    html! {
        p.note {
            (explanation) "a column for each prediction. Cells are percentages of the row, without "
            "those below half a percent."
        }
        (wide("Confusion matrix", &table))
    }
}

/// The classes with the lowest accuracy.
pub(super) fn hardest_classes(report: &RunReport<'_>) -> Markup {
    let columns = ["class", "images", "top-1, %", "most often predicted as"];
    let table = html! {
        table {
            caption { "The hardest classes" }
            (head(&columns))
            tbody {
                @for result in hardest(report.predictions).iter().take(ROWS) {
                    tr {
                        th scope="row" { (report.class(result.class)) }
                        td { (result.images) }
                        td { (format!("{:.1}", 100.0 * result.top1())) }
                        td {
                            @if let Some((class, images)) = result.confused_with {
                                (report.class(class)) " (" (images) ")"
                            }
                        }
                    }
                }
            }
        }
    };
    wide("The hardest classes", &table)
}

/// The most frequent errors.
pub(super) fn pairs(report: &RunReport<'_>) -> Markup {
    let columns = ["class", "predicted as", "images"];
    let pairs = confused_pairs(report.predictions);
    let table = html! {
        table {
            caption { "The most frequent errors" }
            (head(&columns))
            tbody {
                @for pair in pairs.iter().take(ROWS) {
                    tr {
                        th scope="row" { (report.class(pair.label)) }
                        td { (report.class(pair.class)) }
                        td { (pair.images) }
                    }
                }
            }
        }
    };
    html! {
        @if pairs.is_empty() { p { "No image is wrong." } } @else {
            (wide("The most frequent errors", &table))
        }
    }
}
