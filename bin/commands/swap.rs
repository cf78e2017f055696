//! `mish swap`: puts other activations into trained weights and measures what they do.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use candle_core::DType;
use candle_mish::activation::Activation;
use candle_mish::data::{self, Augmentation, Loader, LoaderConfig};
use candle_mish::eval::Estimate;
use candle_mish::eval::swap::{
    FineTune, Replacement, Row, SwapData, SwapOptions, SwapReport, Variant, study,
};
use candle_mish::nn::ParamStore;
use candle_mish::rng::Generator;
use candle_mish::train::Recipe;
use candle_mish::train::checkpoint::write_atomically;
use candle_mish_models::{self as models, Options, Stem, Swap, transfer};
use comfy_table::{CellAlignment, Table, presets};

use super::eval::Origin;
use crate::args::{DataArgs, PreprocessArgs, positive};
use crate::device;
use crate::failure::{Done, usage};
use crate::network::{Weights, check_name, stem_for};
use crate::source::WeightsArgs;
use crate::{Context, output, pictures};

/// Flags of `mish swap`.
#[derive(Debug, clap::Args)]
pub struct SwapArgs {
    /// The network [default: the one that the weights name]
    model: Option<String>,
    /// If they lie in a run folder, images and recipe are those of the run
    #[command(flatten)]
    weights: WeightsArgs,
    /// The activations to put in, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    to: Vec<Activation>,
    /// The activation of the weights [default: the one that they name]
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// The first layers, cifar or imagenet [default: what the weights say, or by the images' size]
    #[arg(long, value_name = "NAME")]
    stem: Option<Stem>,
    /// Swap only the activation layers at these paths, where * stands for any text; `mish models
    /// NAME` shows the paths [default: all]
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    layers: Vec<String>,
    /// Images per batch [default: that of the run]
    #[arg(long, short, value_name = "N", value_parser = positive)]
    batch_size: Option<usize>,
    /// Seeds the order of the training images and their augmentation
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Training batches over which batch-norm statistics are measured anew, 0 for leaving it out
    #[arg(long, value_name = "N", default_value_t = 100)]
    recalibrate: usize,
    /// Train with each activation for so many passes over the training images
    #[arg(long, value_name = "N", conflicts_with = "fine_tune_steps")]
    fine_tune_epochs: Option<f64>,
    /// Train with each activation for so many steps
    #[arg(long, value_name = "N")]
    fine_tune_steps: Option<usize>,
    /// The (highest) learning rate of fine-tuning
    #[arg(long, value_name = "RATE", default_value_t = 0.02)]
    lr: f64,
    /// Go from the old activation to the new one over the first half of fine-tuning
    #[arg(long)]
    blend: bool,
    /// Also swap one stage and one layer at a time, measured on so many images
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000")]
    per_layer: Option<usize>,
    /// Also measure on so many disturbed images
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000")]
    robustness: Option<usize>,
    /// Standard deviations of the noise, in parts of a pixel's range
    #[arg(long, value_name = "STRENGTHS", value_delimiter = ',', default_values_t = [0.02, 0.05, 0.1])]
    noise: Vec<f64>,
    /// Steps of FGSM, in parts of a pixel's range
    #[arg(long, value_name = "STRENGTHS", value_delimiter = ',',
          default_values_t = [0.5 / 255.0, 1.0 / 255.0, 2.0 / 255.0])]
    fgsm: Vec<f64>,
    /// Write the report as a web page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// Studies.
pub fn run(args: &SwapArgs, context: &Context) -> anyhow::Result<Done> {
    check(args)?;
    let (name, offline) = (args.model.as_deref(), args.data.offline);
    let weights = args.weights.read(name, offline, context)?;
    let model = weights.model(args.model.as_deref())?;
    check_name(&model)?;
    let from = weights.activation(args.activation.as_ref())?;
    let Origin { mut data, recipe } = Origin::of(&weights, &args.data)?;
    pictures::resolve(&mut data, &weights, &model, args.stem, &args.preprocess)?;
    let dataset = data::open(&data)?;
    pictures::compare_classes(&dataset, &weights)?;
    let classes = dataset.classes.len();
    let num_classes = weights.num_classes()?.unwrap_or(classes);
    if num_classes < classes {
        bail!(
            "{} is of {num_classes} classes, {} has {classes}",
            weights.path.display(),
            dataset.name
        );
    }
    let stem = args.stem.or(weights.stem()?);
    let target = Target {
        model: &model,
        from,
        num_classes,
        stem: stem.unwrap_or_else(|| stem_for(dataset.test.height())),
        weights: &weights,
    };
    target.check_layers(&args.layers)?;
    let (mean, std) = pictures::normalisation(&dataset, &weights, &args.preprocess)?;
    let batch_size = args.batch_size.unwrap_or(recipe.batch_size);
    let recipe = Recipe {
        lr: args.lr,
        batch_size,
        seed: args.seed,
        ..recipe
    };
    recipe.validate().map_err(usage)?;
    let device = device::current()?;
    let loader = |images: &data::ImageSet, train: bool| {
        let config = LoaderConfig {
            batch_size,
            shuffle: train,
            drop_last: train,
            augmentation: match train {
                true => recipe.augmentation(),
                false => Augmentation::none(),
            },
            mean,
            std,
            seed: args.seed,
        };
        Loader::new(images.clone(), config).on(device)
    };
    let (train, test) = (loader(&dataset.train, true), loader(&dataset.test, false));
    let steps = match (args.fine_tune_steps, args.fine_tune_epochs) {
        (Some(steps), _) => steps,
        (None, Some(epochs)) => (epochs * train.batches_per_epoch() as f64).round() as usize,
        (None, None) => 0,
    };
    let fine_tune = (steps > 0).then(|| FineTune {
        steps,
        recipe: recipe.clone(),
        blend: args.blend,
        evaluations: 4,
    });
    let options = SwapOptions {
        model: model.clone(),
        from,
        to: args.to.clone(),
        layers: args.layers.clone(),
        recalibration_batches: args.recalibrate,
        fine_tune,
        layer_images: args.per_layer.unwrap_or(0),
        noise: args.noise.clone(),
        fgsm: args.fgsm.clone(),
        robustness_images: args.robustness.unwrap_or(0),
        setting: setting(
            args,
            &weights,
            &dataset.name,
            test.images().len(),
            steps,
            batch_size,
        ),
    };
    let data = SwapData {
        train: &train,
        test: &test,
        normalisation: (mean, std),
    };
    let build = |replacement: Option<&Replacement>| target.build(replacement);
    let report = study(&build, &options, &data, &mut |what| eprintln!("{what}"))?;
    if let Some(path) = &args.html {
        let page = report.page();
        write_atomically(path, |file| file.write_all(page.as_bytes()))
            .with_context(|| path.display().to_string())?;
    }
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&text(&report))?;
    }
    Ok(Done::Complete)
}

/// Refuses values that no study can have.
fn check(args: &SwapArgs) -> anyhow::Result<()> {
    let strength =
        |flag: &str, values: &[f64]| match values.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            Some(value) => Err(usage(format!("{flag} {value}: must be between 0 and 1"))),
            None => Ok(()),
        };
    strength("--noise", &args.noise)?;
    strength("--fgsm", &args.fgsm)?;
    if let Some(epochs) = args.fine_tune_epochs
        && !(0.0..1e6).contains(&epochs)
    {
        return Err(usage(format!(
            "--fine-tune-epochs {epochs}: must be positive"
        )));
    }
    if args.blend && args.fine_tune_epochs.is_none() && args.fine_tune_steps.is_none() {
        return Err(usage(
            "--blend needs --fine-tune-epochs or --fine-tune-steps",
        ));
    }
    Ok(())
}

/// What the report says about its making.
fn setting(
    args: &SwapArgs,
    weights: &Weights,
    dataset: &str,
    images: usize,
    steps: usize,
    batch_size: usize,
) -> Vec<(String, String)> {
    let mut setting = vec![
        ("weights", weights.path.display().to_string()),
        ("images", format!("{images} test images of {dataset}")),
    ];
    if !args.layers.is_empty() {
        setting.push(("layers", args.layers.join(", ")));
    }
    setting.push(("batch size", batch_size.to_string()));
    setting.push(("seed", args.seed.to_string()));
    if args.recalibrate > 0 {
        let batches = format!("{} training batches", args.recalibrate);
        setting.push(("recalibration", batches));
    }
    if steps > 0 {
        let blend = if args.blend {
            ", blended over the first half"
        } else {
            ""
        };
        let text = format!("{steps} steps, rate {}{blend}", args.lr);
        setting.push(("fine-tuning", text));
    }
    setting.push(("version", env!("CARGO_PKG_VERSION").to_string()));
    let owned = |(name, value): (&str, String)| (name.to_string(), value);
    setting.into_iter().map(owned).collect()
}

/// The network whose activation is swapped.
struct Target<'a> {
    model: &'a str,
    from: Activation,
    num_classes: usize,
    stem: Stem,
    weights: &'a Weights,
}

impl Target<'_> {
    /// Refuses patterns that no activation layer of the network matches.
    fn check_layers(&self, patterns: &[String]) -> anyhow::Result<()> {
        let entry = models::find(self.model).map_err(usage)?;
        let (channels, height, width) = entry.form(self.stem).map_err(usage)?.input;
        let variant = self.build(None)?;
        let image = (1, channels, height, width);
        let image = candle_core::Tensor::zeros(image, DType::F32, device::current()?)?;
        let (_, records) = candle_mish::nn::summarize(|| variant.frozen.forward_t(&image, false))?;
        for pattern in patterns {
            let swap = Swap {
                to: self.from,
                layers: vec![pattern.clone()],
                blend: None,
            };
            let own = self.from.name();
            if !records
                .iter()
                .any(|r| r.kind == own && swap.reaches(&r.path))
            {
                return Err(usage(format!(
                    "--layers {pattern}: {} has no {own} there; `mish models {}` shows its layers",
                    self.model, self.model
                )));
            }
        }
        Ok(())
    }

    fn build(&self, replacement: Option<&Replacement>) -> candle_core::Result<Variant> {
        let options = Options {
            activation: self.from,
            num_classes: self.num_classes,
            stem: self.stem,
            swap: replacement.map(|replacement| Swap {
                to: replacement.to,
                layers: replacement.layers.clone(),
                blend: replacement.blend.clone(),
            }),
            generator: Generator::named(0, "network"),
            ..Options::default()
        };
        let calibrating = Options {
            cumulative_statistics: true,
            ..options.clone()
        };
        let device = device::current();
        let device = device.map_err(|error| candle_core::Error::Msg(format!("{error:#}")))?;
        let store = ParamStore::new(DType::F32, device, 0);
        let create =
            |options, vb| models::create(self.model, options, vb).map_err(candle_core::Error::wrap);
        let model = create(&options, store.var_builder())?;
        let entry = models::find(self.model).map_err(candle_core::Error::wrap)?;
        let tensors = &self.weights.checkpoint.tensors;
        let mut transfer = transfer::load(&*model, entry, &store, tensors)?;
        let report = &mut transfer.report;
        if let Some(replacement) = replacement {
            // What the new activation learns starts anew, what the old one learnt has no place.
            if replacement.to.is_learnable() {
                report.missing.clear();
            }
            if self.from.is_learnable() {
                report.unexpected.clear();
            }
        }
        if !transfer.is_complete() || transfer.fresh_classifier {
            candle_core::bail!(
                "{} does not fit {} with {} classes, {} and the {} stem: {transfer}",
                self.weights.path.display(),
                self.model,
                self.num_classes,
                self.from,
                self.stem
            );
        }
        let frozen = store.frozen();
        Ok(Variant {
            model,
            frozen: create(&options, frozen.var_builder())?,
            calibrating: create(&calibrating, frozen.var_builder())?,
            store,
        })
    }
}

/// The report for a terminal.
fn text(report: &SwapReport) -> String {
    let mut sections = vec![format!(
        "{} with {} in place of {}",
        report.model,
        report
            .rows
            .iter()
            .map(|row| row.activation.as_str())
            .filter(|name| *name != report.from)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", "),
        report.from
    )];
    sections.push(comparison_table(&report.rows));
    if !report.layers.is_empty() {
        let images = report.layers[0].comparison.images;
        let mut table = table(&["layers", "activation", "top-1 change", "agreement", "loss"]);
        for row in &report.layers {
            let c = &row.comparison;
            table.add_row([
                row.layers.clone(),
                row.activation.clone(),
                interval(&c.top1_change, 100.0, 2),
                share(c.agreement.value),
                format!("{:.3}", c.loss.value),
            ]);
        }
        align_right(&mut table, 2);
        let title = format!("One part at a time, zero-shot, on {images} images:");
        sections.push(format!("{title}\n{}", table.trim_fmt()));
    }
    if !report.robustness.is_empty() {
        let images = report.robustness[0].evaluation.images;
        let mut table = table(&["activation", "images", "strength", "top-1", "loss"]);
        for row in &report.robustness {
            table.add_row([
                row.activation.clone(),
                row.disturbance.to_string(),
                format!("{:.4}", row.strength),
                share(row.evaluation.top1),
                format!("{:.3}", row.evaluation.loss),
            ]);
        }
        align_right(&mut table, 2);
        let title = format!(
            "The first {images} images disturbed, after the last stage of each activation:"
        );
        sections.push(format!("{title}\n{}", table.trim_fmt()));
    }
    sections.join("\n\n")
}

fn comparison_table(rows: &[Row]) -> String {
    let mut table = table(&[
        "activation",
        "stage",
        "top-1",
        "95 % interval",
        "change",
        "top-5",
        "loss",
        "ECE",
        "agreement",
        "divergence",
        "logit error",
    ]);
    for row in rows {
        let c = &row.comparison;
        table.add_row([
            row.activation.clone(),
            row.stage.to_string(),
            share(c.top1.value),
            format!("{:.2} to {:.2}", 100.0 * c.top1.low, 100.0 * c.top1.high),
            interval(&c.top1_change, 100.0, 2),
            share(c.top5.value),
            format!("{:.4}", c.loss.value),
            share(c.calibration_error.value),
            share(c.agreement.value),
            format!("{:.4}", c.divergence.value),
            format!("{:.3}", c.logit_error),
        ]);
    }
    align_right(&mut table, 2);
    table.trim_fmt()
}

/// 0.1234 as 12.34 %.
fn share(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

fn interval(estimate: &Estimate, scale: f64, digits: usize) -> String {
    let Estimate { value, low, high } = estimate;
    format!(
        "{:+.digits$} [{:+.digits$}, {:+.digits$}]",
        scale * value,
        scale * low,
        scale * high
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table
}

fn align_right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
