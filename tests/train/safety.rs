//! Runs that are killed, damaged or stopped, and values that are not finite.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_mish::checkpoint;
use candle_mish::data::{self, DataOptions, DatasetKind, ImageSet, Loader, LoaderConfig};
use candle_mish::nn::{
    self, Act, BatchNorm2d, Conv2d, Conv2dConfig, Linear, ParamStore, batch_norm2d, conv2d, linear,
};
use candle_mish::ops::global_avg_pool2d;
use candle_mish::rng::Generator;
use candle_mish::train::observer::{Metrics, Observer, StepReport};
use candle_mish::train::run_folder::{BEST, LAST, METRICS, PREVIOUS_BEST, PREVIOUS_STATE, STATE};
use candle_mish::train::{
    NanAction, NonFiniteOrigin, OptimizerKind, Outcome, Recipe, RecoveryInterval, Run, RunFolder,
    RunOptions, RunState, TrainError, memory, train,
};
use candle_nn::VarBuilder;
use rand::Rng;

use crate::trainer::timeless;

/// Which value of a training pass becomes infinite or NaN, at random.
#[derive(Clone, Copy, PartialEq)]
enum Poison {
    None,
    Forward,
    Backward,
    /// A weight, after a step of the process.
    Weight,
    /// A running statistic, after a step of the process.
    Statistic,
}

struct Network {
    conv: Conv2d,
    bn: BatchNorm2d,
    act: Act,
    fc: Linear,
    generator: Generator,
    poison: Poison,
}

impl Network {
    fn new(vb: &VarBuilder, generator: &Generator, poison: Poison) -> Result<Self> {
        let config = Conv2dConfig {
            stride: (4, 4),
            ..Conv2dConfig::same(3)
        };
        let mish = candle_mish::Activation::Mish;
        Ok(Self {
            conv: conv2d(3, 8, config, vb.pp("conv"))?,
            bn: batch_norm2d(8, vb.pp("bn"))?,
            act: nn::act(&mish, 8, vb.pp("act"), generator)?,
            fc: linear(8, 100, vb.pp("fc"))?,
            generator: generator.clone(),
            poison,
        })
    }
}

impl ModuleT for Network {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let strikes = train && self.generator.lock().random::<f32>() < 0.2;
        let mut x = self.conv.forward(images)?;
        if strikes && self.poison == Poison::Forward {
            x = (x * f64::INFINITY)?;
        }
        let mut x = self.bn.forward_act(&x, None, &self.act, train)?;
        if strikes && self.poison == Poison::Backward {
            // The value is 0, its derivative infinite.
            x = (&x + (&x * x.zeros_like()?)?.sqrt()?)?;
        }
        self.fc.forward(&global_avg_pool2d(&x)?)
    }
}

/// Acts after each step, with its number.
struct AfterStep<F>(F);

impl<F: FnMut(u64)> Observer for AfterStep<F> {
    fn step(&mut self, report: &StepReport) -> std::result::Result<(), TrainError> {
        (self.0)(report.step);
        Ok(())
    }
}

fn recipe() -> Recipe {
    Recipe {
        epochs: 4,
        batch_size: 32,
        lr: 0.02,
        opt: OptimizerKind::Adam.into(),
        ..Recipe::default()
    }
}

fn loader(images: &ImageSet, recipe: &Recipe, train: bool) -> Loader {
    let in_order = LoaderConfig::in_order(recipe.batch_size, [0.5; 3], [0.25; 3]);
    let config = if train {
        LoaderConfig {
            augmentation: recipe.augmentation(),
            seed: recipe.seed,
            ..in_order.shuffled()
        }
    } else {
        in_order
    };
    Loader::new(images.clone(), config)
}

struct Session<'a> {
    folder: &'a Path,
    recipe: Recipe,
    options: RunOptions,
    poison: Poison,
    resume: bool,
    /// Called after each step.
    after_step: Box<dyn FnMut(u64)>,
    /// Stops the run after this step. 0 stops it before the first.
    stop_after: Option<u64>,
    started: Instant,
}

impl<'a> Session<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            recipe: recipe(),
            options: RunOptions::default(),
            poison: Poison::None,
            resume: false,
            after_step: Box::new(|_| ()),
            stop_after: None,
            started: Instant::now(),
        }
    }

    fn resumed(folder: &'a Path) -> Self {
        Self {
            resume: true,
            ..Self::new(folder)
        }
    }

    fn run(self) -> std::result::Result<Outcome, TrainError> {
        let data = data::open(&DataOptions {
            dataset: DatasetKind::Synthetic,
            limit_train: Some(200),
            limit_test: Some(70),
            ..DataOptions::default()
        })
        .expect("the synthetic set");
        let recipe = &self.recipe;
        let store = ParamStore::new(DType::F32, &Device::Cpu, recipe.seed);
        let generator = Generator::named(recipe.seed, "network");
        let model = Network::new(&store.var_builder(), &generator, self.poison)?;
        let frozen = Network::new(&store.frozen().var_builder(), &generator, self.poison)?;
        let folder = if self.resume {
            RunFolder::open(self.folder)?
        } else {
            RunFolder::create(self.folder)?
        };
        folder.write_text("config.toml", "")?;
        let stop = Arc::new(AtomicBool::new(self.stop_after == Some(0)));
        let (flag, stop_after) = (stop.clone(), self.stop_after);
        let mut after_step = self.after_step;
        let poisoned = match self.poison {
            Poison::Weight => store.params().pop(),
            Poison::Statistic => {
                let mut buffers = store.buffers().into_iter();
                buffers.find(|(name, _)| name == "bn.running_mean")
            }
            _ => None,
        };
        let watch = move |step: u64| {
            after_step(step);
            if let Some((_, var)) = &poisoned {
                let bad = (var.as_detached_tensor() * f64::NAN).expect("a product");
                var.set(&bad).expect("set");
            }
            if stop_after == Some(step) {
                flag.store(true, Ordering::Relaxed);
            }
        };
        let run = Run {
            model: &model,
            auxiliary: None,
            frozen: &frozen,
            calibrating: None,
            parts: None,
            store: &store,
            train: &loader(&data.train, recipe, true),
            validation: None,
            test: &loader(&data.test, recipe, false),
            recipe,
            options: &self.options,
            started: self.started,
            folder: &folder,
            metadata: &BTreeMap::new(),
            generators: &[("network".to_string(), generator)],
            stop: &stop,
        };
        // It has no effect on the run.
        let estimate = memory::estimate(&run)?;
        assert!(estimate.total(64) > estimate.total(32), "{estimate:?}");
        let state = if self.resume {
            Some(RunState::newest(&folder)?)
        } else {
            None
        };
        let mut observers: Vec<Box<dyn Observer>> = vec![
            Box::new(Metrics::new(&folder.file(METRICS))),
            Box::new(AfterStep(watch)),
        ];
        train(&run, state, &mut observers)
    }
}

fn every(steps: u64) -> RunOptions {
    RunOptions {
        recovery_interval: Some(RecoveryInterval::Steps(steps)),
        ..RunOptions::default()
    }
}

/// What a process that is killed leaves.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// The weights and figures of a finished run.
fn result(folder: &Path) -> (Vec<u8>, Vec<u8>, Vec<Vec<String>>) {
    let read = |file: &str| std::fs::read(folder.join(file)).expect("weights");
    let metrics = std::fs::read_to_string(folder.join(METRICS)).expect("metrics");
    (read(BEST), read(LAST), timeless(&metrics))
}

/// The epoch of a file of weights.
fn epoch_of(path: &Path) -> usize {
    let epoch = &checkpoint::read(path).expect("weights").metadata["epoch"];
    epoch.parse().expect("a number")
}

/// The epochs of a run, the best first.
fn best_epochs(folder: &Path) -> Vec<usize> {
    let metrics = std::fs::read_to_string(folder.join(METRICS)).expect("metrics");
    let top1 = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        record["top1"].as_f64().expect("a number")
    };
    let values: Vec<f64> = metrics.lines().map(top1).collect();
    let mut epochs: Vec<usize> = (1..=values.len()).collect();
    epochs.sort_by(|a, b| values[b - 1].total_cmp(&values[a - 1]));
    epochs
}

/// Runs of which a copy is taken after each of some steps, as if the process had been killed there.
fn killed_after(steps: &[u64], options: RunOptions, folder: &Path) -> Vec<PathBuf> {
    let run = folder.join("killed");
    let (from, to, at) = (run.clone(), folder.to_path_buf(), steps.to_vec());
    let mut session = Session::new(&run);
    session.options = options;
    session.after_step = Box::new(move |step| {
        if at.contains(&step) {
            copy(&from, &to.join(step.to_string()));
        }
    });
    session.run().expect("a run");
    let copies = steps.iter().map(|step| folder.join(step.to_string()));
    copies.collect()
}

#[test]
fn a_killed_run_loses_at_most_the_interval_and_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    Session::new(&straight).run().expect("a run");
    // An epoch has 6 steps; the state at the end of one is saved as well.
    let steps = [1, 2, 3, 5, 6, 7, 13, 24];
    for path in killed_after(&steps, every(2), folder.path()) {
        let step: u64 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let saved = RunState::read(&path.join(STATE)).expect("a state").steps();
        // The step itself is not saved yet when observers see it.
        assert!(step - saved <= 2, "{saved} steps saved after {step}");
        Session::resumed(&path).run().expect("the rest");
        assert!(result(&path) == result(&straight), "killed after {step}");
    }
}

/// Damages a state in a way that a disk or a copy may.
type Damage = fn(&mut Vec<u8>);
const DAMAGES: [(&str, Damage); 5] = [
    ("truncated", |bytes| bytes.truncate(bytes.len() - 100)),
    ("empty", Vec::clear),
    ("zeros", |bytes| bytes.fill(0)),
    ("a flipped bit in the weights", |bytes| {
        let at = bytes.len() - 1000;
        bytes[at] ^= 1;
    }),
    ("a changed digit of the progress", |bytes| {
        let text = b"step = ";
        let at = bytes.windows(text.len()).position(|part| part == text);
        bytes[at.expect("the progress") + text.len()] ^= 1;
    }),
];

#[test]
fn a_damaged_state_is_replaced_by_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    Session::new(&straight).run().expect("a run");
    let copies = killed_after(&[3, 9, 14, 20], every(3), folder.path());
    for (name, damage) in DAMAGES {
        for killed in &copies {
            let path = folder.path().join("damaged");
            copy(killed, &path);
            let mut bytes = std::fs::read(path.join(STATE)).expect("a state");
            damage(&mut bytes);
            std::fs::write(path.join(STATE), bytes).expect("written");
            // At step 3 there is only the first state.
            if !path.join(PREVIOUS_STATE).exists() {
                let error = Session::resumed(&path).run().expect_err("no state");
                assert!(!error.to_string().contains('\n'), "{error}");
                std::fs::remove_dir_all(&path).expect("removed");
                continue;
            }
            let mut first = Session::resumed(&path);
            first.stop_after = Some(0);
            let outcome = first.run().expect("nothing to do yet");
            assert!(
                matches!(outcome, Outcome::Interrupted { .. }),
                "{outcome:?}"
            );
            // The whole state is the newest one now.
            RunState::read(&path.join(STATE)).expect("whole");
            Session::resumed(&path).run().expect("the rest");
            assert!(result(&path) == result(&straight), "{name}, {killed:?}");
            std::fs::remove_dir_all(&path).expect("removed");
        }
    }
}

#[test]
fn a_process_killed_between_two_renames_leaves_the_previous_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    Session::new(&straight).run().expect("a run");
    let [path] = &killed_after(&[9], every(3), folder.path())[..] else {
        panic!("one copy");
    };
    std::fs::rename(path.join(STATE), path.join(PREVIOUS_STATE)).expect("renamed");
    std::fs::write(path.join(".write-abc"), "half a file").expect("written");
    Session::resumed(path).run().expect("the rest");
    assert!(result(path) == result(&straight));
    assert!(!path.join(".write-abc").exists());
}

/// After falling back to an earlier state, the best weights are those of the best epoch so far, even
/// if a later epoch was better.
#[test]
fn the_best_weights_are_those_of_the_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let epochs = 6;
    let (from, to) = (run.clone(), folder.path().to_path_buf());
    let mut session = Session::new(&run);
    session.recipe.epochs = epochs;
    session.after_step = Box::new(move |step| {
        // The first step of an epoch: the epoch before is evaluated and saved.
        if step % 6 == 1 {
            copy(&from, &to.join((step / 6).to_string()));
        }
    });
    session.run().expect("a run");
    let mut fallen_back = 0;
    for epoch in 2..epochs {
        let path = folder.path().join(epoch.to_string());
        let best = |path: &Path| epoch_of(&path.join(BEST));
        assert_eq!(best(&path), best_epochs(&path)[0]);
        std::fs::write(path.join(STATE), "damaged").expect("written");
        let mut session = Session::resumed(&path);
        session.recipe.epochs = epochs;
        session.stop_after = Some(0);
        let newer = best(&path);
        session.run().expect("nothing to do yet");
        assert_eq!(best_epochs(&path).len(), epoch - 1);
        assert_eq!(best(&path), best_epochs(&path)[0], "after {epoch} epochs");
        fallen_back += usize::from(best(&path) != newer);
        // The process was killed before it wrote the weights of its last epoch.
        for missing in [BEST, LAST] {
            std::fs::remove_file(path.join(missing)).expect("removed");
        }
        if best_epochs(&path)[0] == epoch - 1 {
            let mut session = Session::resumed(&path);
            session.recipe.epochs = epochs;
            session.stop_after = Some(0);
            session.run().expect("nothing to do yet");
            assert_eq!(
                (best(&path), epoch_of(&path.join(LAST))),
                (epoch - 1, epoch - 1)
            );
        }
    }
    assert!(fallen_back > 0, "the best epoch was never the last one");
    assert_eq!(
        run.join(PREVIOUS_BEST).exists(),
        best_epochs(&run)[0] == epochs
    );
}

#[test]
fn the_best_epochs_keep_their_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, parts] = ["straight", "parts"].map(|name| folder.path().join(name));
    let options = RunOptions {
        checkpoint_hist: Some(2),
        ..RunOptions::default()
    };
    let session = |path| {
        let mut session = Session::new(path);
        session.recipe.epochs = 6;
        session.options = options;
        session
    };
    session(&straight).run().expect("a run");
    let mut first = session(&parts);
    first.stop_after = Some(20);
    first.run().expect("a part");
    let rest = Session {
        resume: true,
        ..session(&parts)
    };
    rest.run().expect("the rest");
    let epochs = best_epochs(&straight);
    for path in [&straight, &parts] {
        let run = RunFolder::open(path).expect("a run");
        let mut kept = run.checkpoints().expect("a folder");
        kept.sort_unstable();
        let mut best = epochs[..2].to_vec();
        // Those that the previous state may need are kept as well.
        let mut before = epochs.clone();
        before.retain(|epoch| *epoch < 6);
        best.extend(
            before[..2]
                .iter()
                .filter(|epoch| !epochs[..2].contains(epoch)),
        );
        best.sort_unstable();
        assert_eq!(kept, best);
        for epoch in kept {
            assert_eq!(epoch_of(&run.checkpoint(epoch)), epoch);
        }
        let bytes = |path: &Path| std::fs::read(path).expect("weights");
        assert!(bytes(&run.checkpoint(epochs[0])) == bytes(&path.join(BEST)));
    }
}

#[test]
fn a_time_limit_saves_and_ends_the_run_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, limited, short] =
        ["straight", "limited", "short"].map(|name| folder.path().join(name));
    Session::new(&straight).run().expect("a run");
    let limit = |text: &str| RunOptions {
        time_limit: text.parse().ok(),
        ..RunOptions::default()
    };
    // After a step of five seconds, another one would not fit into the rest of ten seconds. The start
    // of the run does, on any computer.
    let mut session = Session::new(&limited);
    session.options = limit("1h");
    session.after_step = Box::new(|_| std::thread::sleep(Duration::from_secs(5)));
    session.started = Instant::now() - Duration::from_secs(3590);
    let outcome = session.run().expect("a run");
    assert_eq!(outcome, Outcome::TimeLimit { step: 1 });
    // Enough time for the rest.
    let mut session = Session::resumed(&limited);
    session.options = limit("1h");
    session.run().expect("the rest");
    assert!(result(&limited) == result(&straight));
    // No time at all: a loop over such processes would never end.
    let mut session = Session::new(&short);
    session.options = limit("1s");
    session.started = Instant::now() - Duration::from_secs(5);
    let error = session.run().expect_err("no time");
    assert!(matches!(error, TrainError::TimeLimitTooShort(_)), "{error}");
    Session::resumed(&short).run().expect("a whole run");
    assert!(result(&short) == result(&straight));
}

#[test]
fn the_first_value_that_is_not_finite_is_found() {
    let forward = NonFiniteOrigin::Forward {
        layer: "bn".to_string(),
        kind: "BatchNorm2d".to_string(),
    };
    let backward = NonFiniteOrigin::Backward("bn.bias".to_string());
    for (poison, accumulated, expected) in [
        (Poison::Forward, 1, &forward),
        (Poison::Forward, 3, &forward),
        (Poison::Backward, 1, &backward),
        (Poison::Backward, 3, &backward),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut session = Session::new(folder.path());
        session.poison = poison;
        session.recipe.grad_accum_steps = accumulated;
        let error = session.run().expect_err("a value that is not finite");
        let origin = match &error {
            TrainError::NonFiniteLoss { origin, .. } if poison == Poison::Forward => origin,
            TrainError::NonFiniteGradient { origin, .. } if poison == Poison::Backward => origin,
            error => panic!("{error}"),
        };
        assert_eq!(origin.as_ref(), Some(expected), "{error}");
    }
}

#[test]
fn a_stopped_run_continues_if_it_skips() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, stopped] = ["straight", "stopped"].map(|name| folder.path().join(name));
    let skip = RunOptions {
        nan: NanAction::Skip,
        ..RunOptions::default()
    };
    let poisoned = |path, options| {
        let mut session = Session::new(path);
        session.poison = Poison::Forward;
        session.options = options;
        session
    };
    poisoned(&straight, skip).run().expect("a run");
    let error = poisoned(&stopped, every(1)).run().expect_err("not finite");
    assert!(matches!(error, TrainError::NonFiniteLoss { .. }), "{error}");
    let rest = Session {
        resume: true,
        ..poisoned(&stopped, skip)
    };
    rest.run().expect("the rest");
    assert!(result(&stopped) == result(&straight));
}

#[test]
fn skipped_updates_are_counted_and_resume_bit_for_bit() {
    for poison in [Poison::Forward, Poison::Backward] {
        let folder = tempfile::tempdir().expect("a folder");
        let [straight, parts] = ["straight", "parts"].map(|name| folder.path().join(name));
        let session = |path| {
            let mut session = Session::new(path);
            session.poison = poison;
            session.options.nan = NanAction::Skip;
            session
        };
        session(&straight).run().expect("a run");
        for (resume, stop) in [(false, 5), (true, 11), (true, 16)] {
            let part = Session {
                resume,
                stop_after: Some(stop),
                ..session(&parts)
            };
            part.run().expect("a part");
        }
        let rest = Session {
            resume: true,
            ..session(&parts)
        };
        let Outcome::Finished(record) = rest.run().expect("the rest") else {
            panic!("not finished");
        };
        assert!(result(&parts) == result(&straight));
        let skipped: u64 = record.epochs.iter().map(|epoch| epoch.skipped).sum();
        assert!((1..24).contains(&skipped), "{skipped}");
        assert!(
            record
                .epochs
                .iter()
                .all(|epoch| epoch.train_loss.is_finite())
        );
        let weights = checkpoint::read(&straight.join(LAST)).expect("weights");
        for (name, tensor) in &weights.tensors {
            let sum = tensor.to_dtype(DType::F32).and_then(|t| t.sum_all());
            let sum = sum.and_then(|sum| sum.to_scalar::<f32>());
            assert!(sum.expect("f32").is_finite(), "{name}");
        }
    }
}

/// Without a value that is not finite, skipping changes nothing.
#[test]
fn options_do_not_change_the_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, all] = ["plain", "all"].map(|name| folder.path().join(name));
    Session::new(&plain).run().expect("a run");
    let mut session = Session::new(&all);
    session.options = RunOptions {
        recovery_interval: Some(RecoveryInterval::Steps(1)),
        checkpoint_hist: Some(1),
        time_limit: "1d".parse().ok(),
        nan: NanAction::Skip,
    };
    let steps = Rc::new(Cell::new(0));
    let seen = steps.clone();
    session.after_step = Box::new(move |step| seen.set(step));
    session.run().expect("a run");
    assert_eq!(steps.get(), 24);
    assert!(result(&plain) == result(&all));
}

/// The state is not replaced by one with weights that are not finite.
#[test]
fn a_state_with_bad_weights_is_not_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.stop_after = Some(3);
    session.run().expect("a part");
    let read = || std::fs::read(folder.path().join(STATE)).expect("a state");
    let before = read();
    let mut session = Session::resumed(folder.path());
    session.poison = Poison::Weight;
    let error = session.run().expect_err("a bad weight");
    let named = matches!(&error, TrainError::NonFiniteLoss { origin, .. }
        if *origin == Some(NonFiniteOrigin::Parameter("fc.bias".to_string())));
    assert!(named, "{error}");
    assert!(read() == before);
    // A weight that no loss depends on.
    let mut session = Session::resumed(folder.path());
    session.poison = Poison::Statistic;
    session.stop_after = Some(5);
    let error = session.run().expect_err("a bad statistic");
    let named = matches!(&error, TrainError::NonFiniteWeight { tensor, .. }
        if tensor == "bn.running_mean");
    assert!(named, "{error}");
    assert!(read() == before);
}
