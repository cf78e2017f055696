//! Activation swaps in networks of the registry.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::data::{DataOptions, DatasetKind, Loader, LoaderConfig, open};
use candle_mish::nn::{LayerBlends, ParamStore};
use candle_mish::swap::{FineTune, Replacement, Stage, SwapData, SwapOptions, SwapReport, study};
use candle_mish::train::Recipe;
use candle_mish_models::swap::Subject;
use candle_mish_models::{ModelSpec, create};

/// Random weights of `name` with this activation.
fn weights(name: &str, activation: Activation) -> HashMap<String, Tensor> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 1);
    let spec = ModelSpec {
        activation,
        ..ModelSpec::new(name)
    };
    create(&spec, store.var_builder()).expect("a network");
    store.tensors().into_iter().collect()
}

fn subject(name: &str, activation: Activation) -> Subject {
    let spec = ModelSpec {
        activation,
        ..ModelSpec::new(name)
    };
    let weights = weights(name, activation);
    Subject::new(spec, weights, 0, &Device::Cpu).expect("a subject")
}

/// Runs the study on synthetic images and reports each stage to `watch`.
fn ask(
    subject: &Subject,
    options: &SwapOptions,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&str),
) -> Result<SwapReport> {
    let set = open(&DataOptions {
        dataset: DatasetKind::Synthetic,
        limit_train: Some(64),
        limit_test: Some(40),
        ..DataOptions::default()
    })
    .map_err(candle_core::Error::wrap)?;
    let loader = |images: &candle_mish::data::ImageSet, train| {
        let config = LoaderConfig::in_order(16, set.mean, set.std);
        Loader::new(
            images.clone(),
            if train { config.shuffled() } else { config },
        )
    };
    let (train, test) = (loader(&set.train, true), loader(&set.test, false));
    let data = SwapData {
        train: &train,
        calibration: &train,
        test: &test,
        normalisation: (set.mean, set.std),
    };
    let build = |replacement: Option<&Replacement>| subject.variant(replacement);
    study(&build, options, &data, watch, stop)
}

fn fine_tune(steps: usize, lr: f64) -> FineTune {
    FineTune {
        steps,
        recipe: Recipe {
            lr,
            ..Recipe::default()
        },
        blend: None,
        evaluations: 1,
    }
}

fn find<'a>(
    report: &'a SwapReport,
    activation: &str,
    stage: Stage,
) -> Vec<&'a candle_mish::swap::Row> {
    let rows = report.rows.iter();
    rows.filter(|row| row.activation == activation && row.stage == stage)
        .collect()
}

#[test]
fn the_own_activation_in_its_own_place_changes_nothing() -> Result<()> {
    let subject = subject("resnet20", Activation::Mish);
    let options = SwapOptions {
        recalibration_batches: 2,
        fine_tune: Some(fine_tune(3, 0.01)),
        layer_images: 8,
        noise: vec![0.1],
        fgsm: vec![0.01],
        robustness_images: 8,
        ..SwapOptions::new("resnet20", Activation::Mish, &[Activation::Mish])
    };
    let report = ask(&subject, &options, &AtomicBool::new(false), &mut |_| {})?;
    assert!(report.failures.is_empty() && !report.interrupted);
    // The control and the swap agree in every stage.
    for stage in [Stage::Recalibrated, Stage::FineTuned] {
        let rows = find(&report, "mish", stage);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].comparison, rows[1].comparison, "{stage}");
        let control = rows[1].from_control.expect("a comparison with the control");
        assert_eq!(
            (control.top1.value, control.loss.value),
            (0.0, 0.0),
            "{stage}"
        );
        assert!(rows[0].comparison.logit_error.value > 0.0, "{stage}");
    }
    let zero_shot = &find(&report, "mish", Stage::ZeroShot)[0].comparison;
    assert_eq!(
        (zero_shot.agreement.value, zero_shot.logit_error.value),
        (1.0, 0.0)
    );
    assert!(
        report
            .layers
            .iter()
            .all(|row| row.comparison.logit_error.value == 0.0)
    );
    let disturbed: Vec<_> = report.robustness.chunks(3).collect();
    for (control, swapped) in disturbed[0].iter().zip(disturbed[1]) {
        assert_eq!((control.top1, control.loss), (swapped.top1, swapped.loss));
    }
    assert_eq!(report.recovery[0].curve, report.recovery[1].curve);
    Ok(())
}

#[test]
fn recalibration_changes_statistics_and_no_weight() -> Result<()> {
    let subject = subject("resnet20", Activation::Relu);
    let to_mish = Replacement::new(Activation::Mish);
    let variant = subject.variant(Some(&to_mish))?;
    let read = |variables: Vec<(String, candle_core::Var)>| -> Result<Vec<(String, Vec<f32>)>> {
        let floats = variables
            .into_iter()
            .filter(|(_, var)| var.dtype().is_float());
        floats
            .map(|(name, var)| Ok((name, var.flatten_all()?.to_vec1()?)))
            .collect()
    };
    let (params, buffers) = (
        read(variant.store.params())?,
        read(variant.store.buffers())?,
    );
    let images = (Tensor::ones((4, 3, 32, 32), DType::F32, &Device::Cpu)? * 0.3)?;
    variant.calibrating.forward_t(&images, true)?;
    assert_eq!(params, read(variant.store.params())?);
    assert_ne!(buffers, read(variant.store.buffers())?);
    Ok(())
}

#[test]
fn one_part_at_a_time_keeps_to_the_chosen_layers() -> Result<()> {
    let subject = subject("resnet20", Activation::Mish);
    let options = SwapOptions {
        layers: vec!["layer2*".to_string()],
        recalibration_batches: 0,
        layer_images: 8,
        ..SwapOptions::new("resnet20", Activation::Mish, &[Activation::Relu])
    };
    let report = ask(&subject, &options, &AtomicBool::new(false), &mut |_| {})?;
    assert_eq!(
        report.layers.len(),
        6,
        "two activations in each of three blocks"
    );
    assert!(
        report
            .layers
            .iter()
            .all(|row| row.layers.starts_with("layer2"))
    );
    assert!(subject.has_activation_at("layer2.0.act1")?);
    assert!(!subject.has_activation_at("layer4*")?);
    Ok(())
}

#[test]
fn what_an_activation_has_learnt_goes_with_it() -> Result<()> {
    let prelu = Activation::PRelu { init: 0.25 };
    let shared = Activation::PReluShared { init: 0.25 };
    let subject = subject("resnet20", prelu);
    let of = |to, layers: &[&str]| {
        subject.variant(Some(&Replacement {
            layers: layers.iter().map(|layer| layer.to_string()).collect(),
            ..Replacement::new(to)
        }))
    };
    let slopes = |variant: candle_mish::swap::Variant| {
        let params = variant.store.params().into_iter();
        let slopes = params.filter(|(name, _)| name.ends_with("act1.weight"));
        slopes.map(|(_, var)| var.elem_count()).collect::<Vec<_>>()
    };
    // One shared slope has the same key as one slope per channel.
    assert!(slopes(of(shared, &[])?).iter().all(|count| *count == 1));
    assert!(slopes(of(Activation::Mish, &[])?).is_empty());
    // The other layers keep their slopes.
    let partly = slopes(of(Activation::Mish, &["layer1*"])?);
    assert_eq!(
        partly,
        [16, 32, 32, 32, 64, 64, 64],
        "the stem's and two stages'"
    );
    // A blend keeps the parameters of the old activation.
    let blended = Replacement {
        blend: Some(LayerBlends::default()),
        ..Replacement::new(Activation::Mish)
    };
    assert_eq!(slopes(subject.variant(Some(&blended))?).len(), 10);
    Ok(())
}

#[test]
fn an_activation_that_fails_leaves_the_others() -> Result<()> {
    let subject = subject("resnet20", Activation::Relu);
    // ELU with this slope overflows within a few layers of training.
    let wild = Activation::Elu { alpha: 1e30 };
    let options = SwapOptions {
        recalibration_batches: 0,
        fine_tune: Some(fine_tune(2, 0.01)),
        ..SwapOptions::new("resnet20", Activation::Relu, &[wild, Activation::Mish])
    };
    let report = ask(&subject, &options, &AtomicBool::new(false), &mut |_| {})?;
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    assert_eq!(report.failures[0].activation, wild.to_string());
    assert!(
        report.failures[0].error.contains("the loss is"),
        "{:?}",
        report.failures
    );
    assert_eq!(find(&report, "mish", Stage::FineTuned).len(), 1);
    assert!(report.page().contains("was not completed"));
    Ok(())
}

#[test]
fn a_stopped_study_tells_what_it_has() -> Result<()> {
    let subject = subject("resnet20", Activation::Relu);
    let options = SwapOptions {
        recalibration_batches: 2,
        ..SwapOptions::new(
            "resnet20",
            Activation::Relu,
            &[Activation::Mish, Activation::Silu],
        )
    };
    let stop = AtomicBool::new(false);
    let told = Cell::new(0);
    let report = ask(&subject, &options, &stop, &mut |what| {
        told.set(told.get() + 1);
        stop.store(what == "mish: recalibrated", Ordering::Relaxed);
    })?;
    assert!(report.interrupted && report.failures.is_empty());
    assert_eq!(find(&report, "mish", Stage::ZeroShot).len(), 1);
    assert!(find(&report, "mish", Stage::Recalibrated).is_empty());
    assert!(find(&report, "silu", Stage::ZeroShot).is_empty());
    assert!(told.get() < 10, "nothing is begun after that");
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_report_and_weights_that_do_not_fit_are_refused() -> Result<()> {
    let subject = subject("resnet20", Activation::Relu);
    let options = SwapOptions {
        recalibration_batches: 1,
        noise: vec![0.1],
        robustness_images: 16,
        ..SwapOptions::new("resnet20", Activation::Relu, &[Activation::Mish])
    };
    let stop = AtomicBool::new(false);
    let report = |options: &SwapOptions| ask(&subject, options, &stop, &mut |_| {});
    let first = report(&options)?;
    assert_eq!(first, report(&options)?);
    let other = report(&SwapOptions {
        seed: 1,
        ..options.clone()
    })?;
    assert_eq!(first.rows, other.rows);
    assert_ne!(first.robustness, other.robustness);

    let mut weights = weights("resnet20", Activation::Relu);
    weights.remove("layer1.0.conv1.weight");
    let network = ModelSpec {
        activation: Activation::Relu,
        ..ModelSpec::new("resnet20")
    };
    let incomplete = Subject::new(network, weights, 0, &Device::Cpu);
    let incomplete = incomplete.map_err(candle_core::Error::wrap)?;
    // Also if the new activation has parameters, which may be missing.
    for to in [None, Some(Activation::PRelu { init: 0.25 })] {
        let replacement = to.map(Replacement::new);
        let Err(error) = incomplete.variant(replacement.as_ref()) else {
            panic!("a convolution is missing")
        };
        let text = error.to_string();
        assert!(text.contains("layer1.0.conv1.weight"), "{text}");
    }
    Ok(())
}
