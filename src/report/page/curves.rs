//! The figures over the epochs.

use maud::{Markup, html};

use crate::page::{Curve, LineChart, head};
use crate::report::stored_run::StoredRun;
use crate::train::EpochRecord;

/// Accuracy, loss and learning rate.
pub(super) fn charts(run: &StoredRun) -> [LineChart; 3] {
    let on = evaluated_on(run);
    let curve = |name: String, style: usize, value: fn(&EpochRecord) -> f64| {
        let points = run.records.iter().map(|r| (r.epoch as f64, value(r)));
        Curve {
            name,
            style,
            points: points.collect(),
        }
    };
    let chart = |title: &str, curves: Vec<Curve>| LineChart {
        title: title.to_string(),
        x: "epoch",
        curves,
    };
    let mut accuracy = vec![
        curve(format!("{on} top-1"), 0, |r| 100.0 * r.top1),
        curve("train top-1".to_string(), 1, |r| 100.0 * r.train_top1),
        curve(format!("{on} top-5"), 2, |r| 100.0 * r.top5),
    ];
    let mut loss = vec![
        curve(on.to_string(), 0, |r| r.loss),
        curve("train".to_string(), 1, |r| r.train_loss),
    ];
    if run.records.iter().any(|record| record.ema.is_some()) {
        // Values that are not numbers leave gaps.
        let top1 = |r: &EpochRecord| r.ema.map_or(f64::NAN, |ema| 100.0 * ema.top1);
        accuracy.push(curve("EMA top-1".to_string(), 3, top1));
        let ema_loss = |r: &EpochRecord| r.ema.map_or(f64::NAN, |ema| ema.loss);
        loss.push(curve("EMA".to_string(), 3, ema_loss));
    }
    let rate = vec![curve("learning rate".to_string(), 0, |r| r.lr)];
    [
        chart("accuracy, %", accuracy),
        chart("loss", loss),
        chart("learning rate of the last step", rate),
    ]
}

/// The images that evaluated each epoch.
fn evaluated_on(run: &StoredRun) -> &'static str {
    let held_back = run.setting("val_split").and_then(|text| text.parse().ok());
    match held_back.unwrap_or(0.0) > 0.0 {
        true => "validation",
        false => "test",
    }
}

/// A row for each epoch.
pub(super) fn table(run: &StoredRun) -> Markup {
    let on = evaluated_on(run);
    let columns = [
        "epoch".to_string(),
        "learning rate".to_string(),
        "train loss".to_string(),
        "train top-1, %".to_string(),
        format!("{on} loss"),
        format!("{on} top-1, %"),
        format!("{on} top-5, %"),
        "images/s".to_string(),
        "seconds".to_string(),
    ];
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    html! {
        table {
            (head(&columns))
            tbody {
                @for record in &run.records {
                    tr {
                        th scope="row" { (record.epoch) }
                        td { (format!("{:.5}", record.lr)) }
                        td { (format!("{:.4}", record.train_loss)) }
                        td { (format!("{:.2}", 100.0 * record.train_top1)) }
                        td { (format!("{:.4}", record.loss)) }
                        td { (format!("{:.2}", 100.0 * record.top1)) }
                        td { (format!("{:.2}", 100.0 * record.top5)) }
                        td { (format!("{:.0}", record.images_per_second)) }
                        td { (format!("{:.1}", record.seconds)) }
                    }
                }
            }
        }
    }
}
