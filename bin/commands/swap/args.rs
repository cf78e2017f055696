//! The flags of `mish swap`.

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish::swap::{BlendOrder, Correction};

use crate::args::range::{
    MAX_BATCH, MAX_EPOCHS, MAX_IMAGES, MAX_RATE, MAX_STEPS, count, number, positive, seed,
};
use crate::args::{DataArgs, NetworkArgs, OUTPUT, PreprocessArgs};
use crate::failure::usage;
use crate::source::WeightsArgs;

/// The headings of the flags in `--help`.
const REPLACEMENT: &str = "Replacement";
const CORRECTION: &str = "Correction without training";
const TRAINING: &str = "Distillation and fine-tuning";
const BUDGET: &str = "Layers within a budget";
const MEASUREMENTS: &str = "Measurements";

/// Flags of `mish swap`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct SwapArgs {
    /// The network [default: from the weights]
    pub(super) model: Option<String>,
    // The data set and the recipe default to what the run used that trained the weights.
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
    /// Folder with images for recalibration, corrections and distillation, in any subfolders. They
    /// need no labels [default: the training images]
    #[arg(long, value_name = "DIR", help_heading = REPLACEMENT)]
    pub(super) images: Option<PathBuf>,
    /// Augmented training batches for new batch-norm statistics, or 0 to keep the old ones
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = REPLACEMENT,
          value_parser = count(0..=MAX_STEPS))]
    pub(super) recalibrate: usize,
    /// Also correct the swapped network without training, with each of these methods: layer-wise,
    /// bias, scale-shift, constants [without a value: layer-wise,bias,scale-shift]
    #[arg(long, value_name = "METHODS", value_delimiter = ',', num_args = 0..=1,
          default_missing_value = "layer-wise,bias,scale-shift", help_heading = CORRECTION)]
    pub(super) correct: Vec<Method>,
    /// Batches of images for corrections and approximations [default: 16]
    #[arg(long, value_name = "N", help_heading = CORRECTION, value_parser = count(1..=MAX_STEPS))]
    pub(super) correction_batches: Option<usize>,
    /// Epochs to train each activation on the outputs of the original, without labels [without a
    /// value: 1]
    #[arg(long, value_name = "EPOCHS", num_args = 0..=1, default_missing_value = "1",
          help_heading = TRAINING, conflicts_with = "distill_steps",
          value_parser = number::<f64>(positive(MAX_EPOCHS)))]
    pub(super) distill: Option<f64>,
    /// Steps to train each activation on the outputs of the original, without labels
    #[arg(long, value_name = "N", help_heading = TRAINING, value_parser = count(1..=MAX_STEPS))]
    pub(super) distill_steps: Option<usize>,
    /// Temperature of the probabilities in distillation [default: 4]
    #[arg(long, value_name = "T", help_heading = TRAINING,
          value_parser = number::<f64>(positive(1000.0)))]
    pub(super) temperature: Option<f64>,
    /// Weight of the distance to the original's features in distillation, at the last activation
    /// of each stage [default: 0, only the logits]
    #[arg(long, value_name = "WEIGHT", help_heading = TRAINING,
          value_parser = number::<f64>(0.0..=1e6))]
    pub(super) feature_weight: Option<f64>,
    /// Epochs to train each activation with labels
    #[arg(long, value_name = "N", help_heading = TRAINING, conflicts_with = "fine_tune_steps",
          value_parser = number::<f64>(positive(MAX_EPOCHS)))]
    pub(super) fine_tune_epochs: Option<f64>,
    /// Steps to train each activation with labels
    #[arg(long, value_name = "N", help_heading = TRAINING, value_parser = count(1..=MAX_STEPS))]
    pub(super) fine_tune_steps: Option<usize>,
    /// Peak learning rate [default: the rate of the weights' run, divided by 15]
    #[arg(long, value_name = "RATE", help_heading = TRAINING,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub(super) lr: Option<f64>,
    /// Blend from the old activation to the new one over the first half of a training: in all layers
    /// at-once, or layer-by-layer from the input on. It starts from the original weights, without
    /// recalibration
    #[arg(long, value_name = "ORDER", num_args = 0..=1, default_missing_value = "at-once",
          help_heading = TRAINING)]
    pub(super) blend: Option<Order>,
    /// Images per batch [default: the batch size of the weights' run]
    #[arg(long, short, value_name = "N", help_heading = TRAINING,
          value_parser = count(1..=MAX_BATCH))]
    pub(super) batch_size: Option<usize>,
    /// Seed of the order and augmentation of training images, of the sampled images and of the
    /// noise
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = TRAINING,
          value_parser = seed)]
    pub(super) seed: u64,
    /// Also search for the most layers that can take each new activation at a top-1 loss of at most
    /// POINTS
    #[arg(long, value_name = "POINTS", help_heading = BUDGET,
          value_parser = number::<f64>(0.0..=100.0))]
    pub(super) budget: Option<f64>,
    /// Random test images that the search measures; the result is measured on the others [default:
    /// 2000]
    #[arg(long, value_name = "N", requires = "budget", help_heading = BUDGET,
          value_parser = count(1..=MAX_IMAGES))]
    pub(super) budget_images: Option<usize>,
    /// Batches that each measurement of the search recalibrates batch norms on, or 0 to keep their
    /// statistics [default: 8]
    #[arg(long, value_name = "N", requires = "budget", help_heading = BUDGET,
          value_parser = count(0..=MAX_STEPS))]
    pub(super) budget_recalibrate: Option<usize>,
    /// Also measure how well other activations and up to this many straight lines approximate the
    /// network's activation on its inputs [without a value: 8]
    #[arg(long, value_name = "LINES", num_args = 0..=1, default_missing_value = "8",
          help_heading = MEASUREMENTS, value_parser = count(2..=16))]
    pub(super) approximate: Option<usize>,
    /// Also replace one stage and one layer at a time, measured on this many images [without a
    /// value: 2000]
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000",
          help_heading = MEASUREMENTS, value_parser = count(0..=MAX_IMAGES))]
    pub(super) per_layer: Option<usize>,
    /// Also measure on this many perturbed images [without a value: 2000]
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
    /// Save the weights of each variant in this new or empty folder
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    pub(super) save: Option<PathBuf>,
    /// Also write the report as a web page
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) html: Option<PathBuf>,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
}

/// The methods of `--correct`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Method {
    LayerWise,
    Bias,
    ScaleShift,
    Constants,
}

/// The values of `--blend`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Order {
    AtOnce,
    LayerByLayer,
}

impl SwapArgs {
    /// The corrections, each once.
    pub(super) fn corrections(&self) -> Vec<Correction> {
        let all = [
            (Method::LayerWise, Correction::LayerWise),
            (Method::Bias, Correction::Bias),
            (Method::ScaleShift, Correction::ScaleShift),
            (Method::Constants, Correction::Constants),
        ];
        let given = all
            .iter()
            .filter(|(method, _)| self.correct.contains(method));
        given.map(|(_, correction)| *correction).collect()
    }

    /// The order of a blend.
    pub(super) fn blend_order(&self) -> Option<BlendOrder> {
        self.blend.map(|order| match order {
            Order::AtOnce => BlendOrder::AtOnce,
            Order::LayerByLayer => BlendOrder::LayerByLayer,
        })
    }

    /// Whether each activation is distilled.
    pub(super) fn distills(&self) -> bool {
        self.distill.is_some() || self.distill_steps.is_some()
    }

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

    /// Whether functions are fitted to the network's activation.
    pub(super) fn fits(&self) -> bool {
        self.approximate.is_some() || self.correct.contains(&Method::Constants)
    }

    /// Refuses combinations of flags, before anything is read.
    ///
    /// # Errors
    /// A usage error.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let trains = self.fine_tunes() || self.distills();
        let measures = !self.correct.is_empty() || self.approximate.is_some();
        let calibrates =
            self.recalibrate > 0 || self.distills() || measures || self.budget.is_some();
        let fine_tuning = "--fine-tune-epochs, --fine-tune-steps or --distill";
        for (flag, given, possible, needs) in [
            ("--blend", self.blend.is_some(), trains, fine_tuning),
            ("--lr", self.lr.is_some(), trains, fine_tuning),
            (
                "--temperature",
                self.temperature.is_some(),
                self.distills(),
                "--distill",
            ),
            (
                "--feature-weight",
                self.feature_weight.is_some(),
                self.distills(),
                "--distill",
            ),
            (
                "--correction-batches",
                self.correction_batches.is_some(),
                measures,
                "--correct or --approximate",
            ),
            (
                "--images",
                self.images.is_some(),
                calibrates,
                "--recalibrate, --correct, --approximate, --budget or --distill",
            ),
        ] {
            if given && !possible {
                return Err(usage(format!("{flag} needs {needs}")));
            }
        }
        let has_constants = |to: &Activation| !to.parameters().is_empty();
        if self.correct.contains(&Method::Constants) && !self.to.iter().any(has_constants) {
            return Err(usage(
                "--correct constants needs an activation with constants in --to, such as leaky_relu \
                 or elu",
            ));
        }
        Ok(())
    }
}
