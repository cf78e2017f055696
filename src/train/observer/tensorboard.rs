//! Event files for TensorBoard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::{DType, Tensor};
use candle_nn::ModuleT;

use super::base::{Observer, RunStart, StepReport};
use crate::nn::map_pre_activations;
use crate::tensorboard::{EventWriter, Histogram};
use crate::train::error::TrainError;
use crate::train::record::{EpochRecord, Record};

/// Writes the figures of a run as an event file: at intervals the training loss, the learning rate and
/// the speed, and after each epoch the figures of its record. Values have the steps of the
/// run. A run that continues starts a new file, which replaces what older files have after its first
/// step.
pub struct TensorBoard {
    folder: PathBuf,
    interval: usize,
    texts: Vec<(String, String)>,
    image: Option<SampleImage>,
    probe: Option<Probe>,
    events: Option<EventWriter>,
    loss: Mean,
}

/// A PNG image of what the network is trained on.
pub struct SampleImage {
    /// Channels, height and width.
    pub size: [usize; 3],
    /// The file.
    pub png: Vec<u8>,
}

/// A network and a batch of images, for histograms of its pre-activations.
pub struct Probe {
    /// The network, on weights that follow the run's.
    pub model: Rc<dyn ModuleT>,
    /// The images `[B, C, H, W]`.
    pub images: Tensor,
}

/// The mean of the values since the last one was written.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl TensorBoard {
    /// Writes to `folder`, within an epoch every `interval` steps.
    pub fn new(folder: &Path, interval: usize) -> Self {
        Self {
            folder: folder.to_path_buf(),
            interval: interval.max(1),
            texts: Vec::new(),
            image: None,
            probe: None,
            events: None,
            loss: Mean::default(),
        }
    }

    /// Adds a text in Markdown, which is written when the run starts or continues.
    pub fn with_text(mut self, tag: &str, text: String) -> Self {
        self.texts.push((tag.to_string(), text));
        self
    }

    /// Adds an image, which is written when the run starts.
    pub fn with_image(self, image: SampleImage) -> Self {
        Self {
            image: Some(image),
            ..self
        }
    }

    /// Adds a histogram of the input of each activation layer after each epoch. They are computed in
    /// evaluation mode.
    pub fn with_histograms(self, probe: Probe) -> Self {
        Self {
            probe: Some(probe),
            ..self
        }
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut EventWriter) -> std::io::Result<()>,
    ) -> Result<(), TrainError> {
        match &mut self.events {
            Some(events) => write(events).map_err(TrainError::io(events.path())),
            None => Ok(()),
        }
    }
}

impl Observer for TensorBoard {
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        let continued = (run.step > 0).then_some(run.step + 1);
        let events = EventWriter::create(&self.folder, continued);
        self.events = Some(events.map_err(TrainError::io(&self.folder))?);
        let (texts, image) = (std::mem::take(&mut self.texts), self.image.take());
        self.write(|events| {
            for (tag, text) in &texts {
                // The first step of this process, so that a later one replaces it if it repeats it.
                events.text(tag, continued.unwrap_or_default(), text)?;
            }
            if let Some(image) = image.filter(|_| continued.is_none()) {
                events.image("train/images", 0, image.size, image.png)?;
            }
            events.flush()
        })
    }

    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.loss.sum += report.loss;
        self.loss.count += 1;
        if !report.step.is_multiple_of(self.interval as u64) {
            return Ok(());
        }
        let loss = std::mem::take(&mut self.loss);
        self.write(|events| {
            let step = report.step;
            events.scalar("train/loss", step, loss.sum / loss.count as f64)?;
            events.scalar("train/lr", step, report.lr)?;
            events.scalar("train/images_per_second", step, report.images_per_second)
        })
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let histograms = self.probe.as_ref().map_or(Ok(Vec::new()), histograms)?;
        self.write(|events| {
            for (tag, value) in figures(record) {
                events.scalar(tag, record.step, value)?;
            }
            for (path, histogram) in &histograms {
                let tag = format!("pre_activations/{path}");
                events.histogram(&tag, record.step, histogram)?;
            }
            events.flush()
        })
    }

    fn finish(&mut self, _record: &Record) -> Result<(), TrainError> {
        self.write(EventWriter::flush)
    }
}

/// The figures of an epoch with their tags.
fn figures(record: &EpochRecord) -> Vec<(&'static str, f64)> {
    let mut figures = vec![
        ("epoch/number", record.epoch as f64),
        ("epoch/lr", record.lr),
        ("epoch/train_loss", record.train_loss),
        ("epoch/train_top1", record.train_top1),
        ("epoch/images_per_second", record.images_per_second),
        ("epoch/seconds", record.seconds),
        ("eval/loss", record.loss),
        ("eval/top1", record.top1),
        ("eval/top5", record.top5),
    ];
    if let Some(ema) = &record.ema {
        figures.extend([
            ("ema/loss", ema.loss),
            ("ema/top1", ema.top1),
            ("ema/top5", ema.top5),
        ]);
    }
    figures
}

/// The histograms of the inputs of all activation layers. A layer that is applied again has its number
/// after its path.
fn histograms(probe: &Probe) -> Result<Vec<(String, Histogram)>, TrainError> {
    let histogram = |input: &Tensor| {
        let values = input.detach().to_dtype(DType::F32)?.flatten_all()?;
        Ok(Histogram::new(&values.to_vec1::<f32>()?))
    };
    let forward = || probe.model.forward_t(&probe.images, false);
    let (_, found) = map_pre_activations(histogram, forward)?;
    let mut applied: HashMap<String, usize> = HashMap::new();
    let mut histograms = Vec::new();
    for (path, histogram) in found {
        let count = applied.entry(path.clone()).or_default();
        *count += 1;
        let path = match *count {
            1 => path,
            count => format!("{path}.{count}"),
        };
        histograms.extend(histogram.map(|histogram| (path, histogram)));
    }
    Ok(histograms)
}
