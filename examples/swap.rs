//! Swaps the activation of a network, and measures it at once, with new batch-norm statistics and
//! after some training. The weights are random here; `from_file` opens trained ones.
//!
//! `cargo run --release --package candle-mish-models --features swap --example swap`

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device};
use candle_mish::data::{self, DataOptions, DatasetKind, Loader, LoaderConfig};
use candle_mish::swap::{FineTune, SwapData, SwapOptions, study};
use candle_mish::{Activation, nn::ParamStore, train::Recipe};
use candle_mish_models::{ModelSpec, create, swap::Subject};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let set = data::open(&DataOptions {
        dataset: DatasetKind::Synthetic,
        limit_train: Some(640),
        limit_test: Some(200),
        ..DataOptions::default()
    })?;
    let in_order = LoaderConfig::in_order(32, set.mean, set.std);
    let (train, test) = (in_order.clone().shuffled(), in_order);
    let train = Loader::new(set.train, train);
    let data = SwapData {
        train: &train,
        calibration: &train,
        test: &Loader::new(set.test, test),
        normalisation: (set.mean, set.std),
    };

    let mut spec = ModelSpec::new("resnet20");
    spec.activation = Activation::Relu;
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    create(&spec, store.var_builder())?;
    let tensors = store.tensors().into_iter().collect();
    let subject = Subject::new(spec, tensors, 0, &Device::Cpu)?;

    let to = [Activation::Mish, Activation::Silu];
    let mut options = SwapOptions::new("resnet20", Activation::Relu, &to);
    options.recalibration_batches = 4;
    options.fine_tune = Some(FineTune {
        steps: 20,
        recipe: Recipe::default(),
        blend: None,
        evaluations: 0,
    });
    let build = |replacement: Option<&_>| subject.variant(replacement);
    let report = study(
        &build,
        &options,
        &data,
        &mut |_| {},
        &AtomicBool::new(false),
    )?;
    for row in report.rows {
        let top1 = 100.0 * row.comparison.top1.value;
        println!("{} {}: top-1 {top1:.1} %", row.activation, row.stage);
    }
    Ok(())
}
