//! Running a study.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Result, Tensor};

use super::approximation::LayerSamples;
use super::correction::{Correction, Corrector};
use super::distillation::Teacher;
use super::fine_tune::{BlendOrder, Blending, FineTune};
use super::logits::{Logits, batches, first_batches, go_on};
use super::options::{SwapData, SwapOptions};
use super::parts::last_of_stages;
use super::report::{Failure, Recovery, RecoveryPoint, Row, Stage, SwapReport};
use super::save::SwapRecord;
use super::variant::{Builder, Variant};
use crate::activation::Activation;
use crate::eval::{Change, Comparison, Evaluation, evaluate};
use crate::nn::{LayerBlends, summarize};
use crate::pattern;

/// Runs the measurements in `options` and reports each one to `progress`. Setting `stop` ends the
/// study with the results so far.
///
/// The network's own activation gets the same recalibration, corrections and training, as a control:
/// it shows the gain from these without another activation.
///
/// If an activation fails, for example because its loss becomes infinite in fine-tuning, the study
/// lists it in [`SwapReport::failures`] and continues with the others.
///
/// # Errors
/// An option is out of range, a network cannot be built (checked before any measurement), or the
/// data or an op fail for the original or the control.
pub fn study(
    build: &Builder,
    options: &SwapOptions,
    data: &SwapData,
    progress: &mut dyn FnMut(&str),
    stop: &AtomicBool,
) -> Result<SwapReport> {
    options.check()?;
    for to in &options.to {
        build(Some(&options.replacement(to, None)))?;
        if options.blends() {
            build(Some(&options.replacement(to, Some(LayerBlends::default()))))?;
        }
    }
    let original = build(None)?;
    let mut report = SwapReport {
        model: options.model.clone(),
        from: options.from.to_string(),
        setting: options.setting.clone(),
        ..SwapReport::default()
    };
    progress("the original");
    let result = Logits::of(&*original.frozen, data.test, stop).and_then(|baseline| {
        let mut study = Study {
            build,
            options,
            data,
            stop,
            progress,
            baseline,
            controls: Controls::default(),
            recalibrated: None,
            report: &mut report,
        };
        study.run(&original)
    });
    report.interrupted = stop.load(Ordering::Relaxed);
    match result {
        Err(error) if !report.interrupted => Err(error),
        _ => Ok(report),
    }
}

pub(super) struct Study<'a> {
    pub build: &'a Builder<'a>,
    pub options: &'a SwapOptions,
    pub data: &'a SwapData<'a>,
    pub stop: &'a AtomicBool,
    pub progress: &'a mut dyn FnMut(&str),
    /// The logits of the original for all test images.
    baseline: Logits,
    pub controls: Controls,
    /// The logits of the present activation with recalibrated statistics.
    recalibrated: Option<Tensor>,
    pub report: &'a mut SwapReport,
}

/// The role of an activation in a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The network's own activation.
    Control,
    /// An activation that replaces it.
    Candidate,
}

/// The logits of the network's own activation, for comparison with the others.
#[derive(Default)]
pub(super) struct Controls {
    stages: HashMap<Stage, Tensor>,
    /// In the order of [`Study::perturb`].
    pub perturbed: Vec<Tensor>,
}

/// What all activations of a study share.
struct Shared<'a> {
    original: &'a Variant,
    /// The paths of the activation layers in the order of the forward pass.
    paths: Vec<String>,
    /// The inputs of each activation layer of the original, if something needs them.
    samples: Vec<LayerSamples>,
    teacher: Option<Teacher<'a>>,
}

/// A network before a training.
struct Start {
    variant: Variant,
    /// The changes of its activations, if the training blends.
    blends: Option<LayerBlends>,
    evaluation: Evaluation,
}

/// What a training learns from.
#[derive(Clone, Copy)]
enum Lesson<'a> {
    Labels,
    Teacher(&'a Teacher<'a>),
}

impl Study<'_> {
    fn run(&mut self, original: &Variant) -> Result<()> {
        let paths = self.activation_layers(original)?;
        let options = self.options;
        let teacher = options.distillation.as_ref();
        let teacher = teacher.map(|distillation| {
            Teacher::new(distillation, &*original.frozen, &last_of_stages(&paths))
        });
        let approximates = options.approximation_pieces > 0;
        let fits = options.corrections.contains(&Correction::Constants);
        let samples = match approximates || fits {
            true => self.samples(original, &paths)?,
            false => Vec::new(),
        };
        let shared = Shared {
            original,
            paths,
            samples,
            teacher,
        };
        self.activation(&options.from, Role::Control, &shared)?;
        for to in &options.to {
            let result = self.activation(to, Role::Candidate, &shared);
            self.keep(to, result)?;
        }
        if let Some(budget) = &options.budget {
            for to in &options.to {
                let result = self.search(to, original, budget);
                self.keep(to, result)?;
            }
        }
        if approximates {
            self.approximate(&shared.samples);
        }
        if options.layer_images > 0 {
            self.layer_by_layer(original)?;
        }
        Ok(())
    }

    /// Returns the error if the study was stopped. Otherwise records it as the failure of `to`.
    pub(super) fn keep(&mut self, to: &Activation, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        if self.stop.load(Ordering::Relaxed) {
            return Err(error);
        }
        self.report.failures.push(Failure {
            activation: to.to_string(),
            error: error.to_string(),
        });
        Ok(())
    }

    /// All measurements of an activation in the chosen layers.
    fn activation(&mut self, to: &Activation, role: Role, shared: &Shared) -> Result<()> {
        let options = self.options;
        let (variant, stage) = match role {
            Role::Control => ((self.build)(None)?, Stage::Original),
            Role::Candidate => (self.fresh(to, role, None)?, Stage::ZeroShot),
        };
        self.recalibrated = None;
        let mut evaluation = self.measure(to, stage, role, &variant)?;
        let has_statistics = !variant.store.buffers().is_empty();
        if options.recalibration_batches > 0 && has_statistics {
            (self.progress)(&format!("{to}: recalibration"));
            self.recalibrate(&variant, options.recalibration_batches)?;
            evaluation = self.measure(to, Stage::Recalibrated, role, &variant)?;
        }
        self.corrections(to, role, shared)?;
        let mut last = None;
        if let (Some(distillation), Some(teacher)) = (&options.distillation, &shared.teacher) {
            let training = &distillation.training;
            let start = self.start(to, role, training, &variant, evaluation)?;
            let lesson = Lesson::Teacher(teacher);
            last = Some(self.train(to, role, training, start, lesson, shared)?);
        }
        if let Some(training) = &options.fine_tune {
            let start = match training.blend.is_some() && role == Role::Candidate {
                true => self.start(to, role, training, &variant, evaluation)?,
                // Not a copy: it continues the random numbers of the recalibration.
                false => Start {
                    variant,
                    blends: None,
                    evaluation,
                },
            };
            last = Some(self.train(to, role, training, start, Lesson::Labels, shared)?);
        } else if last.is_none() {
            last = Some(variant);
        }
        if let Some(last) = last.filter(|_| options.robustness_images > 0) {
            (self.progress)(&format!("{to}: perturbed images"));
            self.perturb(to, role, &*last.frozen)?;
        }
        Ok(())
    }

    /// The corrections, each of a variant of its own.
    fn corrections(&mut self, to: &Activation, role: Role, shared: &Shared) -> Result<()> {
        let options = self.options;
        for correction in &options.corrections {
            let stage = correction.stage();
            (self.progress)(&format!("{to}: {stage}"));
            let variant = if *correction == Correction::Constants {
                // The control keeps its own constants.
                let fitted = match role {
                    Role::Candidate => self.with_constants(to, &shared.samples)?,
                    Role::Control => None,
                };
                let Some(variant) = fitted else { continue };
                variant
            } else {
                let variant = self.fresh(to, role, None)?;
                let corrector = Corrector {
                    original: shared.original,
                    loader: self.data.calibration,
                    batches: options.correction_batches,
                    stop: self.stop,
                };
                corrector.apply(*correction, &variant)?;
                variant
            };
            self.measure(to, stage, role, &variant)?;
        }
        Ok(())
    }

    /// The network with `to`, with the original's weights, or changing to `to` by `blends`.
    fn fresh(&self, to: &Activation, role: Role, blends: Option<LayerBlends>) -> Result<Variant> {
        match role {
            Role::Control => (self.build)(None),
            Role::Candidate => (self.build)(Some(&self.options.replacement(to, blends))),
        }
    }

    /// The network with `to` and the weights of `from`.
    fn copy(&self, to: &Activation, role: Role, from: &Variant) -> Result<Variant> {
        let copy = self.fresh(to, role, None)?;
        copy.store
            .load_tensors(&from.store.tensors().into_iter().collect())?;
        Ok(copy)
    }

    /// The network to train: a copy of `variant`, which has this evaluation, or the original if the
    /// training blends.
    fn start(
        &self,
        to: &Activation,
        role: Role,
        training: &FineTune,
        variant: &Variant,
        evaluation: Evaluation,
    ) -> Result<Start> {
        if training.blend.is_none() || role == Role::Control {
            return Ok(Start {
                variant: self.copy(to, role, variant)?,
                blends: None,
                evaluation,
            });
        }
        let blends = LayerBlends::default();
        let variant = self.fresh(to, role, Some(blends.clone()))?;
        // At this point it has the old activation.
        let evaluation = evaluate(&*variant.frozen, batches(self.data.test, self.stop))?;
        Ok(Start {
            variant,
            blends: Some(blends),
            evaluation,
        })
    }

    /// Trains a network and measures it.
    fn train(
        &mut self,
        to: &Activation,
        role: Role,
        training: &FineTune,
        start: Start,
        lesson: Lesson,
        shared: &Shared,
    ) -> Result<Variant> {
        let Start {
            variant,
            blends,
            evaluation,
        } = start;
        let (data, stop, steps) = (self.data, self.stop, training.steps);
        let (objective, loader, stage) = match lesson {
            Lesson::Labels => (training.labels(&variant), data.train, Stage::FineTuned),
            Lesson::Teacher(teacher) => (
                teacher.objective(&variant),
                data.calibration,
                Stage::Distilled,
            ),
        };
        let order = training.blend.unwrap_or(BlendOrder::AtOnce);
        let blending = blends.map(|blends| Blending {
            blends,
            order,
            paths: &shared.paths,
        });
        let progress = &mut *self.progress;
        let between = training.run(
            &variant,
            loader,
            &*objective,
            blending.as_ref(),
            &|| go_on(stop),
            &mut |step| {
                progress(&format!("{to}: {stage}, step {step} of {steps}"));
                evaluate(&*variant.frozen, batches(data.test, stop))
            },
        )?;
        drop(objective);
        // A blend ends with the new activation; without it, the network is the one of its checkpoint.
        let trained = match &blending {
            Some(_) => self.copy(to, role, &variant)?,
            None => variant,
        };
        let last = self.measure(to, stage, role, &trained)?;
        let point = |step, evaluation| RecoveryPoint { step, evaluation };
        let (first, last) = (point(0, evaluation), point(steps, last));
        self.report.recovery.push(Recovery {
            activation: to.to_string(),
            stage,
            curve: [first].into_iter().chain(between).chain([last]).collect(),
        });
        Ok(trained)
    }

    /// Adds a row, saves the weights, and returns the evaluation.
    fn measure(
        &mut self,
        to: &Activation,
        stage: Stage,
        role: Role,
        variant: &Variant,
    ) -> Result<Evaluation> {
        (self.progress)(&format!("{to}: {stage}"));
        let logits = Logits::of(&*variant.frozen, self.data.test, self.stop)?.logits;
        let labels = &self.baseline.labels;
        let comparison = Comparison::new(&self.baseline.logits, &logits, labels)?;
        let evaluation = Evaluation {
            images: comparison.images,
            top1: comparison.top1.value,
            top5: comparison.top5.value,
            loss: comparison.loss.value,
        };
        let control = match stage {
            Stage::ZeroShot => Stage::Original,
            Stage::FittedConstants => Stage::Recalibrated,
            other => other,
        };
        // Fitted constants without recalibration have no other control.
        let control = match self.controls.stages.contains_key(&control) {
            false if stage == Stage::FittedConstants => Stage::Original,
            _ => control,
        };
        let from_control = match self.controls.stages.get(&control) {
            Some(control) if role == Role::Candidate => {
                Some(Change::new(control, &logits, labels)?)
            }
            _ => None,
        };
        let before = self
            .recalibrated
            .as_ref()
            .filter(|_| stage.follows_recalibration());
        let from_recalibrated = match before {
            Some(before) => Some(Change::new(before, &logits, labels)?),
            None => None,
        };
        let file = match stage {
            Stage::Original => None,
            stage => self.save(to, &stage.to_string(), &self.options.layers, variant)?,
        };
        if stage == Stage::Recalibrated {
            self.recalibrated = Some(logits.clone());
        }
        if role == Role::Control {
            self.controls.stages.insert(stage, logits);
        }
        self.report.rows.push(Row {
            activation: to.to_string(),
            stage,
            comparison,
            from_control,
            from_recalibrated,
            file,
        });
        Ok(evaluation)
    }

    /// Saves the weights of a variant that has `to` in `layers`, if the study saves them.
    pub(super) fn save(
        &self,
        to: &Activation,
        stage: &str,
        layers: &[String],
        variant: &Variant,
    ) -> Result<Option<String>> {
        let options = self.options;
        let Some(save) = &options.save else {
            return Ok(None);
        };
        let record = SwapRecord {
            from: options.from.to_string(),
            to: to.to_string(),
            stage: stage.to_string(),
            layers: layers.to_vec(),
            setting: options.setting.iter().cloned().collect(),
        };
        save.save(&record, variant).map(Some)
    }

    /// Measures the statistics of batch norms again, without changing weights.
    pub(super) fn recalibrate(&self, variant: &Variant, count: usize) -> Result<()> {
        variant.recalibrate(first_batches(self.data.calibration, count, self.stop)?)
    }

    /// The paths of the activation layers to swap, in the order of the forward pass.
    pub(super) fn activation_layers(&self, original: &Variant) -> Result<Vec<String>> {
        let Some(batch) = self.data.test.epoch(0, 0).next() else {
            return Ok(Vec::new());
        };
        let image = batch?.images.narrow(0, 0, 1)?;
        let (_, records) = summarize(|| original.frozen.forward_t(&image, false))?;
        let patterns = &self.options.layers;
        let chosen = |path: &str| {
            patterns.is_empty()
                || patterns
                    .iter()
                    .any(|pattern| pattern::matches(pattern, path))
        };
        let mut seen = BTreeSet::new();
        Ok(records
            .into_iter()
            .filter(|record| record.kind == self.options.from.name() && chosen(&record.path))
            .filter(|record| seen.insert(record.path.clone()))
            .map(|record| record.path)
            .collect())
    }
}
