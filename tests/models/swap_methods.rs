//! Corrections, distillation, the search within a budget, and saved variants.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::activation::{Activation, LayerActivations};
use candle_mish::checkpoint;
use candle_mish::data::{ImageSet, Loader, LoaderConfig};
use candle_mish::nn::{ObservedLayer, ParamStore, input_of};
use candle_mish::swap::{
    BlendOrder, Budget, Correction, Distillation, FineTune, Replacement, Row, SWAP, SaveOptions,
    Stage, SwapData, SwapOptions, SwapRecord, SwapReport, Variant, study,
};
use candle_mish::train::Recipe;
use candle_mish_models::swap::Subject;
use candle_mish_models::weights::Weights;
use candle_mish_models::{ModelArgs, ModelSpec, create};

/// A small network with random weights and statistics of its own images.
fn subject(activation: Activation) -> Result<Subject> {
    subject_of("resnet20", activation)
}

fn subject_of(name: &str, activation: Activation) -> Result<Subject> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 1);
    let spec = ModelSpec {
        activation,
        ..ModelSpec::new(name)
    };
    let network = create(&spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    for batch in loaders()?.0.epoch(0, 0) {
        network.forward_t(&batch?.images, true)?;
    }
    let weights: HashMap<_, _> = store.tensors().into_iter().collect();
    Subject::new(spec, weights, 0, &Device::Cpu).map_err(candle_core::Error::wrap)
}

/// Training and test images of 8x8 pixels, in batches of 16.
fn loaders() -> Result<(Loader, Loader)> {
    let set = |seed: u64, images: usize| {
        let bytes = 0..(images * 3 * 8 * 8) as u64;
        // The high bits of a multiplicative hash.
        let pixel = |i: u64| ((i + seed * 100_003).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        let pixels = bytes.map(pixel).collect();
        let labels = (0..images).map(|i| (i * 7 % 100) as u32).collect();
        ImageSet::new(pixels, 8, 8, labels, None).map_err(candle_core::Error::wrap)
    };
    let config = LoaderConfig::in_order(16, [0.5; 3], [0.3; 3]);
    let train = Loader::new(set(1, 48)?, config.clone().shuffled());
    Ok((train, Loader::new(set(2, 32)?, config)))
}

fn run(subject: &Subject, options: &SwapOptions) -> Result<SwapReport> {
    let (train, test) = loaders()?;
    let data = SwapData {
        train: &train,
        calibration: &train,
        test: &test,
        normalisation: ([0.0; 3], [1.0; 3]),
    };
    let build = |replacement: Option<&Replacement>| subject.variant(replacement);
    study(&build, options, &data, &mut |_| {}, &AtomicBool::new(false))
}

fn saving(folder: &Path, options: SwapOptions) -> SwapOptions {
    SwapOptions {
        save: Some(SaveOptions {
            folder: folder.to_path_buf(),
            metadata: Default::default(),
        }),
        ..options
    }
}

fn row<'a>(report: &'a SwapReport, activation: &str, stage: Stage) -> &'a Row {
    let mut rows = report.rows.iter();
    let found = rows.find(|row| row.activation == activation && row.stage == stage);
    found.unwrap_or_else(|| panic!("{activation} {stage}"))
}

/// The network that a saved file describes, with its weights.
fn load(file: &str) -> Result<(ModelSpec, Variant)> {
    let weights = Weights::read(file.as_ref()).map_err(candle_core::Error::wrap)?;
    let (spec, notes) = weights
        .spec(&ModelArgs::default())
        .map_err(candle_core::Error::wrap)?;
    assert!(notes.is_empty(), "{notes:?}");
    let tensors = weights.checkpoint.tensors.clone();
    let subject = Subject::new(spec.clone(), tensors, 0, &Device::Cpu);
    let variant = subject.map_err(candle_core::Error::wrap)?.variant(None)?;
    Ok((spec, variant))
}

/// The mean of each channel of the input of a layer over the training images.
fn means(variant: &Variant, of: ObservedLayer, path: &str, batches: usize) -> Result<Vec<f64>> {
    let mut images = Vec::new();
    for batch in loaders()?.0.epoch(0, 0).take(batches) {
        images.push(batch?.images);
    }
    let images = Tensor::cat(&images, 0)?;
    let x = input_of(of, path, || variant.frozen.forward_t(&images, false))?;
    x.to_dtype(DType::F64)?.mean((0, 2, 3))?.to_vec1()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

fn values(variant: &Variant, name: &str) -> Result<Vec<f64>> {
    let tensors = variant.store.tensors();
    let tensor = tensors.iter().find(|(own, _)| own == name);
    let (_, tensor) = tensor.unwrap_or_else(|| panic!("{name}"));
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

fn training(steps: usize, blend: Option<BlendOrder>) -> FineTune {
    FineTune {
        steps,
        recipe: Recipe {
            lr: 0.02,
            ..Recipe::default()
        },
        blend,
        evaluations: 0,
    }
}

#[test]
fn corrections_fit_the_original_and_are_saved() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let subject = subject(Activation::Relu)?;
    let corrections = [
        Correction::LayerWise,
        Correction::Bias,
        Correction::ScaleShift,
    ];
    let options = SwapOptions {
        recalibration_batches: 3,
        corrections: corrections.to_vec(),
        correction_batches: 3,
        ..SwapOptions::new(
            "resnet20",
            Activation::Relu,
            &[Activation::Elu { alpha: 1.0 }],
        )
    };
    let report = run(&subject, &saving(folder.path(), options))?;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let file = |stage| row(&report, "elu", stage).file.clone().expect("a file");
    let original = subject.variant(None)?;

    let (spec, layer_wise) = load(&file(Stage::LayerWise))?;
    assert_eq!(spec.activation, Activation::Elu { alpha: 1.0 });
    // The statistics are those of the norm's input in evaluation mode, which the batch statistics of
    // recalibration are not.
    let norm = "layer2.1.bn2";
    let mean = values(&layer_wise, &format!("{norm}.running_mean"))?;
    let own = means(&layer_wise, ObservedLayer::BatchNorm, norm, 3)?;
    assert!(largest_difference(&mean, &own) < 1e-5);
    let (_, recalibrated) = load(&file(Stage::Recalibrated))?;
    let own = means(&recalibrated, ObservedLayer::BatchNorm, norm, 3)?;
    let mean = values(&recalibrated, &format!("{norm}.running_mean"))?;
    assert!(largest_difference(&mean, &own) > 1e-4);

    // Bias correction: the means of the original, after a residual sum too.
    let (_, corrected) = load(&file(Stage::BiasCorrected))?;
    for path in ["layer1.0.act2", "layer3.2.act2"] {
        let of = |variant| means(variant, ObservedLayer::Activation, path, 3);
        let (old, new) = (of(&original)?, of(&corrected)?);
        assert!(largest_difference(&old, &new) < 1e-4, "{path}");
        assert!(
            largest_difference(&old, &of(&recalibrated)?) > 1e-3,
            "{path}"
        );
    }
    let error = |stage| row(&report, "elu", stage).comparison.logit_error.value;
    assert!(error(Stage::BiasCorrected) < error(Stage::Recalibrated));
    assert!(error(Stage::ScaleShift) < error(Stage::Recalibrated));
    let (_, fitted) = load(&file(Stage::ScaleShift))?;
    let weight = "layer1.0.conv2.weight";
    assert_ne!(values(&fitted, weight)?, values(&original, weight)?);
    assert_eq!(values(&corrected, weight)?, values(&original, weight)?);

    // Layer-wise statistics change no weight.
    for name in [weight, "layer1.0.bn1.bias", "fc.bias"] {
        assert_eq!(
            values(&layer_wise, name)?,
            values(&original, name)?,
            "{name}"
        );
    }
    let compared = |stage| row(&report, "elu", stage).from_recalibrated.is_some();
    assert!(compared(Stage::BiasCorrected) && !compared(Stage::Recalibrated));
    Ok(())
}

#[test]
fn every_kind_of_network_is_corrected() -> Result<()> {
    for name in ["mobilenetv2_100", "resnetv2_20", "squeezenet1_1"] {
        let subject = subject_of(name, Activation::Relu)?;
        let options = SwapOptions {
            recalibration_batches: 1,
            corrections: vec![Correction::Bias, Correction::ScaleShift],
            correction_batches: 1,
            ..SwapOptions::new(name, Activation::Relu, &[Activation::Mish])
        };
        let report = run(&subject, &options)?;
        assert!(report.failures.is_empty(), "{name}: {:?}", report.failures);
        let error = row(&report, "mish", Stage::ScaleShift)
            .comparison
            .logit_error
            .value;
        assert!(error.is_finite(), "{name}");
    }
    Ok(())
}

#[test]
fn constants_are_fitted_to_each_layer_and_recorded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let subject = subject(Activation::Mish)?;
    let leaky = Activation::LeakyRelu { slope: 0.01 };
    let options = SwapOptions {
        recalibration_batches: 2,
        corrections: vec![Correction::Constants],
        correction_batches: 2,
        approximation_pieces: 3,
        ..SwapOptions::new("resnet20", Activation::Mish, &[leaky, Activation::Relu])
    };
    let report = run(&subject, &saving(folder.path(), options))?;
    let fitted = row(&report, "leaky_relu", Stage::FittedConstants);
    let stages = report
        .rows
        .iter()
        .filter(|row| row.stage == Stage::FittedConstants);
    assert_eq!(stages.count(), 1, "ReLU has no constants");
    assert!(
        fitted.from_control.is_some(),
        "compared with the recalibrated control"
    );
    let (spec, _) = load(fitted.file.as_deref().expect("a file"))?;
    assert_eq!(spec.activation, leaky);
    assert_eq!(spec.layer_activations.iter().count(), 19);
    let slope = match spec.layer_activations.get("layer3.0.act1") {
        Some(Activation::LeakyRelu { slope }) => slope,
        other => panic!("{other:?}"),
    };
    assert!((0.05..0.5).contains(&slope), "{slope}");
    let names: Vec<&str> = report
        .approximations
        .iter()
        .map(|row| row.name.as_str())
        .collect();
    let expected = [
        "leaky_relu",
        "relu",
        "hard_swish",
        "hard_mish",
        "2 straight lines",
        "3 straight lines",
    ];
    assert_eq!(names, expected);
    let error = |index: usize| report.approximations[index].relative_error;
    assert!(error(5) < error(4) && error(4) < error(1));
    Ok(())
}

#[test]
fn saved_layers_have_their_activation_and_the_header_says_what_was_done() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let subject = subject(Activation::Relu)?;
    let options = SwapOptions {
        layers: vec!["layer3.*".to_string()],
        recalibration_batches: 1,
        ..SwapOptions::new("resnet20", Activation::Relu, &[Activation::Mish])
    };
    let report = run(&subject, &saving(folder.path(), options))?;
    let recalibrated = row(&report, "mish", Stage::Recalibrated);
    let file = recalibrated.file.as_deref().expect("a file");
    let (spec, variant) = load(file)?;
    let expected: LayerActivations = "layer3.*=mish".parse().expect("layers");
    assert_eq!(
        (spec.activation, &spec.layer_activations),
        (Activation::Relu, &expected)
    );
    let mut logits = Vec::new();
    for batch in loaders()?.1.epoch(0, 0) {
        let batch = batch?;
        let own = variant.frozen.forward_t(&batch.images, false)?;
        logits.push((own, batch.labels));
    }
    let evaluation = candle_mish::eval::evaluate(
        &Outputs(logits.iter().map(|(own, _)| own.clone()).collect()),
        logits
            .iter()
            .enumerate()
            .map(|(i, (_, labels))| Ok((Tensor::new(i as u32, &Device::Cpu)?, labels.clone()))),
    )?;
    let expected = &recalibrated.comparison;
    assert_eq!(
        (evaluation.top1, evaluation.top5, evaluation.loss),
        (
            expected.top1.value,
            expected.top5.value,
            expected.loss.value
        )
    );
    let header = checkpoint::read(file.as_ref())
        .map_err(candle_core::Error::wrap)?
        .metadata;
    let record: SwapRecord = serde_json::from_str(&header[SWAP]).expect("a record");
    assert_eq!((record.from.as_str(), record.to.as_str()), ("relu", "mish"));
    assert_eq!(
        (record.stage.as_str(), record.layers),
        ("recalibrated", vec!["layer3.*".into()])
    );
    assert!(row(&report, "relu", Stage::Original).file.is_none());
    Ok(())
}

/// A network that has computed its outputs already: the image is their number.
struct Outputs(Vec<Tensor>);

impl candle_nn::ModuleT for Outputs {
    fn forward_t(&self, images: &Tensor, _train: bool) -> Result<Tensor> {
        Ok(self.0[images.to_scalar::<u32>()? as usize].clone())
    }
}

#[test]
fn distillation_brings_the_outputs_closer_and_needs_no_labels() -> Result<()> {
    let subject = subject(Activation::Relu)?;
    let mish = [Activation::Mish];
    let report = |feature_weight: f64, blend: Option<BlendOrder>| {
        let options = SwapOptions {
            recalibration_batches: 2,
            distillation: Some(Distillation {
                training: training(6, blend),
                temperature: 4.0,
                feature_weight,
            }),
            ..SwapOptions::new("resnet20", Activation::Relu, &mish)
        };
        run(&subject, &options)
    };
    let logits = report(0.0, None)?;
    assert!(logits.failures.is_empty(), "{:?}", logits.failures);
    let divergence =
        |report: &SwapReport, stage| row(report, "mish", stage).comparison.divergence.value;
    let before = divergence(&logits, Stage::Recalibrated);
    assert!(divergence(&logits, Stage::Distilled) < before);
    assert_eq!(
        logits,
        report(0.0, None)?,
        "the teacher's cached outputs change nothing"
    );
    let features = report(1.0, None)?;
    assert!(divergence(&features, Stage::Distilled) < before);
    assert_ne!(
        divergence(&logits, Stage::Distilled),
        divergence(&features, Stage::Distilled)
    );
    // A blend starts with the original's outputs.
    let blended = report(0.0, Some(BlendOrder::LayerByLayer))?;
    let curve = &blended.recovery[1].curve;
    assert_eq!(blended.recovery[1].stage, Stage::Distilled);
    let original = row(&blended, "relu", Stage::Original).comparison.loss.value;
    assert!((curve[0].evaluation.loss - original).abs() < 1e-5);
    assert_ne!(
        blended.recovery[1].curve,
        report(0.0, Some(BlendOrder::AtOnce))?.recovery[1].curve
    );
    Ok(())
}

#[test]
fn a_blended_network_is_saved_as_the_new_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let subject = subject(Activation::PRelu { init: 0.25 })?;
    let options = SwapOptions {
        recalibration_batches: 0,
        fine_tune: Some(training(2, Some(BlendOrder::AtOnce))),
        ..SwapOptions::new(
            "resnet20",
            Activation::PRelu { init: 0.25 },
            &[Activation::Mish],
        )
    };
    let report = run(&subject, &saving(folder.path(), options))?;
    let tuned = row(&report, "mish", Stage::FineTuned);
    let (spec, variant) = load(tuned.file.as_deref().expect("a file"))?;
    assert_eq!(spec.activation, Activation::Mish);
    assert!(
        variant
            .store
            .tensors()
            .iter()
            .all(|(name, _)| !name.contains("act"))
    );
    Ok(())
}

#[test]
fn a_search_keeps_to_its_budget() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let subject = subject(Activation::Relu)?;
    let search = |points: f64| {
        let options = SwapOptions {
            layers: vec!["layer1.*".to_string()],
            recalibration_batches: 0,
            budget: Some(Budget {
                points,
                images: 16,
                recalibration_batches: 1,
            }),
            ..SwapOptions::new("resnet20", Activation::Relu, &[Activation::Mish])
        };
        run(&subject, &saving(folder.path(), options))
    };
    // Any loss is allowed: all six layers, 6 + 5 + 4 + 3 + 2 + 1 measurements.
    let all = search(100.0)?;
    let found = &all.budgets[0];
    assert_eq!((found.chosen.len(), found.evaluations), (6, 21));
    assert_eq!(
        found.held_out.as_ref().map(|held_out| held_out.images),
        Some(16)
    );
    let file = found.file.as_deref().expect("a file");
    assert!(file.ends_with("mish-within-budget.safetensors"), "{file}");
    let (spec, _) = load(file)?;
    assert_eq!(spec.layer_activations.iter().count(), 6);
    // Each round takes the layer that changes the outputs least.
    let divergences = found
        .curve
        .iter()
        .map(|step| step.comparison.divergence.value);
    let divergences: Vec<f64> = divergences.collect();
    assert!(divergences[0] < divergences[5], "{divergences:?}");
    let text = all.findings().join("\n");
    assert!(
        text.contains("mish fits in 6 layers within a budget of 100 points"),
        "{text}"
    );
    // The search ends with the first layer that exceeds the budget.
    let none = search(0.0)?;
    let found = &none.budgets[0];
    for (index, step) in found.curve.iter().enumerate() {
        let within = step.comparison.change.top1.value >= 0.0;
        assert_eq!(within, index < found.chosen.len(), "{index}");
    }
    Ok(())
}
