//! Values that several sections show.

use crate::eval::Calibration;
use crate::report::run_report::RunReport;

/// The calibration of the predictions.
pub(super) fn calibration_of(report: &RunReport<'_>) -> Calibration {
    let images = report.predictions.iter();
    Calibration::new(images.map(|p| (p.confidence, p.is_correct())))
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}
