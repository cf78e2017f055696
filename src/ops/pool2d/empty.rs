//! Pools of empty tensors.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::ops::composed::{Composed1, apply1};
use crate::ops::storage::{Float, with_float};

/// The pool `op` of an empty `x`, with `outputs` in place of the last two axes of `x`.
///
/// It lists no windows, because an empty tensor may have an axis of any size.
pub(super) fn of_empty(op: &'static str, x: &Tensor, outputs: &[usize]) -> Result<Tensor> {
    let planes = &x.dims()[..x.rank() - 2];
    let shape = Shape::from([planes, outputs].concat());
    apply1(OfEmpty { op, shape }, x)
}

struct OfEmpty {
    op: &'static str,
    shape: Shape,
}

impl CustomOp1 for OfEmpty {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let y = with_float!(dtype, self.op, T => T::into_storage(Vec::new(), dtype)?);
        Ok((y, self.shape.clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, _grad: &Tensor) -> Result<Option<Tensor>> {
        x.zeros_like().map(Some)
    }
}

impl Composed1 for OfEmpty {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        bail!("{}: {:?} is not empty", self.op, x.dims())
    }
}
