//! Updates as compositions of Candle's ops: for all rules on devices other than the CPU, and for the
//! rules that need whole tensors.

use candle_core::{DType, Result, Tensor, Var, bail};

use super::number::Whole;
use super::update::{Prepare, Update};

/// Applies a rule to a parameter and its buffers.
pub(super) fn apply(
    update: &Update,
    var: &Var,
    gradient: &Tensor,
    buffers: &mut [Tensor],
    rule: impl FnOnce(Whole, Whole, &mut [Whole]) -> Result<Whole>,
) -> Result<()> {
    match var.dtype() {
        DType::F32 | DType::F64 => {}
        dtype => bail!("the optimizers update f32 and f64 parameters, not {dtype:?}"),
    }
    if gradient.dtype() != var.dtype() {
        bail!("a gradient has another dtype than its parameter");
    }
    let weight = Whole::new(&var.as_detached_tensor());
    let (weight, gradient) = update.prepare(weight, Whole::new(&gradient.detach()));
    let mut state: Vec<Whole> = buffers.iter().map(Whole::new).collect();
    let new = rule(weight, gradient, &mut state)?;
    for (buffer, new) in buffers.iter_mut().zip(state) {
        *buffer = new.tensor()?;
    }
    var.set(&new.tensor()?)
}
