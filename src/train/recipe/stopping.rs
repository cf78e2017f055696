//! The evaluation metric of a recipe, and early stopping.

use super::fields::Recipe;
use super::kinds::EvalMetric;
use crate::eval::Evaluation;
use crate::train::record::EpochRecord;
use crate::train::schedule::Direction;

impl EvalMetric {
    /// The value of the metric in an epoch.
    pub fn of(self, record: &EpochRecord) -> f64 {
        match self {
            Self::Top1 => record.top1,
            Self::Loss => record.loss,
        }
    }

    /// The value of the metric in an evaluation.
    pub(in crate::train) fn of_evaluation(self, evaluation: &Evaluation) -> f64 {
        match self {
            Self::Top1 => evaluation.top1,
            Self::Loss => evaluation.loss,
        }
    }

    /// Which values are better.
    pub fn direction(self) -> Direction {
        match self {
            Self::Top1 => Direction::Max,
            Self::Loss => Direction::Min,
        }
    }
}

impl Recipe {
    /// Whether a run with these finished epochs stops early: `early_stop_patience` epochs in a row
    /// have not improved on the best one before them by more than `early_stop_min_delta`.
    pub fn stops_early(&self, records: &[EpochRecord]) -> bool {
        let Some(patience) = self.early_stop_patience else {
            return false;
        };
        let (metric, delta) = (self.eval_metric, self.early_stop_min_delta.unwrap_or(0.0));
        let mut best: Option<f64> = None;
        let mut bad = 0;
        for value in records.iter().map(|record| metric.of(record)) {
            if best.is_none_or(|best| metric.direction().is_better(value, best, delta)) {
                best = Some(value);
                bad = 0;
            } else {
                bad += 1;
            }
            if bad >= patience {
                return true;
            }
        }
        false
    }
}
