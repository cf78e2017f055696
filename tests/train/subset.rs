//! Evaluation on images of only some of a network's classes, against PyTorch.

use candle_core::{Device, Result, Tensor};
use candle_mish::eval::{Evaluation, evaluate_subset};
use candle_nn::ModuleT;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    classes: Vec<u32>,
    labels: Vec<u32>,
    logits: Vec<Vec<f32>>,
    all: Figures,
    among: Figures,
}

#[derive(Deserialize)]
struct Figures {
    top1: f64,
    top5: f64,
    loss: f64,
}

/// Takes logits for images.
struct Known;

impl ModuleT for Known {
    fn forward_t(&self, logits: &Tensor, _train: bool) -> Result<Tensor> {
        Ok(logits.clone())
    }
}

fn assert_figures(got: &Evaluation, want: &Figures) {
    assert_eq!(got.images, 24);
    assert!((got.top1 - want.top1).abs() < 1e-12, "{got:?}");
    assert!((got.top5 - want.top5).abs() < 1e-12, "{got:?}");
    // The logits are f32 here.
    assert!((got.loss - want.loss).abs() < 1e-6, "{got:?} {}", want.loss);
}

#[test]
fn a_subset_is_evaluated_as_with_pytorch() -> Result<()> {
    let case: Case =
        serde_json::from_str(include_str!("../reference/subset.json")).expect("a reference");
    assert!(case.among.top1 > case.all.top1 && case.among.top5 > case.all.top5);
    let logits = Tensor::new(case.logits, &Device::Cpu)?;
    let labels = Tensor::new(case.labels, &Device::Cpu)?;
    let batches = (0..3).map(|i| Ok((logits.narrow(0, 8 * i, 8)?, labels.narrow(0, 8 * i, 8)?)));
    let (all, among) = evaluate_subset(&Known, batches, &case.classes)?;
    assert_figures(&all, &case.all);
    assert_figures(&among, &case.among);
    Ok(())
}
