//! Averages of weights against timm's and PyTorch's, and in runs that are interrupted.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::checkpoint;
use candle_mish::nn::{BatchNorm2d, Conv2dConfig, ParamStore, batch_norm2d, conv2d, linear};
use candle_mish::ops::composed;
use candle_mish::train::run_folder::{BEST, BEST_EMA, LAST, LAST_EMA, SWA};
use candle_mish::train::{Ema, Outcome, Recipe, Record, ScheduleKind, Swa, TrainError};
use candle_nn::ModuleT;
use serde_json::Value;

use crate::trainer::{Session, metrics, timeless};

/// Made by `tests/reference/averages.py`.
const REFERENCE: &str = include_str!("../reference/averages.json");

const STEPS: u64 = 30;

fn reference() -> Value {
    serde_json::from_str(REFERENCE).expect("valid JSON")
}

/// The tensors of the reference's network.
fn network(dtype: DType) -> Result<ParamStore> {
    let store = ParamStore::new(dtype, &Device::Cpu, 0);
    let vb = store.var_builder();
    let conv = Conv2dConfig::same(2).padding(0).bias(true);
    conv2d(2, 3, conv, vb.pp("conv"))?;
    batch_norm2d(3, vb.pp("bn"))?;
    linear(3, 2, vb.pp("fc"))?;
    Ok(store)
}

/// PyTorch's order of the tensors, which the formula depends on.
const ORDER: [&str; 9] = [
    "conv.weight",
    "conv.bias",
    "bn.weight",
    "bn.bias",
    "bn.running_mean",
    "bn.running_var",
    "bn.num_batches_tracked",
    "fc.weight",
    "fc.bias",
];

/// Sets the values after update `step`, counted from 1; 0 is the start.
fn set(store: &ParamStore, step: u64) -> Result<()> {
    let vars = store.params().into_iter().chain(store.buffers());
    for (name, var) in vars {
        let n = ORDER.iter().position(|other| *other == name);
        let n = n.expect("a known name") as f64;
        let values: Vec<f64> = (0..var.elem_count())
            .map(|i| match var.dtype() {
                DType::I64 => step as f64,
                _ => (2.0 * i as f64 + n + step as f64 / 3.0).cos() + 1.5,
            })
            .collect();
        let values = Tensor::from_vec(values, var.shape(), &Device::Cpu)?;
        var.set(&values.to_dtype(var.dtype())?)?;
    }
    Ok(())
}

/// The largest distance from the reference, relative to the value.
fn distance(tensors: Vec<(String, Tensor)>, expected: &Value) -> Result<f64> {
    let expected: BTreeMap<String, Vec<f64>> =
        serde_json::from_value(expected.clone()).expect("values");
    assert_eq!(tensors.len(), expected.len());
    let mut most = 0f64;
    for (name, tensor) in tensors {
        let values: Vec<f64> = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        assert_eq!(values.len(), expected[&name].len(), "{name}");
        for (value, expected) in values.iter().zip(&expected[&name]) {
            most = most.max((value - expected).abs() / expected.abs());
        }
    }
    Ok(most)
}

#[test]
fn an_exponential_moving_average_is_timms() -> Result<()> {
    let reference = reference();
    let check = |dtype, bound: f64| -> Result<()> {
        for case in reference["ema"].as_array().expect("cases") {
            let settings = &case["settings"];
            let decay = settings["decay"].as_f64().expect("a decay");
            let warmup = settings["use_warmup"].as_bool().unwrap_or(false);
            let store = network(dtype)?;
            set(&store, 0)?;
            let ema = Ema::new(&store, decay, warmup)?;
            for step in 1..=STEPS {
                set(&store, step)?;
                ema.update(step)?;
                let expected = case["decays"][step as usize - 1].as_f64();
                let expected = expected.expect("a decay");
                assert!(
                    (ema.decay_at(step) - expected).abs() < 1e-12,
                    "{settings} {step}"
                );
            }
            let found = distance(ema.tensors(), &case["values"])?;
            assert!(found < bound, "{settings} {dtype:?}: {found:.1e}");
        }
        Ok(())
    };
    check(DType::F64, 1e-8)?;
    check(DType::F32, 1e-6)?;
    // As on other devices.
    composed::everywhere(|| check(DType::F64, 1e-8))
}

#[test]
fn a_mean_of_epochs_is_pytorchs() -> Result<()> {
    let reference = reference();
    for case in reference["swa"].as_array().expect("cases") {
        let [start, epochs] = ["start", "epochs"].map(|key| case[key].as_u64().expect("a number"));
        for (dtype, bound) in [(DType::F64, 1e-8), (DType::F32, 1e-6)] {
            let store = network(dtype)?;
            set(&store, 0)?;
            let swa = Swa::new(&store, start as usize, None, 10)?;
            for epoch in 1..=epochs {
                set(&store, epoch)?;
                swa.add(epoch as usize)?;
            }
            let found = distance(swa.tensors(), &case["values"])?;
            assert!(found < bound, "from {start} {dtype:?}: {found:.1e}");
        }
    }
    Ok(())
}

#[test]
fn the_rate_anneals_as_in_swalr() -> Result<()> {
    const STEPS_PER_EPOCH: usize = 3;
    let reference = reference();
    for case in reference["rates"].as_array().expect("cases") {
        let settings = &case["settings"];
        let number = |key: &str| settings[key].as_u64().expect("a number") as usize;
        let (start, epochs) = (number("swa_start"), number("epochs"));
        let lr = settings["swa_lr"].as_f64();
        let anneal = case["anneal"].as_u64().expect("a number") as usize;
        let swa = Swa::new(&network(DType::F32)?, start, lr, anneal)?;
        // PyTorch's cosine, by epochs.
        let cosine = |step: u64| {
            let epoch = (step as usize / STEPS_PER_EPOCH) as f64;
            0.2 * (1.0 + (std::f64::consts::PI * epoch / epochs as f64).cos())
        };
        for (epoch, expected) in case["rates"].as_array().expect("rates").iter().enumerate() {
            for step in epoch * STEPS_PER_EPOCH..(epoch + 1) * STEPS_PER_EPOCH {
                let own = swa.lr(step as u64, STEPS_PER_EPOCH, cosine);
                let rate = own.unwrap_or_else(|| cosine(step as u64));
                let expected = expected.as_f64().expect("a rate");
                assert!(
                    (rate - expected).abs() < 1e-12,
                    "{settings} {epoch}: {rate}"
                );
                assert_eq!(own.is_some(), epoch + 1 >= start, "{settings} {epoch}");
            }
        }
    }
    Ok(())
}

#[test]
fn calibration_is_pytorchs() -> Result<()> {
    let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
    let norm: BatchNorm2d = batch_norm2d(2, store.var_builder().pp("0"))?;
    let norm = norm.with_cumulative_statistics();
    for (_, buffer) in store.buffers() {
        let other = (buffer.as_detached_tensor() + 3.0)?;
        buffer.set(&other)?;
    }
    store.reset_statistics()?;
    for size in [4usize, 2, 3] {
        let values: Vec<f64> = (0..size * 8)
            .map(|i| (3.0 * i as f64 + size as f64).sin() + size as f64)
            .collect();
        norm.forward_t(
            &Tensor::from_vec(values, (size, 2, 2, 2), &Device::Cpu)?,
            true,
        )?;
    }
    let buffers = store.buffers().into_iter();
    let buffers = buffers.map(|(name, var)| (name, var.as_detached_tensor()));
    let mut expected = reference()["calibrated"].clone();
    for name in ["0.weight", "0.bias"] {
        expected.as_object_mut().expect("an object").remove(name);
    }
    let found = distance(buffers.collect(), &expected)?;
    assert!(found < 1e-8, "{found:.1e}");
    Ok(())
}

/// A copy is exchanged without a change of a single bit.
#[test]
fn two_exchanges_change_nothing() -> Result<()> {
    let store = network(DType::F32)?;
    set(&store, 0)?;
    let ema = Ema::new(&store, 0.9, false)?;
    for step in 1..4 {
        set(&store, step)?;
        ema.update(step)?;
    }
    let bits = |tensors: Vec<(String, Tensor)>| -> Result<Vec<Vec<u64>>> {
        let bits = |(_, tensor): (String, Tensor)| -> Result<Vec<u64>> {
            let values: Vec<f64> = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
            Ok(values.into_iter().map(f64::to_bits).collect())
        };
        tensors.into_iter().map(bits).collect()
    };
    let sorted = |mut tensors: Vec<(String, Tensor)>| {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    let weights = bits(sorted(store.tensors()))?;
    let averages = bits(sorted(ema.tensors()))?;
    ema.exchange()?;
    assert_eq!(bits(sorted(store.tensors()))?, averages);
    assert_eq!(bits(sorted(ema.tensors()))?, weights);
    ema.exchange()?;
    assert_eq!(bits(sorted(store.tensors()))?, weights);
    assert_eq!(bits(sorted(ema.tensors()))?, averages);
    Ok(())
}

/// A run of four epochs of six steps with all averages.
fn averaging(folder: &Path) -> Session<'_> {
    let mut session = Session::new(folder);
    session.recipe = Recipe {
        epochs: 4,
        model_ema: true,
        model_ema_decay: Some(0.8),
        swa_start: Some(2),
        swa_lr: Some(0.02),
        swa_anneal_epochs: Some(2),
        ..session.recipe
    };
    session
}

fn finished(session: Session<'_>) -> (Record, ParamStore) {
    match session.run().expect("a run") {
        (Outcome::Finished(record), store) => (*record, store),
        (outcome, _) => panic!("{outcome:?}"),
    }
}

fn values(tensors: &HashMap<String, Tensor>, name: &str) -> Vec<f32> {
    let flat = tensors[name].flatten_all().and_then(|t| t.to_vec1());
    flat.expect("f32")
}

#[test]
fn averages_are_evaluated_and_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, averaged] = ["plain", "averaged"].map(|name| folder.path().join(name));
    let (record, store) = finished(averaging(&averaged));
    let read = |name: &str| checkpoint::read(&averaged.join(name)).expect("weights");
    // An average does not change the run itself.
    let mut session = averaging(&plain);
    session.recipe.model_ema = false;
    session.recipe.model_ema_decay = None;
    finished(session);
    for file in [BEST, LAST] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect("weights");
        assert!(bytes(&plain) == bytes(&averaged), "{file}");
    }
    assert!(!plain.join(LAST_EMA).exists());

    let ema = record.ema.expect("an average");
    let evaluations: Vec<_> = record.epochs.iter().map(|e| e.ema.expect("one")).collect();
    assert_eq!(ema.last, evaluations[3]);
    let best = evaluations.iter().map(|e| e.top1).fold(0.0, f64::max);
    assert_eq!((ema.best.top1, ema.best.images), (best, 70));
    assert_eq!(evaluations[ema.best_epoch - 1].top1, best);
    assert_ne!(evaluations[3].loss, record.epochs[3].loss);
    let best_epoch = ema.best_epoch.to_string();
    assert_eq!(read(BEST_EMA).metadata["epoch"], best_epoch);
    assert_eq!(read(LAST_EMA).metadata["epoch"], "4");

    let swa = record.swa.expect("a mean");
    assert_eq!(swa.images, 70);
    let mean = read(SWA);
    // The network has the last weights again.
    let last = values(&read(LAST).tensors, "first.weight");
    let now = store.tensors().into_iter().collect();
    assert_eq!(values(&now, "first.weight"), last);
    assert_ne!(values(&mean.tensors, "first.weight"), last);
    let line = metrics(&averaged);
    assert_eq!(line.matches("\"ema\":{").count(), 4, "{line}");
}

/// The mean of the weights is that of the files of shorter runs.
#[test]
fn swa_averages_the_last_epochs() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |epochs: usize, swa_start: Option<usize>| {
        let path = folder.path().join(format!("{epochs}-{swa_start:?}"));
        let mut session = Session::new(&path);
        session.recipe = Recipe {
            epochs,
            swa_start,
            sched: ScheduleKind::Constant,
            ..session.recipe
        };
        finished(session);
        path
    };
    let read = |path: &Path, file| checkpoint::read(&path.join(file)).expect("weights").tensors;
    let mean = read(&run(4, Some(2)), SWA);
    let name = "second.weight";
    let parts: Vec<Vec<f32>> = [2, 3, 4]
        .map(|epochs| values(&read(&run(epochs, None), LAST), name))
        .into();
    for (i, mean) in values(&mean, name).into_iter().enumerate() {
        let expected = parts.iter().map(|part| f64::from(part[i])).sum::<f64>() / 3.0;
        let scale = parts.iter().map(|part| part[i].abs()).fold(0f32, f32::max);
        let distance = (f64::from(mean) - expected).abs();
        assert!(distance < 1e-6 * f64::from(scale), "{mean} {expected}");
    }
}

#[test]
fn interrupted_averages_resume_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    let (expected, _) = finished(averaging(&straight));
    for stops in [vec![2], vec![6, 12], vec![9, 13, 23]] {
        let path = folder.path().join(format!("{stops:?}"));
        for (i, stop) in stops.iter().enumerate() {
            let mut session = averaging(&path);
            session.stop_after = Some(*stop);
            session.resume = i > 0;
            let (outcome, _) = session.run().expect("a run");
            assert_eq!(outcome, Outcome::Interrupted { step: *stop });
        }
        let mut session = averaging(&path);
        session.resume = true;
        let (record, _) = finished(session);
        assert_eq!((record.ema, record.swa), (expected.ema, expected.swa));
        for file in [BEST, LAST, BEST_EMA, LAST_EMA, SWA] {
            let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect("weights");
            assert!(bytes(&straight) == bytes(&path), "{file} after {stops:?}");
        }
        assert_eq!(timeless(&metrics(&straight)), timeless(&metrics(&path)));
    }
}

#[test]
fn validation_images_choose_the_best_average() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = averaging(folder.path());
    session.data.val_split = 0.2;
    let (record, store) = finished(session);
    let ema = record.ema.expect("an average");
    assert_eq!((ema.best.images, ema.last.images), (70, 70));
    for epoch in &record.epochs {
        let top1 = epoch.ema.expect("an average").top1;
        assert!((top1 * 40.0).fract().abs() < 1e-9, "{top1}");
    }
    // The evaluations of other weights leave the network as it was.
    let last = checkpoint::read(&folder.path().join(LAST)).expect("weights");
    let now = store.tensors().into_iter().collect();
    let name = "first.weight";
    assert_eq!(values(&now, name), values(&last.tensors, name));
}

#[test]
fn a_state_without_averages_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.stop_after = Some(3);
    session.run().expect("a part of a run");
    let mut session = Session::new(folder.path());
    session.resume = true;
    session.recipe.model_ema = true;
    let error = session.run().err().expect("no average");
    assert!(matches!(error, TrainError::ForeignState { .. }), "{error}");
    assert!(error.to_string().contains("no average of"), "{error}");
}

#[test]
fn what_belongs_to_an_average_needs_it() {
    let refused = |recipe: Recipe, field: &str, needs: &str| {
        let error = recipe.validate().expect_err(field).to_string();
        assert_eq!(error, format!("{field} needs {needs}"));
    };
    let default = Recipe::default;
    refused(
        Recipe {
            model_ema_decay: Some(0.9),
            ..default()
        },
        "model_ema_decay",
        "model_ema",
    );
    refused(
        Recipe {
            model_ema_warmup: true,
            ..default()
        },
        "model_ema_warmup",
        "model_ema",
    );
    refused(
        Recipe {
            swa_lr: Some(0.1),
            ..default()
        },
        "swa_lr",
        "swa_start",
    );
    refused(
        Recipe {
            swa_start: Some(1),
            swa_anneal_epochs: Some(2),
            ..default()
        },
        "swa_anneal_epochs",
        "swa_lr",
    );
    for recipe in [
        Recipe {
            swa_start: Some(0),
            ..default()
        },
        Recipe {
            swa_start: Some(default().epochs + 1),
            ..default()
        },
        Recipe {
            model_ema: true,
            model_ema_decay: Some(1.0),
            ..default()
        },
    ] {
        recipe.validate().expect_err("out of range");
    }
    let filled = Recipe {
        model_ema: true,
        swa_start: Some(1),
        swa_lr: Some(0.1),
        ..default()
    };
    let filled = filled.with_average_defaults();
    assert_eq!(filled.model_ema_decay, Some(0.9998));
    assert_eq!(filled.swa_anneal_epochs, Some(10));
    filled.validate().expect("valid");
}
