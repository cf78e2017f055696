//! Running a study.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;

use super::logits::{Logits, batches, go_on};
use super::options::{SwapData, SwapOptions};
use super::parts::parts;
use super::report::{
    Failure, LayerRow, Perturbation, Recovery, RecoveryPoint, Robustness, Row, Stage, SwapReport,
};
use super::robustness::{Perturber, loss_gradient};
use super::variant::{Builder, Replacement, Variant};
use crate::activation::Activation;
use crate::eval::{Change, Comparison, Evaluation, evaluate};
use crate::nn::{Blend, summarize};
use crate::pattern;
use crate::rng::Generator;

/// Runs the measurements in `options` and reports each one to `progress`. Setting `stop` ends the
/// study with the results so far.
///
/// The network's own activation gets the same recalibration and fine-tuning, as a control: it shows
/// the gain from more training without another activation.
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
    let blend = options.fine_tune.as_ref().is_some_and(|tune| tune.blend);
    for to in &options.to {
        build(Some(&options.replacement(to, None)))?;
        if blend {
            build(Some(&options.replacement(to, Some(Blend::default()))))?;
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

struct Study<'a> {
    build: &'a Builder<'a>,
    options: &'a SwapOptions,
    data: &'a SwapData<'a>,
    stop: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&str),
    /// The logits of the original for all test images.
    baseline: Logits,
    controls: Controls,
    report: &'a mut SwapReport,
}

/// The role of an activation in a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The network's own activation.
    Control,
    /// An activation that replaces it.
    Candidate,
}

/// The logits of the network's own activation, for comparison with the others.
#[derive(Default)]
struct Controls {
    stages: HashMap<Stage, Tensor>,
    /// In the order of [`Study::perturb`].
    perturbed: Vec<Tensor>,
}

impl Study<'_> {
    fn run(&mut self, original: &Variant) -> Result<()> {
        self.activation(&self.options.from, Role::Control)?;
        for to in &self.options.to {
            let result = self.activation(to, Role::Candidate);
            self.keep(to, result)?;
        }
        if self.options.layer_images > 0 {
            self.layer_by_layer(original)?;
        }
        Ok(())
    }

    /// Returns the error if the study was stopped. Otherwise records it as the failure of `to`.
    fn keep(&mut self, to: &Activation, result: Result<()>) -> Result<()> {
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
    fn activation(&mut self, to: &Activation, role: Role) -> Result<()> {
        let replacement = |blend| self.options.replacement(to, blend);
        let (variant, stage) = match role {
            Role::Control => ((self.build)(None)?, Stage::Original),
            Role::Candidate => ((self.build)(Some(&replacement(None)))?, Stage::ZeroShot),
        };
        let mut evaluation = self.measure(to, stage, role, &*variant.frozen)?;
        let has_statistics = !variant.store.buffers().is_empty();
        if self.options.recalibration_batches > 0 && has_statistics {
            (self.progress)(&format!("{to}: recalibration"));
            self.recalibrate(&variant)?;
            evaluation = self.measure(to, Stage::Recalibrated, role, &*variant.frozen)?;
        }
        let mut last = variant;
        if let Some(fine_tune) = &self.options.fine_tune {
            let blend = (fine_tune.blend && role == Role::Candidate).then(Blend::default);
            if let Some(blend) = &blend {
                last = (self.build)(Some(&replacement(Some(blend.clone()))))?;
                // At this point it has the old activation.
                evaluation = evaluate(&*last.frozen, batches(self.data.test, self.stop))?;
            }
            let steps = fine_tune.steps;
            let (data, stop, progress) = (self.data, self.stop, &mut *self.progress);
            let between = fine_tune.run(
                &last,
                data.train,
                blend.as_ref(),
                &|| go_on(stop),
                &mut |step| {
                    progress(&format!("{to}: fine-tuning, step {step} of {steps}"));
                    evaluate(&*last.frozen, batches(data.test, stop))
                },
            )?;
            let start = RecoveryPoint {
                step: 0,
                evaluation,
            };
            let end = RecoveryPoint {
                step: steps,
                evaluation: self.measure(to, Stage::FineTuned, role, &*last.frozen)?,
            };
            self.report.recovery.push(Recovery {
                activation: to.to_string(),
                curve: [start].into_iter().chain(between).chain([end]).collect(),
            });
        }
        if self.options.robustness_images > 0 {
            (self.progress)(&format!("{to}: perturbed images"));
            self.perturb(to, role, &*last.frozen)?;
        }
        Ok(())
    }

    /// Adds a row and returns its evaluation.
    fn measure(
        &mut self,
        to: &Activation,
        stage: Stage,
        role: Role,
        frozen: &dyn ModuleT,
    ) -> Result<Evaluation> {
        (self.progress)(&format!("{to}: {stage}"));
        let logits = Logits::of(frozen, self.data.test, self.stop)?.logits;
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
            other => other,
        };
        let from_control = match self.controls.stages.get(&control) {
            Some(control) if role == Role::Candidate => {
                Some(Change::new(control, &logits, labels)?)
            }
            _ => None,
        };
        if role == Role::Control {
            self.controls.stages.insert(stage, logits);
        }
        self.report.rows.push(Row {
            activation: to.to_string(),
            stage,
            comparison,
            from_control,
        });
        Ok(evaluation)
    }

    /// Measures the statistics of batch norms again, without changing weights.
    fn recalibrate(&self, variant: &Variant) -> Result<()> {
        variant.store.reset_statistics()?;
        if self.data.train.batches_per_epoch() == 0 {
            bail!("recalibration: there are no training images");
        }
        let mut left = self.options.recalibration_batches;
        for epoch in 0.. {
            for batch in self.data.train.epoch(epoch, 0) {
                go_on(self.stop)?;
                if left == 0 {
                    return Ok(());
                }
                variant.calibrating.forward_t(&batch?.images, true)?;
                left -= 1;
            }
        }
        Ok(())
    }

    /// Measures clean images, each noise and each attack.
    fn perturb(&mut self, to: &Activation, role: Role, frozen: &dyn ModuleT) -> Result<()> {
        let (options, stop) = (self.options, self.stop);
        let test = self
            .data
            .test
            .sample(options.robustness_images, options.seed);
        let perturber = Perturber::new(self.data.normalisation);
        let generators: Vec<Generator> = options
            .noise
            .iter()
            .map(|strength| Generator::named(options.seed, &format!("noise {strength}")))
            .collect();
        let strengths = |perturbation, strengths: &[f64]| {
            let case = |strength: &f64| (perturbation, *strength);
            strengths.iter().map(case).collect::<Vec<_>>()
        };
        let mut cases = vec![(Perturbation::None, 0.0)];
        cases.extend(strengths(Perturbation::Noise, &options.noise));
        cases.extend(strengths(Perturbation::Fgsm, &options.fgsm));
        let mut logits = vec![Vec::new(); cases.len()];
        let mut labels = Vec::new();
        for batch in batches(&test, stop) {
            let (x, y) = batch?;
            let mut images = vec![x.clone()];
            for (strength, generator) in options.noise.iter().zip(&generators) {
                images.push(perturber.noise(&x, *strength, generator)?);
            }
            if !options.fgsm.is_empty() {
                let gradient = loss_gradient(frozen, &x, &y)?;
                for strength in &options.fgsm {
                    images.push(perturber.step(&x, &gradient, *strength)?);
                }
            }
            for (rows, images) in logits.iter_mut().zip(&images) {
                rows.push(frozen.forward_t(images, false)?.detach());
            }
            labels.extend(y.to_vec1::<u32>()?);
        }
        for (index, ((perturbation, strength), rows)) in cases.into_iter().zip(logits).enumerate() {
            let logits = Tensor::cat(&rows, 0)?;
            let control = match role {
                Role::Control => &logits,
                Role::Candidate => &self.controls.perturbed[index],
            };
            let comparison = Comparison::new(control, &logits, &labels)?;
            self.report.robustness.push(Robustness {
                activation: to.to_string(),
                perturbation,
                strength,
                images: comparison.images,
                top1: comparison.top1,
                loss: comparison.loss,
                from_control: (role == Role::Candidate).then_some(comparison.change),
            });
            if role == Role::Control {
                self.controls.perturbed.push(logits);
            }
        }
        Ok(())
    }

    /// Swaps each activation in one stage and one layer at a time.
    fn layer_by_layer(&mut self, original: &Variant) -> Result<()> {
        let options = self.options;
        let test = self.data.test.sample(options.layer_images, options.seed);
        let baseline = Logits::of(&*original.frozen, &test, self.stop)?;
        let parts = parts(&self.activation_layers(original)?);
        for to in &options.to {
            let result = parts.iter().try_for_each(|layers| {
                (self.progress)(&format!("{to}: {layers} alone"));
                let variant = (self.build)(Some(&Replacement {
                    to: *to,
                    layers: vec![layers.clone()],
                    blend: None,
                }))?;
                let logits = Logits::of(&*variant.frozen, &test, self.stop)?.logits;
                let comparison = Comparison::new(&baseline.logits, &logits, &baseline.labels)?;
                self.report.layers.push(LayerRow {
                    activation: to.to_string(),
                    layers: layers.clone(),
                    comparison,
                });
                Ok(())
            });
            self.keep(to, result)?;
        }
        Ok(())
    }

    /// The paths of the activation layers to swap, in the order of the forward pass.
    fn activation_layers(&self, original: &Variant) -> Result<Vec<String>> {
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
