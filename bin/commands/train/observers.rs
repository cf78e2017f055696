//! What observes a training run: flags, and the observers that they ask for.

use std::io::IsTerminal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candle_core::{DType, Tensor};
use candle_mish::data::{Loader, contact_sheet};
use candle_mish::nn::summarize;
use candle_mish::report::settings;
use candle_mish::train::observer::{
    Curve, Lines, Metrics, Observer, Probe, Progress, SampleImage, SummaryCsv, TensorBoard,
};
use candle_mish::train::run_folder::{CURVE, METRICS, SUMMARY_CSV, TENSORBOARD};
use candle_mish::train::{RunFolder, RunSession};

use super::config_file::ConfigFile;
use crate::args::OUTPUT;
use crate::args::range::count;
use crate::config::Config;
use crate::context::Context;
use crate::network::Network;
use crate::shell::quoted;
use crate::{device, logging, machine};

/// Shortest time between two lines within an epoch, if stderr is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);
/// Steps between two values of an event file by default, as in timm's log.
const LOG_INTERVAL: usize = 50;
const MAX_INTERVAL: usize = 1_000_000;
/// Images on the contact sheet of an event file, and its columns.
const IMAGES: usize = 64;
const COLUMNS: usize = 8;

/// Flags for what a run leaves besides weights and metrics.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = OUTPUT)]
pub struct ObserverArgs {
    /// Write event files for TensorBoard into the folder tensorboard of the run
    #[arg(long)]
    pub(super) tensorboard: bool,
    /// Steps between two values of the training loss in the event files [default: 50]
    #[arg(long, value_name = "N", requires = "tensorboard", value_parser = count(1..=MAX_INTERVAL))]
    pub(super) log_interval: Option<usize>,
    /// Add histograms of the pre-activations of each layer to the event files, one per epoch
    #[arg(long, requires = "tensorboard")]
    pub(super) histograms: bool,
    /// Do not write report.html at the end
    #[arg(long)]
    pub(super) no_report: bool,
}

/// What observers need of a run.
pub(super) struct Observed<'a> {
    pub config: &'a Config,
    /// The configuration to write into the folder, if it is not there.
    pub to_write: Option<&'a Config>,
    pub network: &'a Network,
    pub folder: &'a RunFolder,
    /// The name of the run in plots.
    pub title: String,
    /// The training images.
    pub train: &'a Loader,
    /// The images that evaluate each epoch.
    pub evaluation: &'a Loader,
    /// The normalisation of all images.
    pub normalisation: ([f32; 3], [f32; 3]),
    pub context: &'a Context,
}

impl Observed<'_> {
    /// The observers that `args` ask for. `step` is the number of steps so far.
    ///
    /// # Errors
    /// If images for TensorBoard cannot be read, or the network fails.
    pub(super) fn observers(
        &self,
        args: &ObserverArgs,
        step: u64,
    ) -> anyhow::Result<Vec<Box<dyn Observer>>> {
        let screen: Box<dyn Observer> = if std::io::stderr().is_terminal() {
            Box::new(Progress::new(self.context.bars.clone()))
        } else {
            Box::new(Lines::new(LINE_INTERVAL, |line| eprintln!("{line}")))
        };
        let mut observers: Vec<Box<dyn Observer>> = vec![
            Box::new(Metrics::new(&self.folder.file(METRICS))),
            Box::new(SummaryCsv::new(&self.folder.file(SUMMARY_CSV))),
            Box::new(Curve::new(&self.folder.file(CURVE), &self.title)),
            screen,
            Box::new(Lines::new(LINE_INTERVAL, |line| {
                tracing::info!(target: logging::RUN, "{line}");
            })),
        ];
        if let Some(config) = self.to_write {
            let file = ConfigFile::new(self.folder, config.to_toml()?);
            observers.insert(0, Box::new(file));
        }
        if args.tensorboard {
            observers.push(Box::new(self.tensorboard(args, step)?));
        }
        Ok(observers)
    }

    fn tensorboard(&self, args: &ObserverArgs, step: u64) -> anyhow::Result<TensorBoard> {
        let interval = args.log_interval.unwrap_or(LOG_INTERVAL);
        let mut board = TensorBoard::new(&self.folder.file(TENSORBOARD), interval)
            .with_text("hyperparameters", self.hyperparameters()?)
            .with_text("layers", self.layers()?);
        if step == 0
            && let Some(image) = self.sample()?
        {
            board = board.with_image(image);
        }
        if args.histograms
            && let Some(batch) = self.evaluation.epoch(0, 0).next()
        {
            let model = self.network.frozen.clone();
            board = board.with_histograms(Probe {
                model,
                images: batch?.images,
            });
        }
        Ok(board)
    }

    /// The configuration as a table in Markdown.
    fn hyperparameters(&self) -> anyhow::Result<String> {
        let settings = settings(&toml::Table::try_from(self.config)?);
        let rows = settings
            .iter()
            .map(|(name, value)| format!("| {name} | {} |\n", cell(value)));
        Ok(format!(
            "| option | value |\n| --- | --- |\n{}",
            rows.collect::<String>()
        ))
    }

    /// The layers in the order in which they run, as a table in Markdown.
    fn layers(&self) -> anyhow::Result<String> {
        let images = self.train.images();
        let shape = (1, images.channels(), images.height(), images.width());
        let image = Tensor::zeros(shape, DType::F32, self.network.store.device())?;
        let (_, layers) = summarize(|| self.network.frozen.forward_t(&image, false))?;
        let rows = layers.iter().map(|layer| {
            let shape: Vec<String> = layer
                .output
                .iter()
                .skip(1)
                .map(ToString::to_string)
                .collect();
            format!(
                "| {} | {} | {} | {} | {} |\n",
                cell(&layer.path),
                layer.kind,
                shape.join("x"),
                layer.params,
                layer.multiply_adds
            )
        });
        Ok(format!(
            "| layer | type | output | parameters | multiply-adds |\n| --- | --- | --- | --- | --- |\n{}",
            rows.collect::<String>()
        ))
    }

    /// The first training images as the network sees them.
    fn sample(&self) -> anyhow::Result<Option<SampleImage>> {
        let Some(batch) = self.train.epoch(0, 0).next() else {
            return Ok(None);
        };
        let (mean, std) = self.normalisation;
        let sheet = contact_sheet(&batch?.take(IMAGES)?, mean, std, COLUMNS)?;
        Ok(Some(SampleImage {
            size: [sheet.channels(), sheet.height(), sheet.width()],
            png: sheet.to_png()?,
        }))
    }
}

/// A text for a cell of a table in Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Records this process and its machine in the run folder. `step` is the number of steps so far.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn record_session(
    folder: &RunFolder,
    step: u64,
    context: &Context,
) -> anyhow::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    let words = std::env::args_os().map(|word| quoted(&word.to_string_lossy()));
    let session = RunSession {
        command: words.collect::<Vec<_>>().join(" "),
        started: started.unwrap_or_default().as_secs(),
        step,
        version: env!("CARGO_PKG_VERSION").to_string(),
        system: machine::system(),
        processor: machine::processor(),
        cores: machine::cores(),
        threads: context.threads,
        device: device::name(device::current()?),
    };
    Ok(session.append(folder)?)
}
