//! `summary.csv`: one row for each epoch, with timm's columns.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::base::{Observer, RunStart};
use crate::checkpoint::write_atomically;
use crate::train::error::TrainError;
use crate::train::record::EpochRecord;

const HEADER: &str = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr";
/// More columns of a run with an exponential moving average of its weights.
const EMA: &str = ",ema_loss,ema_top1,ema_top5";

/// Appends a row to a CSV file for each epoch, with the columns and the units of timm: accuracies are
/// in percent. Epochs count from 1.
pub struct SummaryCsv {
    path: PathBuf,
    has_header: bool,
}

impl SummaryCsv {
    /// Writes to `path`.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            has_header: false,
        }
    }

    /// The rows of `records`, after a header if the file has none.
    fn rows(&mut self, records: &[EpochRecord]) -> String {
        let mut text = String::new();
        for record in records {
            if !self.has_header {
                let ema = record.ema.map_or("", |_| EMA);
                text += &format!("{HEADER}{ema}\n");
                self.has_header = true;
            }
            text += &row(record);
        }
        text
    }
}

fn row(record: &EpochRecord) -> String {
    let ema = record.ema.map(|ema| {
        let (top1, top5) = (100.0 * ema.top1, 100.0 * ema.top5);
        format!(",{},{top1},{top5}", ema.loss)
    });
    format!(
        "{},{},{},{},{},{}{}\n",
        record.epoch,
        record.train_loss,
        record.loss,
        100.0 * record.top1,
        100.0 * record.top5,
        record.lr,
        ema.unwrap_or_default()
    )
}

impl Observer for SummaryCsv {
    /// Rewrites the file from the records, as [`Metrics`](super::Metrics) does.
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        let text = self.rows(run.records);
        write_atomically(&self.path, |file| file.write_all(text.as_bytes()))
            .map_err(TrainError::io(&self.path))
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let text = self.rows(std::slice::from_ref(record));
        let append = || {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(text.as_bytes())
        };
        append().map_err(TrainError::io(&self.path))
    }
}
