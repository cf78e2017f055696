//! What another activation does to trained weights.
//!
//! [`study`] puts activations into a network that was trained with another one and measures it:
//! as it is, with batch-norm statistics measured anew, after some training, layer by layer, and
//! on disturbed images.

mod fine_tune;
mod page;
mod report;
mod robustness;

pub use fine_tune::FineTune;
pub use report::{
    Disturbance, LayerRow, Recovery, RecoveryPoint, Robustness, Row, Stage, SwapReport,
};

use std::collections::BTreeSet;

use candle_core::{Result, Tensor, Var};
use candle_nn::ModuleT;

use self::robustness::Disturber;
use super::Comparison;
use crate::activation::Activation;
use crate::data::Loader;
use crate::nn::{Blend, ParamStore, summarize};

/// The network under study with a certain activation, holding the trained weights.
pub struct Variant {
    /// Weights and buffers, of this variant alone.
    pub store: ParamStore,
    /// Built on `store`.
    pub model: Box<dyn ModuleT>,
    /// Built on [`ParamStore::frozen`] of `store`.
    pub frozen: Box<dyn ModuleT>,
    /// As `frozen`, with norms that average the statistics of all batches
    /// ([`BatchNorm2d::with_cumulative_statistics`](crate::nn::BatchNorm2d::with_cumulative_statistics)).
    pub calibrating: Box<dyn ModuleT>,
}

/// Which activation goes where.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The new activation.
    pub to: Activation,
    /// Patterns of the paths of the layers that take it; all if there are none.
    pub layers: Vec<String>,
    /// Goes over gradually if there is one.
    pub blend: Option<Blend>,
}

/// Builds the network with its own activation, or with a replacement.
pub type Builder<'a> = dyn Fn(Option<&Replacement>) -> Result<Variant> + 'a;

/// What to find out.
#[derive(Debug, Clone)]
pub struct SwapOptions {
    /// The network's name, for the report.
    pub model: String,
    /// The activation that it was trained with.
    pub from: Activation,
    /// The activations to put in its place.
    pub to: Vec<Activation>,
    /// The layers that take them, by patterns of their paths; all if there are none.
    pub layers: Vec<String>,
    /// Training batches over which batch-norm statistics are measured anew; 0 leaves this out.
    pub recalibration_batches: usize,
    /// How to train with the new activation, if at all.
    pub fine_tune: Option<FineTune>,
    /// Images for swapping one layer or stage at a time; 0 leaves this out.
    pub layer_images: usize,
    /// Standard deviations of Gaussian noise, in parts of the range of a pixel.
    pub noise: Vec<f64>,
    /// Steps of the fast gradient sign method, in parts of the range of a pixel.
    pub fgsm: Vec<f64>,
    /// Images that are disturbed; 0 leaves this out.
    pub robustness_images: usize,
    /// What was the study made of, for the report: data set, weights, command.
    pub setting: Vec<(String, String)>,
}

/// The images of a study.
pub struct SwapData<'a> {
    /// Training images, shuffled and augmented, for statistics and fine-tuning.
    pub train: &'a Loader,
    /// What everything is measured on, in a fixed order.
    pub test: &'a Loader,
    /// Mean and standard deviation of the channels that the images were normalised with.
    pub normalisation: ([f32; 3], [f32; 3]),
}

/// Measures what `options` ask for; `progress` is told what is being done.
///
/// The network's own activation goes through recalibration and fine-tuning as well: without this
/// control an improvement could not be told from what more training gives anyway.
///
/// # Errors
/// What building, the data or an op report; a loss that is not finite while fine-tuning.
pub fn study(
    build: &Builder,
    options: &SwapOptions,
    data: &SwapData,
    progress: &mut dyn FnMut(&str),
) -> Result<SwapReport> {
    let original = build(None)?;
    progress("the original");
    let baseline = Logits::of(&*original.frozen, data.test, None)?;
    let mut report = SwapReport {
        model: options.model.clone(),
        from: options.from.to_string(),
        setting: options.setting.clone(),
        ..SwapReport::default()
    };
    let mut study = Study {
        build,
        options,
        data,
        baseline,
        report: &mut report,
        progress,
    };
    study.activation(&options.from, true)?;
    for to in &options.to {
        study.activation(to, false)?;
    }
    if options.layer_images > 0 {
        study.layer_by_layer(&original)?;
    }
    Ok(report)
}

struct Study<'a> {
    build: &'a Builder<'a>,
    options: &'a SwapOptions,
    data: &'a SwapData<'a>,
    baseline: Logits,
    report: &'a mut SwapReport,
    progress: &'a mut dyn FnMut(&str),
}

impl Study<'_> {
    /// Everything about one activation in all chosen layers.
    fn activation(&mut self, to: &Activation, own: bool) -> Result<()> {
        let replacement = |blend| Replacement {
            to: *to,
            layers: self.options.layers.clone(),
            blend,
        };
        let variant = match own {
            true => (self.build)(None)?,
            false => (self.build)(Some(&replacement(None)))?,
        };
        let stage = if own {
            Stage::Original
        } else {
            Stage::ZeroShot
        };
        self.measure(to, stage, &*variant.frozen)?;
        let has_statistics = !variant.store.buffers().is_empty();
        if self.options.recalibration_batches > 0 && has_statistics {
            (self.progress)(&format!("{to}: recalibration"));
            self.recalibrate(&variant)?;
            self.measure(to, Stage::Recalibrated, &*variant.frozen)?;
        }
        let mut last = variant;
        if let Some(fine_tune) = &self.options.fine_tune {
            let blend = (fine_tune.blend && !own).then(Blend::default);
            if let Some(blend) = &blend {
                last = (self.build)(Some(&replacement(Some(blend.clone()))))?;
            }
            let (data, progress) = (self.data, &mut *self.progress);
            let curve = fine_tune.run(&last, data.train, blend.as_ref(), &mut |step, steps| {
                progress(&format!("{to}: fine-tuning, step {step} of {steps}"));
                super::evaluate(&*last.frozen, batches(data.test, None))
            })?;
            self.report.recovery.push(Recovery {
                activation: to.to_string(),
                curve,
            });
            self.measure(to, Stage::FineTuned, &*last.frozen)?;
        }
        if self.options.robustness_images > 0 {
            (self.progress)(&format!("{to}: disturbed images"));
            self.disturb(to, &*last.frozen)?;
        }
        Ok(())
    }

    fn measure(&mut self, to: &Activation, stage: Stage, frozen: &dyn ModuleT) -> Result<()> {
        (self.progress)(&format!("{to}: {stage}"));
        let logits = Logits::of(frozen, self.data.test, None)?;
        let labels = &self.baseline.labels;
        let comparison = Comparison::new(&self.baseline.logits, &logits.logits, labels)?;
        self.report.rows.push(Row {
            activation: to.to_string(),
            stage,
            comparison,
        });
        Ok(())
    }

    /// Measures the statistics of batch norms anew; weights stay as they are.
    fn recalibrate(&self, variant: &Variant) -> Result<()> {
        for (name, buffer) in variant.store.buffers() {
            if name.ends_with("num_batches_tracked") {
                buffer.set(&buffer.as_detached_tensor().zeros_like()?)?;
            }
        }
        let mut left = self.options.recalibration_batches;
        for epoch in 0.. {
            for batch in self.data.train.epoch(epoch, 0) {
                if left == 0 {
                    return Ok(());
                }
                variant.calibrating.forward_t(&batch?.images, true)?;
                left -= 1;
            }
            if self.data.train.batches_per_epoch() == 0 {
                candle_core::bail!("recalibration: there are fewer training images than a batch");
            }
        }
        Ok(())
    }

    fn disturb(&mut self, to: &Activation, frozen: &dyn ModuleT) -> Result<()> {
        let images = self.options.robustness_images;
        let clean = super::evaluate(frozen, batches(self.data.test, Some(images)))?;
        let mut rows = vec![(Disturbance::None, 0.0, clean)];
        let disturber = Disturber::new(self.data.normalisation);
        for strength in &self.options.noise {
            let disturbed = batches(self.data.test, Some(images))
                .enumerate()
                .map(|(i, batch)| {
                    let (x, labels) = batch?;
                    Ok((disturber.noise(&x, *strength, i as u64)?, labels))
                });
            let found = super::evaluate(frozen, disturbed)?;
            rows.push((Disturbance::Noise, *strength, found));
        }
        for strength in &self.options.fgsm {
            let disturbed = batches(self.data.test, Some(images)).map(|batch| {
                let (x, labels) = batch?;
                Ok((disturber.fgsm(frozen, &x, &labels, *strength)?, labels))
            });
            let found = super::evaluate(frozen, disturbed)?;
            rows.push((Disturbance::Fgsm, *strength, found));
        }
        for (disturbance, strength, evaluation) in rows {
            self.report.robustness.push(Robustness {
                activation: to.to_string(),
                disturbance,
                strength,
                evaluation,
            });
        }
        Ok(())
    }

    /// Puts each activation into one stage and one layer at a time.
    fn layer_by_layer(&mut self, original: &Variant) -> Result<()> {
        let images = self.options.layer_images;
        let baseline = Logits::of(&*original.frozen, self.data.test, Some(images))?;
        let paths = self.activation_layers(original)?;
        for to in &self.options.to {
            for layers in parts(&paths) {
                (self.progress)(&format!("{to}: {layers} alone"));
                let variant = (self.build)(Some(&Replacement {
                    to: *to,
                    layers: vec![layers.clone()],
                    blend: None,
                }))?;
                let logits = Logits::of(&*variant.frozen, self.data.test, Some(images))?;
                self.report.layers.push(LayerRow {
                    activation: to.to_string(),
                    layers,
                    comparison: Comparison::new(
                        &baseline.logits,
                        &logits.logits,
                        &baseline.labels,
                    )?,
                });
            }
        }
        Ok(())
    }

    /// The paths of the activations that may be swapped, in the order of their use.
    fn activation_layers(&self, original: &Variant) -> Result<Vec<String>> {
        let Some(batch) = self.data.test.epoch(0, 0).next() else {
            return Ok(Vec::new());
        };
        let image = batch?.images.narrow(0, 0, 1)?;
        let (_, records) = summarize(|| original.frozen.forward_t(&image, false))?;
        let mut seen = BTreeSet::new();
        let is_activation = |kind: &str| Activation::all().any(|a| a.name() == kind);
        Ok(records
            .into_iter()
            .filter(|record| is_activation(record.kind) && record.kind == self.options.from.name())
            .filter(|record| seen.insert(record.path.clone()))
            .map(|record| record.path)
            .collect())
    }
}

/// Stages (`layer1.*`) with more than one of the layers, and then the layers.
fn parts(paths: &[String]) -> Vec<String> {
    let stage = |path: &String| path.split_once('.').map(|(stage, _)| format!("{stage}.*"));
    let mut stages: Vec<String> = paths.iter().filter_map(stage).collect();
    stages.dedup();
    stages.retain(|s| {
        paths
            .iter()
            .filter(|p| stage(p).as_ref() == Some(s))
            .count()
            > 1
    });
    stages.extend(paths.iter().cloned());
    stages
}

/// Images and labels of the test set, or of its first batches with at least `images`.
fn batches(
    loader: &Loader,
    images: Option<usize>,
) -> impl Iterator<Item = Result<(Tensor, Tensor)>> {
    let mut left = images.unwrap_or(usize::MAX);
    loader.epoch(0, 0).map_while(move |batch| {
        if left == 0 {
            return None;
        }
        Some(batch.and_then(|batch| {
            let count = batch.labels.elem_count().min(left);
            left -= count;
            Ok((
                batch.images.narrow(0, 0, count)?,
                batch.labels.narrow(0, 0, count)?,
            ))
        }))
    })
}

/// A network's answers to all images.
struct Logits {
    /// [N, classes]
    logits: Tensor,
    labels: Vec<u32>,
}

impl Logits {
    fn of(frozen: &dyn ModuleT, loader: &Loader, images: Option<usize>) -> Result<Self> {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for batch in batches(loader, images) {
            let (x, y) = batch?;
            rows.push(frozen.forward_t(&x, false)?.detach());
            labels.extend(y.to_vec1::<u32>()?);
        }
        if rows.is_empty() {
            candle_core::bail!("there are no test images");
        }
        Ok(Self {
            logits: Tensor::cat(&rows, 0)?,
            labels,
        })
    }
}

/// A tensor that gradients are wanted of.
fn variable(x: &Tensor) -> Result<Var> {
    Var::from_tensor(&x.detach())
}
