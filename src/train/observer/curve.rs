//! The training curve as an SVG for light and dark pages.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use super::base::{Observer, RunStart};
use crate::checkpoint::write_atomically;
use crate::train::error::TrainError;
use crate::train::record::{EpochRecord, EvaluationSet};

const SIZE: (u32, u32) = (960, 400);
const INK: RGBColor = RGBColor(31, 35, 40);
const GRID: RGBColor = RGBColor(216, 222, 228);
const TEST: RGBColor = RGBColor(9, 105, 218);
const TOP5: RGBColor = RGBColor(26, 127, 55);
const TRAIN: RGBColor = RGBColor(188, 76, 0);
const EMA: RGBColor = RGBColor(130, 80, 223);

/// Each colour above, and the colour that replaces it on a dark page.
const DARK: [(RGBColor, &str); 6] = [
    (INK, "#E6EDF3"),
    (GRID, "#30363D"),
    (TEST, "#58A6FF"),
    (TOP5, "#3FB950"),
    (TRAIN, "#F0883E"),
    (EMA, "#BC8CFF"),
];

/// Draws accuracy and loss over the epochs. Redraws the file after each epoch.
pub struct Curve {
    path: PathBuf,
    title: String,
    records: Vec<EpochRecord>,
    evaluated_on: EvaluationSet,
}

impl Curve {
    /// Draws to `path` under `title`.
    pub fn new(path: &Path, title: &str) -> Self {
        Self {
            path: path.to_path_buf(),
            title: title.to_string(),
            records: Vec::new(),
            evaluated_on: EvaluationSet::Test,
        }
    }
}

impl Observer for Curve {
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        self.records = run.records.to_vec();
        self.evaluated_on = run.evaluated_on;
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.records.push(record.clone());
        let svg = draw(&self.title, &self.records, self.evaluated_on)?;
        write_atomically(&self.path, |file| file.write_all(svg.as_bytes()))
            .map_err(TrainError::io(&self.path))
    }
}

struct Line {
    /// The images; `None` for the images of the evaluation.
    images: Option<&'static str>,
    figure: &'static str,
    color: RGBColor,
    value: fn(&EpochRecord) -> Option<f64>,
}

impl Line {
    fn name(&self, evaluated_on: EvaluationSet) -> String {
        let images = self
            .images
            .map_or_else(|| evaluated_on.to_string(), str::to_string);
        format!("{images}{}", self.figure)
    }
}

const ACCURACY: [Line; 4] = [
    Line {
        images: None,
        figure: " top-5",
        color: TOP5,
        value: |record| Some(100.0 * record.top5),
    },
    Line {
        images: None,
        figure: " top-1",
        color: TEST,
        value: |record| Some(100.0 * record.top1),
    },
    Line {
        images: Some("train"),
        figure: " top-1",
        color: TRAIN,
        value: |record| Some(100.0 * record.train_top1),
    },
    Line {
        images: Some("EMA"),
        figure: " top-1",
        color: EMA,
        value: |record| Some(100.0 * record.ema?.top1),
    },
];

const LOSS: [Line; 3] = [
    Line {
        images: None,
        figure: "",
        color: TEST,
        value: |record| Some(record.loss),
    },
    Line {
        images: Some("train"),
        figure: "",
        color: TRAIN,
        value: |record| Some(record.train_loss),
    },
    Line {
        images: Some("EMA"),
        figure: "",
        color: EMA,
        value: |record| Some(record.ema?.loss),
    },
];

fn draw(
    title: &str,
    records: &[EpochRecord],
    evaluated_on: EvaluationSet,
) -> Result<String, TrainError> {
    let mut svg = String::new();
    panels(&mut svg, title, records, evaluated_on).map_err(|e| TrainError::Curve(e.to_string()))?;
    Ok(adapt(&svg))
}

type DrawResult<'a> = Result<(), Box<dyn std::error::Error + 'a>>;

fn panels<'a>(
    svg: &'a mut String,
    title: &str,
    records: &[EpochRecord],
    evaluated_on: EvaluationSet,
) -> DrawResult<'a> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let body = root.titled(title, ("sans-serif", 21).into_font().color(&INK))?;
    let (left, right) = body.split_horizontally(SIZE.0 / 2);
    let highest = highest(records, &ACCURACY).clamp(1.0, 100.0);
    panel(
        &left,
        records,
        "accuracy, %",
        &ACCURACY,
        evaluated_on,
        (highest * 1.08).min(100.0),
    )?;
    panel(
        &right,
        records,
        "loss",
        &LOSS,
        evaluated_on,
        self::highest(records, &LOSS) * 1.08,
    )?;
    root.present()?;
    Ok(())
}

fn highest(records: &[EpochRecord], lines: &[Line]) -> f64 {
    let values = records
        .iter()
        .flat_map(|record| lines.iter().filter_map(|line| (line.value)(record)));
    values.fold(1e-3, f64::max)
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    records: &[EpochRecord],
    label: &str,
    lines: &[Line],
    evaluated_on: EvaluationSet,
    top: f64,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let epochs = records.len().max(1) as f64;
    // A single epoch is a point, but the axis needs a length.
    let last = if epochs > 1.0 { epochs } else { 2.0 };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(1.0..last, 0.0..top)?;
    let text = ("sans-serif", 16).into_font().color(&INK);
    let decimals = if top > 20.0 { 0 } else { 1 };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_labels(records.len().clamp(2, 11))
        .y_labels(6)
        .x_label_formatter(&|epoch| {
            let whole = epoch.fract().abs() < 1e-9;
            if whole {
                format!("{epoch:.0}")
            } else {
                String::new()
            }
        })
        .y_label_formatter(&|value| format!("{value:.decimals$}"))
        .x_desc("epoch")
        .y_desc(label)
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .draw()?;
    for line in lines {
        let Line { color, value, .. } = line;
        let points = || {
            let values = (1..).zip(records);
            values.filter_map(|(i, record)| Some((f64::from(i), value(record)?)))
        };
        if points().next().is_none() {
            continue;
        }
        let style = color.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(points(), style))?;
        drawn
            .label(line.name(evaluated_on))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        if records.len() <= 30 {
            let points = points().map(|point| Circle::new(point, 3, color.filled()));
            chart.draw_series(points)?;
        }
    }
    let position = if label == "loss" {
        SeriesLabelPosition::UpperRight
    } else {
        SeriesLabelPosition::LowerRight
    };
    chart
        .configure_series_labels()
        .position(position)
        .margin(12)
        .border_style(TRANSPARENT)
        .label_font(text)
        .draw()
}

/// Adds the style with the colours of a dark page.
fn adapt(svg: &str) -> String {
    let rules = DARK.map(|(RGBColor(r, g, b), dark)| {
        let light = format!("#{r:02X}{g:02X}{b:02X}");
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    });
    let style = format!(
        "<style>@media(prefers-color-scheme:dark){{{}}}</style>",
        rules.concat()
    );
    let root = svg.find("<svg").unwrap_or_default();
    let end = root + svg[root..].find('>').map_or(0, |at| at + 1);
    format!("{}{style}{}", &svg[..end], &svg[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Evaluation;

    fn record(epoch: usize) -> EpochRecord {
        EpochRecord {
            ema: None,
            epoch,
            step: 10 * epoch as u64,
            lr: 0.1,
            train_loss: 4.0 / epoch as f64,
            train_top1: 0.05 * epoch as f64,
            loss: 4.2 / epoch as f64,
            top1: 0.06 * epoch as f64,
            top5: 0.09 * epoch as f64,
            images_per_second: 1000.0,
            seconds: 3.0,
            skipped: 0,
        }
    }

    #[test]
    fn draws_one_and_many_epochs() -> Result<(), TrainError> {
        for epochs in [1, 2, 10, 200] {
            let records: Vec<_> = (1..=epochs).map(record).collect();
            let title = "resnet20 + mish <synthetic>";
            let svg = draw(title, &records, EvaluationSet::Test)?;
            assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("prefers-color-scheme:dark"));
            for name in [
                "test top-1",
                "test top-5",
                "train top-1",
                "accuracy, %",
                "loss",
            ] {
                assert!(svg.contains(name), "{epochs} epochs: no '{name}'");
            }
            assert!(svg.contains("&lt;synthetic&gt;"), "the title is escaped");
            assert!(!svg.contains("EMA"), "a run without an average");
            let averaged = records.iter().map(|record| EpochRecord {
                ema: Some(Evaluation {
                    top1: 0.5,
                    ..Evaluation::default()
                }),
                ..record.clone()
            });
            let svg = draw(title, &averaged.collect::<Vec<_>>(), EvaluationSet::Test)?;
            assert!(svg.contains("EMA top-1"));
            let svg = draw(title, &records, EvaluationSet::Validation)?;
            assert!(svg.contains("validation top-1") && !svg.contains("test"));
        }
        Ok(())
    }
}
