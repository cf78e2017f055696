//! The flags of `mish swap`.

use std::path::PathBuf;

use anyhow::Context;
use candle_mish::activation::Activation;
use candle_mish::checkpoint::check_writable;

use crate::args::range::{
    MAX_BATCH, MAX_EPOCHS, MAX_IMAGES, MAX_RATE, MAX_STEPS, count, number, positive, seed,
};
use crate::args::{DataArgs, NetworkArgs, OUTPUT, PreprocessArgs};
use crate::failure::usage;
use crate::source::WeightsArgs;

/// The headings of the flags in `--help`.
const REPLACEMENT: &str = "Replacement";
const FINE_TUNING: &str = "Fine-tuning";
const MEASUREMENTS: &str = "Measurements";

/// Flags of `mish swap`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct SwapArgs {
    /// The network [default: from the weights]
    pub(super) model: Option<String>,
    // The data set and the recipe default to those of the run that the weights belong to.
    #[command(flatten, next_help_heading = "Weights")]
    pub(super) weights: WeightsArgs,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    /// New activations, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true,
          help_heading = REPLACEMENT)]
    pub(super) to: Vec<Activation>,
    /// Replace only the activation layers at these paths, separated by commas. * matches any text.
    /// `mish models NAME` shows the paths [default: all]
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',', help_heading = REPLACEMENT)]
    pub(super) layers: Vec<String>,
    /// Augmented training batches for new batch-norm statistics, or 0 to keep the old ones
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = REPLACEMENT,
          value_parser = count(0..=MAX_STEPS))]
    pub(super) recalibrate: usize,
    /// Epochs to train each activation
    #[arg(long, value_name = "N", help_heading = FINE_TUNING, conflicts_with = "fine_tune_steps",
          value_parser = number::<f64>(positive(MAX_EPOCHS)))]
    pub(super) fine_tune_epochs: Option<f64>,
    /// Steps to train each activation
    #[arg(long, value_name = "N", help_heading = FINE_TUNING, value_parser = count(1..=MAX_STEPS))]
    pub(super) fine_tune_steps: Option<usize>,
    /// Peak learning rate [default: the rate of the weights' run, divided by 15]
    #[arg(long, value_name = "RATE", help_heading = FINE_TUNING,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub(super) lr: Option<f64>,
    /// Blend from the old activation to the new one over the first half of fine-tuning. It starts
    /// from the original weights, without recalibration
    #[arg(long, help_heading = FINE_TUNING)]
    pub(super) blend: bool,
    /// Images per batch [default: the batch size of the weights' run]
    #[arg(long, short, value_name = "N", help_heading = FINE_TUNING,
          value_parser = count(1..=MAX_BATCH))]
    pub(super) batch_size: Option<usize>,
    /// Seed of the order and augmentation of training images, of the sampled images and of the
    /// noise
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = FINE_TUNING,
          value_parser = seed)]
    pub(super) seed: u64,
    /// Also replace one stage and one layer at a time, measured on this many images
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000",
          help_heading = MEASUREMENTS, value_parser = count(0..=MAX_IMAGES))]
    pub(super) per_layer: Option<usize>,
    /// Also measure on this many perturbed images
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000",
          help_heading = MEASUREMENTS, value_parser = count(0..=MAX_IMAGES))]
    pub(super) robustness: Option<usize>,
    /// Standard deviations of the noise, as shares of a pixel's range [default: 0.02,0.05,0.1]
    #[arg(long, value_name = "STRENGTHS", value_delimiter = ',', requires = "robustness",
          help_heading = MEASUREMENTS, value_parser = number::<f64>(0.0..=1.0))]
    pub(super) noise: Option<Vec<f64>>,
    /// Step sizes of FGSM, as shares of a pixel's range [default: 0.5, 1 and 2 divided by 255]
    #[arg(long, value_name = "STRENGTHS", value_delimiter = ',', requires = "robustness",
          help_heading = MEASUREMENTS, value_parser = number::<f64>(0.0..=1.0))]
    pub(super) fgsm: Option<Vec<f64>>,
    /// Also write the report as a web page
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) html: Option<PathBuf>,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
}

impl SwapArgs {
    /// The strengths of the noise.
    pub(super) fn noise(&self) -> Vec<f64> {
        self.noise.clone().unwrap_or_else(|| vec![0.02, 0.05, 0.1])
    }

    /// The step sizes of FGSM.
    pub(super) fn fgsm(&self) -> Vec<f64> {
        let usual = || [0.5, 1.0, 2.0].map(|steps| steps / 255.0).to_vec();
        self.fgsm.clone().unwrap_or_else(usual)
    }

    /// Whether each activation is trained.
    pub(super) fn fine_tunes(&self) -> bool {
        self.fine_tune_epochs.is_some() || self.fine_tune_steps.is_some()
    }

    /// Refuses combinations of flags, before anything is read.
    ///
    /// # Errors
    /// A usage error, or that the page cannot be written.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !self.fine_tunes() {
            let needs = |flag| {
                Err(usage(format!(
                    "{flag} needs --fine-tune-epochs or --fine-tune-steps"
                )))
            };
            if self.blend {
                return needs("--blend");
            }
            if self.lr.is_some() {
                return needs("--lr");
            }
        }
        match &self.html {
            // Before hours of work, not after.
            Some(path) => check_writable(path)
                .with_context(|| format!("cannot write --html {}", path.display())),
            None => Ok(()),
        }
    }
}
