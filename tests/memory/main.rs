//! Counts allocated bytes in the allocator: a cost that needs no clock.

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::{Forward, recompute, step_memory, value_and_grad};
use candle_mish::eval::evaluate;
use candle_mish::nn::{self, Act, BatchNorm2d, Conv2d, Conv2dConfig, Linear, ParamStore};
use candle_mish::ops::{Conv2dParams, conv2d, global_avg_pool2d, squared_error};
use candle_mish::rng::Generator;
use candle_nn::{Module, ModuleT};

/// The system's allocator, which counts bytes.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The counts belong to the whole process, so tests run one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Bytes that `work` allocates, whether or not it frees them.
fn allocated(work: impl FnOnce() -> Result<()>) -> Result<usize> {
    let before = ALLOCATED.load(Relaxed);
    work()?;
    Ok(ALLOCATED.load(Relaxed) - before)
}

/// Candle splits a grouped convolution into one per group, and the backward pass of each fills a
/// tensor of the size of the whole input: with four times the channels it allocates about sixteen
/// times the bytes. This crate allocates four times the bytes.
#[test]
fn the_cost_of_groups_is_quadratic_in_candle_and_linear_here() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock();
    let gradients = |channels: usize, ours: bool| -> Result<usize> {
        let x = Var::zeros((2, channels, 8, 8), DType::F32, &Device::Cpu)?;
        let w = Var::zeros((channels, 1, 3, 3), DType::F32, &Device::Cpu)?;
        let params = Conv2dParams {
            padding: (1, 1),
            groups: channels,
            ..Conv2dParams::default()
        };
        let work = || -> Result<()> {
            let y = if ours {
                conv2d(&x, &w, None, &params)?
            } else {
                x.conv2d(&w, 1, 1, 1, channels)?
            };
            y.backward()?;
            Ok(())
        };
        // The first call also allocates the workspaces that later calls reuse.
        work()?;
        allocated(work)
    };
    let growth =
        |ours| -> Result<f64> { Ok(gradients(128, ours)? as f64 / gradients(32, ours)? as f64) };
    let (candle, here) = (growth(false)?, growth(true)?);
    assert!(candle > 8.0, "Candle's grew {candle:.1} times");
    assert!(here < 5.0, "ours grew {here:.1} times");
    Ok(())
}

struct Network {
    conv: Conv2d,
    bn: BatchNorm2d,
    act: Act,
    fc: Linear,
}

impl ModuleT for Network {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.conv.forward(x)?;
        let x = self.bn.forward_act(&x, None, &self.act, train)?;
        self.fc.forward(&global_avg_pool2d(&x)?)
    }
}

/// Without a graph nothing outlives its batch: twenty batches need as much memory as three.
#[test]
fn evaluation_needs_the_memory_of_one_batch() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock();
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let build = |store: &ParamStore| -> Result<Network> {
        let vb = store.var_builder();
        let generator = Generator::new(0);
        Ok(Network {
            conv: nn::conv2d(3, 16, Conv2dConfig::same(3), vb.pp("conv"))?,
            bn: nn::batch_norm2d(16, vb.pp("bn"))?,
            act: nn::act(&candle_mish::Activation::Mish, 16, vb.pp("act"), &generator)?,
            fc: nn::linear(16, 10, vb.pp("fc"))?,
        })
    };
    build(&store)?;
    let network = build(&store.frozen())?;
    let peak = |batches: usize| -> Result<usize> {
        let batch = |_| -> Result<(Tensor, Tensor)> {
            let images = Tensor::zeros((8, 3, 32, 32), DType::F32, &Device::Cpu)?;
            let labels = Tensor::zeros(8, DType::U32, &Device::Cpu)?;
            Ok((images, labels))
        };
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        evaluate(&network, (0..batches).map(batch))?;
        Ok(PEAK.load(Relaxed) - before)
    };
    peak(3)?;
    let (few, many) = (peak(3)?, peak(20)?);
    let activation = 8 * 16 * 32 * 32 * size_of::<f32>();
    assert!(few > activation, "{few} bytes are less than an activation");
    assert!(
        many < few + activation,
        "3 batches: {few}, 20 batches: {many}"
    );
    Ok(())
}

/// A chain of eight parts of three layers. With gradient checkpointing, the activations of one part are
/// in memory at a time, and the estimate agrees with the allocator.
#[test]
fn gradient_checkpointing_takes_less_memory() -> Result<()> {
    const CHANNELS: usize = 16;
    let _alone = ONE_AT_A_TIME.lock();
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let generator = Generator::new(0);
    let part = |i: usize| -> Result<Forward> {
        let layer = |name| {
            let vb = store.var_builder().pp(i).pp(name);
            let conv = Conv2dConfig::same(3);
            let mish = candle_mish::Activation::Mish;
            nn::conv_norm_act(CHANNELS, CHANNELS, conv, &mish, vb, &generator)
        };
        let layers = [layer("a")?, layer("b")?, layer("c")?];
        Ok(Rc::new(move |x: &Tensor| {
            let apply = |x: Tensor, layer: &nn::ConvNormAct| layer.forward_t(&x, true);
            layers.iter().try_fold(x.clone(), apply)
        }))
    };
    let parts = (0..8).map(part).collect::<Result<Vec<_>>>()?;
    let images = Tensor::ones((8, CHANNELS, 32, 32), DType::F32, &Device::Cpu)?;
    let loss = |again: bool| -> Result<Tensor> {
        let apply = |x: Tensor, part: &Forward| match again {
            true => recompute(&generator, Rc::clone(part), &x),
            false => part(&x),
        };
        let y = parts.iter().try_fold(images.clone(), apply)?;
        let mean = global_avg_pool2d(&y)?;
        squared_error(&mean, &mean.zeros_like()?, 1.0)
    };
    let peak = |again: bool| -> Result<usize> {
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        value_and_grad(|| Ok((loss(again)?, ())))?;
        Ok(PEAK.load(Relaxed) - before)
    };
    // The first calls also allocate the workspaces that later calls reuse.
    peak(false)?;
    let (plain, again) = (peak(false)?, peak(true)?);
    assert!(again < plain / 2, "{again} of {plain} bytes");
    for (measured, again) in [(plain, false), (again, true)] {
        let estimated = step_memory(8, || loss(again))?.peak(8);
        let ratio = measured as f64 / estimated as f64;
        assert!(
            (0.8..1.25).contains(&ratio),
            "{measured} of {estimated} bytes"
        );
    }
    Ok(())
}
