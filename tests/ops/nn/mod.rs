//! The layers: values, keys, initial weights, and random layers in training.

mod activation;
mod channel_shuffle;
mod conv_norm_act;
mod dropout;
mod from_tensors;
mod initialisation;
mod norms;
mod reference;
mod squeeze_excite;

use candle_core::{DType, Result, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::ParamStore;

use crate::support::{device, values};

const HALVES: [DType; 2] = [DType::F16, DType::BF16];

fn store() -> ParamStore {
    ParamStore::new(DType::F64, &device(), 0)
}

fn names(store: &ParamStore) -> Vec<String> {
    let tensors = store.tensors().into_iter();
    tensors.map(|(name, _)| name).collect()
}

/// Fails unless every parameter of `store` has a gradient in the sum of squares of `y`.
fn check_reached(store: &ParamStore, y: impl FnOnce() -> Result<Tensor>) -> Result<()> {
    let (_, (), gradients) = value_and_grad(|| Ok((y()?.sqr()?.sum_all()?, ())))?;
    for (name, var) in store.params() {
        let gradient = gradients.get(&var).map(values).unwrap_or_default();
        assert_eq!(gradient.len(), var.elem_count(), "{name}");
        assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
    }
    Ok(())
}
