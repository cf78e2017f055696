//! The training loop: learning, exact resume, refused input.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::checkpoint;
use candle_mish::data::{self, DataOptions, Dataset, DatasetKind, ImageSet, Loader, LoaderConfig};
use candle_mish::nn::ParamStore;
use candle_mish::rng::Generator;
use candle_mish::train::observer::{Curve, Metrics, Observer, StepReport};
use candle_mish::train::run_folder::{BEST, CURVE, LAST, METRICS};
use candle_mish::train::{
    EpochRecord, EvaluationSet, LossKind, NonFiniteOrigin, OptimizerKind, Outcome, Parts, Recipe,
    Run, RunFolder, RunOptions, RunState, ScheduleKind, TrainError, train,
};
use candle_nn::{Init, ModuleT, VarBuilder};
use rand::Rng;

const HIDDEN: usize = 24;

/// Two linear layers with a running buffer and random dropout.
struct Network {
    first: Tensor,
    second: Tensor,
    running_mean: Tensor,
    generator: Generator,
}

impl Network {
    fn new(vb: &VarBuilder, generator: Generator) -> Result<Self> {
        let init = |stdev| Init::Randn { mean: 0.0, stdev };
        Ok(Self {
            first: vb.get_with_hints((192, HIDDEN), "first.weight", init(0.05))?,
            second: vb.get_with_hints((HIDDEN, 100), "second.weight", init(0.05))?,
            running_mean: vb.get_with_hints(HIDDEN, "norm.running_mean", Init::Const(0.0))?,
            generator,
        })
    }
}

impl ModuleT for Network {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let batch = images.dim(0)?;
        let pooled = images.reshape((batch, 3, 8, 4, 8, 4))?.mean(5)?.mean(3)?;
        let pooled = pooled.flatten_from(1)?;
        let hidden = pooled.matmul(&self.first)?.relu()?;
        // Candle's ReLU makes NaN 0. This keeps it.
        let zero = (pooled.sum_keepdim(1)? * 0.0)?;
        let mean = self.running_mean.detach();
        let hidden = if train {
            let seen = hidden.detach().mean(0)?;
            Var::from_tensor(&self.running_mean)?.set(&((mean * 0.9)? + (&seen * 0.1)?)?)?;
            let mut rng = self.generator.lock();
            let mask: Vec<f32> = (0..batch * HIDDEN)
                .map(|_| {
                    if rng.random::<f32>() < 0.1 {
                        0.0
                    } else {
                        1.0 / 0.9
                    }
                })
                .collect();
            let mask = Tensor::from_vec(mask, (batch, HIDDEN), &Device::Cpu)?;
            (hidden.broadcast_sub(&seen)? * mask)?
        } else {
            hidden.broadcast_sub(&mean)?
        };
        hidden.matmul(&self.second)?.broadcast_add(&zero)
    }
}

/// The second layer in training mode, the first in evaluation mode.
struct HeadOnly(Network);

impl ModuleT for HeadOnly {
    fn forward_t(&self, images: &Tensor, _train: bool) -> Result<Tensor> {
        self.0.forward_t(images, false)
    }
}

/// Sets a flag after some steps, as Ctrl-C would.
struct StopAfter(u64, Arc<AtomicBool>);

impl Observer for StopAfter {
    fn step(&mut self, report: &StepReport) -> std::result::Result<(), TrainError> {
        if report.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn options() -> DataOptions {
    DataOptions {
        dataset: DatasetKind::Synthetic,
        limit_train: Some(200),
        limit_test: Some(70),
        ..DataOptions::default()
    }
}

pub(crate) fn recipe() -> Recipe {
    Recipe {
        epochs: 3,
        batch_size: 32,
        lr: 0.05,
        smoothing: 0.1,
        clip_grad: Some(5.0),
        ..Recipe::default()
    }
}

fn loader(images: &ImageSet, data: &Dataset, recipe: &Recipe, train: bool) -> Loader {
    let config = match train {
        true => recipe.loader_config(data.mean, data.std, 100),
        false => LoaderConfig::in_order(recipe.batch_size, data.mean, data.std),
    };
    Loader::new(images.clone(), config)
}

pub(crate) struct Session<'a> {
    folder: &'a Path,
    pub recipe: Recipe,
    pub data: DataOptions,
    /// The standard deviation in the normalisation of the test images, if not the data set's.
    pub test_std: Option<[f32; 3]>,
    /// Training images to use, at most.
    pub images: usize,
    pub resume: bool,
    pub stop_after: Option<u64>,
    pub options: RunOptions,
}

impl<'a> Session<'a> {
    pub fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            recipe: recipe(),
            data: options(),
            test_std: None,
            images: usize::MAX,
            resume: false,
            stop_after: None,
            options: RunOptions::default(),
        }
    }

    pub fn run(self) -> std::result::Result<(Outcome, ParamStore), TrainError> {
        let data = data::open(&self.data).expect("the synthetic set");
        let recipe = self.recipe;
        let store = ParamStore::new(DType::F32, &Device::Cpu, recipe.seed);
        let generator = Generator::named(recipe.seed, "dropout");
        let model = Network::new(&store.var_builder(), generator.clone())?;
        let frozen = Network::new(&store.frozen().var_builder(), generator.clone())?;
        let std = self.test_std.unwrap_or(data.std);
        let test = LoaderConfig::in_order(recipe.batch_size, data.mean, std);
        let validation = data.validation.as_ref();
        let validation = validation.map(|images| loader(images, &data, &recipe, false));
        let folder = if self.resume {
            RunFolder::open(self.folder)?
        } else {
            RunFolder::create(self.folder)?
        };
        folder.write_text("config.toml", "")?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut observers: Vec<Box<dyn Observer>> = vec![
            Box::new(Metrics::new(&folder.file(METRICS))),
            Box::new(Curve::new(&folder.file(CURVE), "test")),
        ];
        if let Some(steps) = self.stop_after {
            observers.push(Box::new(StopAfter(steps, stop.clone())));
        }
        let head = store.frozen_except("second").var_builder();
        let head_only = HeadOnly(Network::new(&head, generator.clone())?);
        let layers = ["first.weight", "second.weight"].map(str::to_string);
        let run = Run {
            parts: Some(Parts {
                head_only: &head_only,
                head: "second",
                layers: &layers.into_iter().zip(0..).collect(),
            }),
            model: &model,
            auxiliary: None,
            frozen: &frozen,
            calibrating: Some(&frozen),
            store: &store,
            train: &loader(&data.train.take(self.images), &data, &recipe, true),
            validation: validation.as_ref(),
            test: &Loader::new(data.test.clone(), test),
            recipe: &recipe,
            folder: &folder,
            metadata: &BTreeMap::from([("model".to_string(), "test".to_string())]),
            generators: &[("dropout".to_string(), generator)],
            stop: &stop,
            options: &self.options,
            started: std::time::Instant::now(),
        };
        let resume = if self.resume {
            Some(RunState::read(&folder.file("state.safetensors"))?)
        } else {
            None
        };
        let outcome = train(&run, resume, &mut observers)?;
        Ok((outcome, store))
    }
}

pub(crate) fn metrics(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(METRICS)).expect("metrics")
}

fn lines(records: &[EpochRecord]) -> String {
    let line = |record| serde_json::to_string(record).expect("JSON") + "\n";
    records.iter().map(line).collect()
}

/// The fields that do not depend on time.
pub(crate) fn timeless(metrics: &str) -> Vec<Vec<String>> {
    let fields = |line: &str| {
        let fields = line.split(',').map(str::to_string);
        let timed = |field: &String| field.contains("second");
        fields.filter(|field| !timed(field)).collect()
    };
    metrics.lines().map(fields).collect()
}

#[test]
fn a_run_learns_and_leaves_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let mut session = Session::new(&path);
    session.recipe.epochs = 12;
    let (outcome, store) = session.run().expect("a run");
    let Outcome::Finished(record) = outcome else {
        panic!("{outcome:?}");
    };
    let (first, last) = (&record.epochs[0], &record.epochs[11]);
    assert!(last.train_loss < first.train_loss - 0.3, "{record:?}");
    assert_eq!((last.epoch, last.step), (12, 72));
    assert_eq!(metrics(&path), lines(&record.epochs));
    let best = record
        .epochs
        .iter()
        .map(|epoch| epoch.top1)
        .fold(0.0, f64::max);
    assert_eq!(record.best.top1, best);
    assert_eq!(record.best_chosen_on, EvaluationSet::Test);
    assert_eq!(record.epochs[record.best_epoch - 1].top1, best);
    assert_eq!((record.last.top1, record.last.images), (last.top1, 70));
    assert!(record.images_per_second > 0.0 && record.seconds > 0.0);
    let saved = checkpoint::read(&path.join(LAST)).expect("weights");
    assert_eq!(saved.metadata["model"], "test");
    assert_eq!(saved.metadata["epoch"], "12");
    for (name, tensor) in store.tensors() {
        let values = |t: &Tensor| {
            t.flatten_all()
                .and_then(|t| t.to_vec1::<f32>())
                .expect("f32")
        };
        assert_eq!(values(&saved.tensors[&name]), values(&tensor));
    }
    let best = checkpoint::read(&path.join(BEST)).expect("weights");
    assert_eq!(best.metadata["epoch"], record.best_epoch.to_string());
    assert!(path.join(CURVE).is_file());
}

#[test]
fn a_run_minimises_the_loss_of_its_recipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |loss| {
        let path = folder.path().join(format!("{loss}"));
        let mut session = Session::new(&path);
        session.recipe.loss = loss;
        session.recipe.smoothing = 0.0;
        match session.run().expect("a run").0 {
            Outcome::Finished(record) => record.epochs,
            outcome => panic!("{outcome:?}"),
        }
    };
    let margin = run(LossKind::Margin);
    assert!(margin[2].train_loss < margin[0].train_loss, "{margin:?}");
    let entropy = run(LossKind::CrossEntropy);
    assert_ne!(margin[0].train_loss, entropy[0].train_loss);
}

#[test]
fn an_interrupted_run_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    let (outcome, _) = Session::new(&straight).run().expect("a run");
    assert!(matches!(outcome, Outcome::Finished(_)));
    // An epoch has six steps: stops within the first, at the end of one, within the last.
    for stops in [vec![2], vec![6], vec![8, 10, 17]] {
        let path = folder.path().join(format!("{stops:?}"));
        for (i, stop) in stops.iter().enumerate() {
            let mut session = Session::new(&path);
            session.stop_after = Some(*stop);
            session.resume = i > 0;
            let (outcome, _) = session.run().expect("a run");
            assert_eq!(outcome, Outcome::Interrupted { step: *stop });
        }
        let mut session = Session::new(&path);
        session.resume = true;
        let (outcome, _) = session.run().expect("a run");
        assert!(matches!(outcome, Outcome::Finished(_)));
        for file in [BEST, LAST] {
            let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect("weights");
            assert!(bytes(&straight) == bytes(&path), "{file} after {stops:?}");
        }
        assert_eq!(timeless(&metrics(&straight)), timeless(&metrics(&path)));
    }
}

#[test]
fn validation_images_choose_the_best_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.data.val_split = 0.2;
    let (outcome, _) = session.run().expect("a run");
    let Outcome::Finished(record) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((record.best.images, record.last.images), (70, 70));
    assert_eq!(record.best_chosen_on, EvaluationSet::Validation);
    // With 40 validation images all accuracies are multiples of 1/40.
    for epoch in &record.epochs {
        assert!((epoch.top1 * 40.0).fract().abs() < 1e-9);
    }
}

/// No epoch evaluates the test images of a run with validation images.
#[test]
fn test_images_without_a_finite_loss_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.data.val_split = 0.2;
    // The normalised values are infinite.
    session.test_std = Some([1e-40; 3]);
    let error = session.run().err().expect("a loss that is not finite");
    let TrainError::NonFiniteLoss { origin, epoch, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((epoch, origin), (&3, &Some(NonFiniteOrigin::Evaluation)));
}

#[test]
fn a_diverging_run_stops_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.recipe.lr = 1e30;
    session.recipe.clip_grad = None;
    let error = session.run().err().expect("a diverging run");
    assert!(matches!(error, TrainError::NonFiniteLoss { .. }), "{error}");
    assert!(error.to_string().contains("learning rate"), "{error}");
}

/// 200 images with a batch size of 500: one step per epoch, in the schedule as in the record, with
/// the same result as a batch size of 200.
#[test]
fn a_set_smaller_than_a_batch_trains_with_one_smaller_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |batch_size: usize| {
        let path = folder.path().join(batch_size.to_string());
        let mut session = Session::new(&path);
        session.recipe.batch_size = batch_size;
        let (outcome, store) = session.run().expect("a run");
        let Outcome::Finished(record) = outcome else {
            panic!("{outcome:?}");
        };
        let steps: Vec<u64> = record.epochs.iter().map(|epoch| epoch.step).collect();
        assert_eq!(steps, [1, 2, 3]);
        let values = store.tensors().into_iter().map(|(name, tensor)| {
            let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
            (name, values.expect("f32"))
        });
        (
            timeless(&metrics(&path)),
            values.collect::<BTreeMap<_, _>>(),
        )
    };
    let whole = run(200);
    assert!(whole == run(500), "other weights or metrics");
    // A full batch and a part of one: the part is dropped as ever.
    let path = folder.path().join("150");
    let mut session = Session::new(&path);
    session.recipe.batch_size = 150;
    let (outcome, _) = session.run().expect("a run");
    assert!(
        matches!(&outcome, Outcome::Finished(record) if record.epochs[2].step == 3),
        "{outcome:?}"
    );
}

#[test]
fn a_run_in_one_smaller_batch_resumes_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let session = |path| {
        let mut session = Session::new(path);
        session.recipe.batch_size = 500;
        session
    };
    session(&whole).run().expect("a run");
    let first = Session {
        stop_after: Some(2),
        ..session(&parts)
    };
    let (outcome, _) = first.run().expect("a part of a run");
    let stopped = matches!(outcome, Outcome::Interrupted { step: 2 });
    assert!(stopped, "{outcome:?}");
    let second = Session {
        resume: true,
        ..session(&parts)
    };
    second.run().expect("the rest");
    let last = |folder: &Path| std::fs::read(folder.join(LAST)).expect("weights");
    assert!(last(&whole) == last(&parts), "other weights");
    assert_eq!(timeless(&metrics(&whole)), timeless(&metrics(&parts)));
}

#[test]
fn an_empty_set_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.images = 0;
    let error = session.run().err().expect("no image");
    assert_eq!(error.to_string(), "the training set has no images");
}

#[test]
fn a_folder_has_one_run_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let first = RunFolder::create(&path).expect("a new folder");
    let error = RunFolder::create(&path).expect_err("in use");
    assert!(matches!(error, TrainError::FolderInUse(_)), "{error}");
    first.write_text("config.toml", "").expect("written");
    drop(first);
    let error = RunFolder::create(&path).expect_err("taken");
    assert!(matches!(error, TrainError::FolderTaken(_)), "{error}");
    let error = RunFolder::open(&path).expect_err("no state");
    assert!(
        matches!(error, TrainError::NothingToResume { .. }),
        "{error}"
    );
    let error = RunFolder::open(&folder.path().join("other")).expect_err("no folder");
    assert!(
        matches!(error, TrainError::NothingToResume { .. }),
        "{error}"
    );
}

#[test]
fn a_foreign_state_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    Session::new(folder.path()).run().expect("a run");
    let state = folder.path().join("state.safetensors");
    // Weights are not a state.
    std::fs::copy(folder.path().join(LAST), &state).expect("copied");
    let mut session = Session::new(folder.path());
    session.resume = true;
    let error = session.run().err().expect("no state");
    assert!(matches!(error, TrainError::ForeignState { .. }), "{error}");
}

#[test]
fn a_state_that_no_run_reaches_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.stop_after = Some(8);
    session.run().expect("a run");
    let state = folder.path().join("state.safetensors");
    let saved = checkpoint::read(&state).expect("a state");
    // Its checksum would be another one. States without one are read as they are.
    let mut saved = saved;
    saved.metadata.remove("checksum");
    saved.tensors.remove("checksum");
    let tensors: Vec<_> = saved.tensors.into_iter().collect();
    for (from, to) in [
        ("step = 8", "step = 9"),
        ("step = 8", "step = 9223372036854775807"),
        ("epoch = 1", "epoch = 2"),
        ("epoch = 1", "epoch = 9223372036854775807"),
        ("batch = 2", "batch = 3"),
        ("batch = 2", "batch = 9223372036854775807"),
    ] {
        let mut metadata = saved.metadata.clone();
        let progress = metadata.get_mut("progress").expect("the progress");
        assert!(progress.contains(from), "{progress}");
        *progress = progress.replacen(from, to, 1);
        checkpoint::write(&state, &tensors, &metadata).expect("written");
        let mut session = Session::new(folder.path());
        session.resume = true;
        let error = session.run().err().expect("a foreign state");
        assert!(matches!(error, TrainError::ForeignState { .. }), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    checkpoint::write(&state, &tensors, &saved.metadata).expect("written");
    let mut session = Session::new(folder.path());
    session.resume = true;
    session.run().expect("the run continues");
}

/// The values of a tensor in the store.
fn values(store: &ParamStore, name: &str) -> Vec<f32> {
    let found = store.tensors().into_iter().find(|(n, _)| n == name);
    let (_, tensor) = found.expect("a tensor");
    let flat = tensor.flatten_all().and_then(|t| t.to_vec1());
    flat.expect("f32")
}

#[test]
fn a_frozen_backbone_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::new(folder.path());
    session.recipe.freeze_backbone = true;
    let (_, store) = session.run().expect("a run");
    let fresh = ParamStore::new(DType::F32, &Device::Cpu, 0);
    Network::new(&fresh.var_builder(), Generator::named(0, "dropout")).expect("a network");
    for name in ["first.weight", "norm.running_mean"] {
        assert_eq!(values(&store, name), values(&fresh, name), "{name}");
    }
    assert_ne!(
        values(&store, "second.weight"),
        values(&fresh, "second.weight")
    );
}

fn tuned(folder: &Path) -> Session<'_> {
    let mut session = Session::new(folder);
    session.recipe.opt = OptimizerKind::Adam.into();
    session.recipe.lr = 0.01;
    session.recipe.layer_decay = Some(0.25);
    session.recipe.head_warmup_epochs = 1.5;
    session
}

/// Stops during and after the warm-up of the head; the resumed run ends with the same weights.
#[test]
fn a_warmup_of_the_head_and_rates_by_layer_resume_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    let (_, whole) = tuned(&whole).run().expect("a run");
    let path = folder.path().join("parts");
    let mut first = tuned(&path);
    first.stop_after = Some(4);
    let (_, warm) = first.run().expect("a run");
    let fresh = ParamStore::new(DType::F32, &Device::Cpu, 0);
    Network::new(&fresh.var_builder(), Generator::named(0, "dropout")).expect("a network");
    assert_eq!(
        values(&warm, "first.weight"),
        values(&fresh, "first.weight")
    );
    assert_ne!(
        values(&warm, "second.weight"),
        values(&fresh, "second.weight")
    );
    let mut second = tuned(&path);
    second.resume = true;
    second.stop_after = Some(11);
    second.run().expect("a run");
    let mut last = tuned(&path);
    last.resume = true;
    let (_, resumed) = last.run().expect("a run");
    for name in ["first.weight", "second.weight", "norm.running_mean"] {
        assert_eq!(values(&resumed, name), values(&whole, name), "{name}");
    }
    // Adam's first step after the warm-up of the head is a full step at a quarter of the rate.
    let path = folder.path().join("one");
    let mut session = tuned(&path);
    session.recipe.sched = ScheduleKind::Constant;
    session.recipe.clip_grad = None;
    session.recipe.weight_decay = 0.0;
    session.stop_after = Some(10);
    let (_, one) = session.run().expect("a run");
    let pairs = values(&one, "first.weight")
        .into_iter()
        .zip(values(&fresh, "first.weight"));
    let most = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!((most - 0.0025).abs() < 1e-5, "{most}");
}
