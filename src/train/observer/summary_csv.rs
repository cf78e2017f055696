//! `summary.csv`: one row for each epoch, with timm's columns.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::base::{Observer, RunStart};
use crate::checkpoint::write_atomically;
use crate::train::error::TrainError;
use crate::train::record::EpochRecord;

const HEADER: &str = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n";

/// Appends a row to a CSV file for each epoch, with the columns and the units of timm: accuracies are
/// in percent. Epochs count from 1.
pub struct SummaryCsv {
    path: PathBuf,
}

impl SummaryCsv {
    /// Writes to `path`.
    pub fn new(path: &Path) -> Self {
        let path = path.to_path_buf();
        Self { path }
    }
}

fn row(record: &EpochRecord) -> String {
    format!(
        "{},{},{},{},{},{}\n",
        record.epoch,
        record.train_loss,
        record.loss,
        100.0 * record.top1,
        100.0 * record.top5,
        record.lr
    )
}

impl Observer for SummaryCsv {
    /// Rewrites the file from the records, as [`Metrics`](super::Metrics) does.
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        let rows = run.records.iter().map(row);
        let text: String = std::iter::once(HEADER.to_string()).chain(rows).collect();
        write_atomically(&self.path, |file| file.write_all(text.as_bytes()))
            .map_err(TrainError::io(&self.path))
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let append = || {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(row(record).as_bytes())
        };
        append().map_err(TrainError::io(&self.path))
    }
}
