//! Any recipe is refused in one line, or trains a step.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::data::{
    self, ColorJitter, DataOptions, Dataset, DatasetKind, EraseMode, ImageSet, Loader,
    LoaderConfig, MixupMode, PadMode, Preprocess,
};
use candle_mish::nn::{Initialiser, ParamStore};
use candle_mish::train::observer::{Observer, StepReport};
use candle_mish::train::{
    AdjustLr, AmpDtype, ClipMode, EvalMetric, LossKind, MuonFallback, NsCoefficients,
    OptimizerKind, OptimizerName, Outcome, Parts, Recipe, Run, RunFolder, RunOptions, SchedOn,
    ScheduleKind, TrainError, train,
};
use candle_nn::{Init, ModuleT, VarBuilder};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// The number of training images. The trainer refuses larger batches.
const IMAGES: usize = 8;

/// Channel means through two linear layers.
struct Tiny {
    stem: Tensor,
    head: Tensor,
}

impl Tiny {
    fn new(vb: &VarBuilder) -> Result<Self> {
        let init = Init::Randn {
            mean: 0.0,
            stdev: 0.5,
        };
        Ok(Self {
            stem: vb.get_with_hints((3, 4), "stem.weight", init)?,
            head: vb.get_with_hints((4, 100), "fc.weight", init)?,
        })
    }
}

impl ModuleT for Tiny {
    fn forward_t(&self, images: &Tensor, _train: bool) -> Result<Tensor> {
        let means = images.mean(3)?.mean(2)?;
        means.matmul(&self.stem)?.matmul(&self.head)
    }
}

/// Ends the run after its first step.
struct StopAfterOne(Arc<AtomicBool>);

impl Observer for StopAfterOne {
    fn step(&mut self, _report: &StepReport) -> std::result::Result<(), TrainError> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Plausible, extreme and invalid numbers.
fn number() -> impl Strategy<Value = f64> {
    let odd = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1e-300,
        1e-9,
        1e9,
        1e38,
        1e300,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    prop_oneof![
        proptest::sample::select(odd.to_vec()),
        proptest::num::f64::ANY,
        0.0..2.0,
        1.0..1e6,
    ]
}

fn count() -> impl Strategy<Value = usize> {
    let odd = [0, 1, 2, 1 << 14, 1 << 20, 1 << 31, 1 << 62, usize::MAX];
    prop_oneof![
        proptest::sample::select(odd.to_vec()),
        any::<usize>(),
        0usize..9
    ]
}

/// Values of `aa`.
const POLICIES: [&str; 6] = [
    "rand-n3-p1",
    "v0-mstd1",
    "3a",
    "augmix",
    "cifar10",
    "trivial",
];

/// The number of fields that [`set`] knows.
const FIELDS: usize = 85;

/// Puts a value into a field.
fn set(recipe: &mut Recipe, field: usize, x: f64, y: f64, n: usize) {
    match field {
        0 => recipe.epochs = n,
        1 => recipe.batch_size = n,
        2 => recipe.seed = n as u64,
        3 => recipe.lr = x,
        4 => recipe.momentum = x,
        5 => recipe.weight_decay = x,
        6 => recipe.opt_betas = Some([x, y]),
        7 => recipe.opt_eps = Some(x),
        8 => recipe.opt_alpha = Some(x),
        9 => recipe.warmup_epochs = x,
        10 => recipe.warmup_lr = x,
        11 => recipe.min_lr = x,
        12 => recipe.pct_start = x,
        13 => recipe.div_factor = x,
        14 => recipe.final_div_factor = x,
        15 => recipe.decay_epochs = x,
        16 => recipe.decay_milestones = vec![x, y],
        17 => recipe.decay_rate = x,
        18 => recipe.smoothing = x,
        19 => recipe.clip_grad = Some(x),
        20 => recipe.crop_padding = n,
        21 => recipe.hflip = x,
        22 => recipe.scale = [x, y],
        23 => recipe.ratio = [x, y],
        24 => recipe.layer_decay = Some(x),
        25 => recipe.freeze_backbone = true,
        26 => recipe.l1_penalty = x,
        27 => recipe.l2_penalty = x,
        28 => recipe.muon_fallback = Some(kind(MuonFallback::NAMES, n)),
        29 => recipe.fallback_lr_scale = Some(x),
        30 => recipe.ns_coefficients = Some(kind(NsCoefficients::NAMES, n)),
        31 => recipe.model_ema = n % 2 == 1,
        32 => recipe.model_ema_decay = Some(x),
        33 => recipe.model_ema_warmup = n % 2 == 1,
        34 => recipe.swa_start = Some(n),
        35 => recipe.swa_lr = Some(x),
        36 => recipe.swa_anneal_epochs = Some(n),
        37 => recipe.init = Some(Initialiser::ALL[n % Initialiser::ALL.len()].1),
        38 => recipe.init_gain = Some(x),
        39 => recipe.adjust_lr_fn = Some(kind(AdjustLr::NAMES, n)),
        40 => recipe.vflip = x,
        41 => recipe.degrees = x,
        42 => recipe.aa = POLICIES[n % POLICIES.len()].parse().ok(),
        43 => recipe.color_jitter = ColorJitter::from_values(&[x, y, x, y]).ok(),
        44 => recipe.color_jitter_prob = Some(x),
        45 => recipe.grayscale_prob = x,
        46 => recipe.gaussian_blur_prob = x,
        47 => recipe.mixup = x,
        48 => recipe.cutmix = x,
        49 => recipe.cutmix_minmax = Some([x, y]),
        50 => recipe.mixup_prob = Some(x),
        51 => recipe.mixup_switch_prob = Some(x),
        52 => recipe.mixup_mode = Some([MixupMode::Batch, MixupMode::Pair, MixupMode::Elem][n % 3]),
        53 => recipe.mixup_off_epoch = Some(n),
        54 => recipe.reprob = x,
        55 => recipe.remode = Some([EraseMode::Const, EraseMode::Rand, EraseMode::Pixel][n % 3]),
        56 => recipe.recount = Some(n),
        57 => recipe.cutout = n,
        58 => recipe.aug_repeats = n,
        59 => recipe.train_img_sizes = format!("0:{},{n}:8", 1 + n % 40).parse().ok(),
        60 => recipe.grad_accum_steps = n,
        61 => recipe.sched_on = kind(SchedOn::NAMES, n),
        62 => recipe.warmup_prefix = Some(n.is_multiple_of(2)),
        63 => recipe.cooldown_epochs = Some(x),
        64 => recipe.lr_cycle_limit = Some(n),
        65 => recipe.lr_cycle_mul = Some(x),
        66 => recipe.lr_cycle_decay = Some(x),
        67 => recipe.lr_k_decay = Some(x),
        68 => recipe.poly_power = Some(x),
        69 => recipe.tanh_lb = Some(x),
        70 => recipe.tanh_ub = Some(x),
        71 => recipe.cycle_momentum = true,
        72 => recipe.base_momentum = Some(x),
        73 => recipe.max_momentum = Some(x),
        74 => recipe.patience_epochs = Some(n),
        75 => recipe.eval_metric = kind(EvalMetric::NAMES, n),
        76 => recipe.early_stop_patience = Some(n),
        77 => recipe.early_stop_min_delta = Some(x),
        78 => recipe.input_noise = x,
        79 => recipe.fallback_list = vec!["fc.*".to_string()],
        80 => recipe.normalize_weights = true,
        81 => recipe.amp = Some(AmpDtype::Bf16),
        82 => recipe.ns_steps = Some(n),
        83 => recipe.fallback_momentum = Some(x),
        _ => recipe.head_warmup_epochs = x,
    }
}

fn kind<T: std::str::FromStr>(names: &[&str], choice: usize) -> T {
    let parsed = names[choice % names.len()].parse();
    parsed.ok().expect("a listed name")
}

/// A valid recipe with up to three changed fields.
fn recipes() -> impl Strategy<Value = Recipe> {
    let changes = prop::collection::vec((0..FIELDS, number(), number(), count()), 0..4);
    (any::<[u8; 6]>(), 1usize..4, 1usize..=IMAGES, changes).prop_map(
        |(choices, epochs, batch_size, changes)| {
            let [opt, lookahead, sched, loss, clip, pad] = choices.map(usize::from);
            let clip_mode = kind(ClipMode::NAMES, clip);
            let mut recipe = Recipe {
                epochs,
                batch_size,
                opt: OptimizerName {
                    kind: kind(OptimizerKind::NAMES, opt),
                    lookahead: lookahead % 2 == 1,
                },
                sched: kind(ScheduleKind::NAMES, sched),
                loss: kind(LossKind::NAMES, loss),
                clip_mode,
                clip_grad: (clip_mode != ClipMode::Norm).then_some(0.01),
                crop_pad_mode: [PadMode::Reflect, PadMode::Zero, PadMode::Edge][pad % 3],
                ..Recipe::default()
            };
            for (field, x, y, n) in changes {
                set(&mut recipe, field, x, y, n);
            }
            recipe
        },
    )
}

fn open(options: DataOptions) -> Dataset {
    data::open(&options).expect("a data set")
}

fn synthetic() -> Dataset {
    open(DataOptions {
        dataset: DatasetKind::Synthetic,
        limit_train: Some(IMAGES),
        limit_test: Some(4),
        ..DataOptions::default()
    })
}

/// Image files of several sizes, for random resized crops.
fn files(folder: &Path) -> Dataset {
    let class = folder.join("class");
    std::fs::create_dir(&class).expect("a folder");
    for size in 1..5 {
        let image = image::RgbImage::from_pixel(3 * size, 5, image::Rgb([200, 100, 50]));
        let saved = image.save(class.join(format!("{size}.png")));
        saved.expect("an image");
    }
    open(DataOptions {
        dataset: DatasetKind::Folder,
        data_dir: Some(folder.to_path_buf()),
        preprocess: Some(Preprocess {
            input_size: 8,
            ..Preprocess::default()
        }),
        ..DataOptions::default()
    })
}

fn loader(images: &ImageSet, recipe: &Recipe, train: bool) -> Loader {
    let config = match train {
        true => recipe.loader_config([0.5; 3], [0.25; 3], 100),
        false => LoaderConfig::in_order(recipe.batch_size, [0.5; 3], [0.25; 3]),
    };
    Loader::new(images.clone(), config)
}

fn train_one_step(
    recipe: &Recipe,
    data: &Dataset,
    folder: &Path,
) -> std::result::Result<Outcome, TrainError> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let model = Tiny::new(&store.var_builder())?;
    let frozen = Tiny::new(&store.frozen().var_builder())?;
    let head_only = Tiny::new(&store.frozen_except("fc").var_builder())?;
    let layers = ["stem.weight", "fc.weight"].map(str::to_string);
    let layers: HashMap<String, usize> = layers.into_iter().zip(0..).collect();
    let folder = RunFolder::create(folder)?;
    let stop = Arc::new(AtomicBool::new(false));
    let run = Run {
        model: &model,
        auxiliary: None,
        frozen: &frozen,
        calibrating: Some(&frozen),
        parts: Some(Parts {
            head_only: &head_only,
            head: "fc",
            layers: &layers,
        }),
        store: &store,
        train: &loader(&data.train, recipe, true),
        validation: None,
        test: &loader(&data.test, recipe, false),
        recipe,
        folder: &folder,
        metadata: &BTreeMap::new(),
        generators: &[],
        stop: &stop,
        options: &RunOptions::default(),
        started: std::time::Instant::now(),
    };
    train(&run, None, &mut [Box::new(StopAfterOne(stop.clone()))])
}

#[test]
fn any_recipe_is_refused_in_one_line_or_trains_a_step() {
    let images = tempfile::tempdir().expect("a folder");
    let (data, files) = (synthetic(), files(images.path()));
    let (trained, refused) = (Cell::new(0), Cell::new(0));
    let check = |recipe: Recipe| {
        let run = tempfile::tempdir().expect("a folder");
        let valid = recipe.validate();
        // A recipe from a file has the same checks.
        if let Ok(text) = toml::to_string(&recipe) {
            let read = Recipe::from_toml(&text).map(drop);
            prop_assert_eq!(&read, &valid);
        }
        match train_one_step(&recipe, &data, run.path()) {
            Ok(Outcome::Interrupted { step: 1 } | Outcome::Finished(_)) => {
                prop_assert!(valid.is_ok());
                trained.set(trained.get() + 1);
            }
            Ok(outcome) => return Err(TestCaseError::fail(format!("{outcome:?}"))),
            Err(error) => {
                let expected = matches!(
                    error,
                    TrainError::Recipe(_)
                        | TrainError::NonFiniteLoss { .. }
                        | TrainError::NonFiniteGradient { .. }
                        | TrainError::NonFiniteWeight { .. }
                );
                let text = error.to_string();
                prop_assert!(expected && text.len() < 200, "{}", text);
                prop_assert!(!text.contains('\n') && !text.contains("--"), "{}", text);
                refused.set(refused.get() + 1);
            }
        }
        if valid.is_ok() {
            let batch = loader(&files.test, &recipe, true).epoch(0, 0).next();
            let batch = batch.expect("a batch").expect("images");
            // A smaller set makes one smaller batch.
            let size = recipe.batch_size.min(files.test.len());
            prop_assert_eq!(batch.labels.dims(), [size]);
        }
        Ok(())
    };
    let config = Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&recipes(), check);
    result.unwrap_or_else(|error| panic!("{error}"));
    let (trained, refused) = (trained.get(), refused.get());
    assert!(trained > 30 && refused > 30, "{trained} {refused}");
}
