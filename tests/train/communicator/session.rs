//! A small network with batch norm, and runs of it on several ranks.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::data::{self, DataOptions, DatasetKind, Loader, LoaderConfig};
use candle_mish::nn::{self, Act, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, ParamStore};
use candle_mish::ops::{AllReduce, AvgDivisor, Pool2dParams, avg_pool2d, global_avg_pool2d};
use candle_mish::rng::Generator;
use candle_mish::train::communicator::{Communicator, Single, Threads};
use candle_mish::train::observer::{Observer, StepReport};
use candle_mish::train::{
    DataParallel, Outcome, Recipe, Record, Run, RunFolder, RunOptions, RunState, TrainError,
    train_parallel,
};
use candle_nn::{ModuleT, VarBuilder};

const CHANNELS: usize = 8;

/// Convolution, batch norm, Mish, dropout, classifier.
struct Network {
    conv: Conv2d,
    norm: BatchNorm2d,
    act: Act,
    dropout: Dropout,
    head: Linear,
    /// The forward passes in training so far, and the one whose logits become NaN.
    passes: Cell<usize>,
    broken: Option<usize>,
}

impl Network {
    fn new(
        vb: &VarBuilder<'_>,
        processes: Option<Arc<dyn AllReduce>>,
        dropout: Dropout,
        broken: Option<usize>,
    ) -> Result<Self> {
        let norm = nn::batch_norm2d(CHANNELS, vb.pp("bn"))?;
        Ok(Self {
            conv: nn::conv2d(3, CHANNELS, Conv2dConfig::same(3), vb.pp("conv"))?,
            norm: match processes {
                Some(processes) => norm.with_processes(processes),
                None => norm,
            },
            act: Act::new(&Activation::Mish {})?,
            dropout,
            head: nn::linear(CHANNELS, 100, vb.pp("head"))?,
            passes: Cell::new(0),
            broken,
        })
    }
}

impl ModuleT for Network {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let small = avg_pool2d(images, &Pool2dParams::new((4, 4)), AvgDivisor::default())?;
        let x = self.conv.forward(&small)?;
        let x = self.norm.forward_act(&x, None, &self.act, train)?;
        let x = self.dropout.forward_t(&global_avg_pool2d(&x)?, train)?;
        let logits = self.head.forward(&x)?;
        if !train {
            return Ok(logits);
        }
        self.passes.set(self.passes.get() + 1);
        match self.broken {
            Some(pass) if pass == self.passes.get() => logits * f64::NAN,
            _ => Ok(logits),
        }
    }
}

/// Sets a flag after some steps, as a signal would.
struct StopAfter(u64, Arc<AtomicBool>);

impl Observer for StopAfter {
    fn step(&mut self, report: &StepReport) -> std::result::Result<(), TrainError> {
        if report.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A run on several ranks.
#[derive(Clone)]
pub struct Session<'a> {
    pub folder: &'a Path,
    pub ranks: usize,
    pub recipe: Recipe,
    pub options: RunOptions,
    pub dropout: f64,
    pub resume: bool,
    /// A rank, and the step after which it is asked to stop.
    pub stop: Option<(usize, u64)>,
    /// A rank, and its batch whose logits become NaN.
    pub broken: Option<(usize, usize)>,
    /// The size of a bucket of gradients, in MiB.
    pub bucket_cap_mb: f64,
    /// The training images of the run are those of this part.
    pub part: (usize, usize),
    pub test_images: usize,
}

/// How a rank ended, and its weights.
pub type Ended = (
    std::result::Result<Outcome, TrainError>,
    HashMap<String, Vec<f32>>,
);

impl<'a> Session<'a> {
    pub fn new(folder: &'a Path, ranks: usize) -> Self {
        Self {
            folder,
            ranks,
            recipe: Recipe {
                epochs: 2,
                batch_size: 24,
                lr: 0.1,
                smoothing: 0.1,
                clip_grad: Some(0.5),
                sync_bn: true,
                ..Recipe::default()
            },
            options: RunOptions::default(),
            dropout: 0.0,
            resume: false,
            stop: None,
            broken: None,
            bucket_cap_mb: DataParallel::BUCKET_CAP_MB,
            part: (0, 1),
            test_images: 70,
        }
    }

    /// The end of all ranks.
    pub fn run(&self) -> Vec<Ended> {
        if self.ranks == 1 {
            return vec![self.rank(Arc::new(Single))];
        }
        std::thread::scope(|scope| {
            let start = |rank| scope.spawn(|| self.rank(Arc::new(rank)));
            let threads: Vec<_> = Threads::group(self.ranks).into_iter().map(start).collect();
            let ended = threads.into_iter().map(|thread| thread.join());
            ended.map(|ended| ended.expect("no panic")).collect()
        })
    }

    /// The record and the weights of a run that finishes. All ranks have the same.
    pub fn finish(&self) -> (Record, HashMap<String, Vec<f32>>) {
        let mut all = self.run().into_iter();
        let (outcome, weights) = all.next().expect("a rank");
        for (_, others) in all {
            assert_eq!(weights, others);
        }
        match outcome.expect("a run") {
            Outcome::Finished(record) => (*record, weights),
            other => panic!("{other:?}"),
        }
    }

    fn rank(&self, communicator: Arc<dyn Communicator>) -> Ended {
        let store = ParamStore::new(DType::F32, &Device::Cpu, self.recipe.seed);
        let outcome = self.train(&*communicator, communicator.clone(), &store);
        if outcome.is_err() {
            communicator.abort(1);
        }
        let tensors = store.tensors().into_iter();
        let tensors = tensors.filter(|(_, tensor)| tensor.dtype() == DType::F32);
        let values = |tensor: Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let tensors = tensors.map(|(name, tensor)| (name, values(tensor).expect("values")));
        (outcome, tensors.collect())
    }

    fn train(
        &self,
        communicator: &dyn Communicator,
        processes: Arc<dyn AllReduce>,
        store: &ParamStore,
    ) -> std::result::Result<Outcome, TrainError> {
        let rank = communicator.rank();
        let options = DataOptions {
            dataset: DatasetKind::Synthetic,
            limit_train: Some(100),
            limit_test: Some(self.test_images),
            ..DataOptions::default()
        };
        let data = data::open(&options).expect("the synthetic set");
        let recipe = &self.recipe;
        let generator = Generator::named(recipe.seed, "dropout");
        let dropout = || Dropout::new(self.dropout, &generator);
        let processes = recipe.sync_bn.then_some(processes);
        let broken = self.broken.filter(|(broken, _)| *broken == rank);
        let broken = broken.map(|(_, pass)| pass);
        // Ranks other than 0 start with other weights, to see that those of rank 0 count.
        if rank > 0 {
            let other = ParamStore::new(DType::F32, &Device::Cpu, 99);
            Network::new(&other.var_builder(), None, dropout()?, None)?;
            Network::new(&store.var_builder(), None, dropout()?, None)?;
            store.load_tensors(&other.tensors().into_iter().collect())?;
        }
        let model = Network::new(&store.var_builder(), processes, dropout()?, broken)?;
        let frozen = Network::new(&store.frozen().var_builder(), None, dropout()?, None)?;
        let folder = match (rank, self.resume) {
            (0, true) => RunFolder::open(self.folder)?,
            (0, false) => RunFolder::create(self.folder)?,
            _ => RunFolder::of_rank_0(Path::new("of another computer")),
        };
        if rank == 0 {
            folder.write_text("config.toml", "")?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut observers: Vec<Box<dyn Observer>> = Vec::new();
        if let Some((_, step)) = self.stop.filter(|(stopped, _)| *stopped == rank) {
            observers.push(Box::new(StopAfter(step, stop.clone())));
        }
        let state = match (rank, self.resume) {
            (0, true) => Some(RunState::newest(&folder)?),
            _ => None,
        };
        let train = Loader::new(
            data.train.clone(),
            recipe.loader_config(data.mean, data.std, 100),
        );
        let test = LoaderConfig::in_order(recipe.batch_size, data.mean, data.std);
        let run = Run {
            parts: None,
            model: &model,
            auxiliary: None,
            frozen: &frozen,
            calibrating: Some(&frozen),
            store,
            train: &train.shard(self.part.0, self.part.1),
            validation: None,
            test: &Loader::new(data.test.clone(), test),
            recipe,
            folder: &folder,
            metadata: &BTreeMap::new(),
            generators: &[("dropout".to_string(), generator.clone())],
            stop: &stop,
            options: &self.options,
            started: Instant::now(),
        };
        let parallel = DataParallel {
            bucket_cap_mb: self.bucket_cap_mb,
            ..DataParallel::new(communicator)
        };
        train_parallel(&run, parallel, state, &mut observers)
    }
}
