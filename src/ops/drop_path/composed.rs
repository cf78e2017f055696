//! Stochastic depth in Candle's ops.

use candle_core::{Result, Tensor};

use super::{DropPath, OP};
use crate::ops::composed::{Composed1, constants, wide};

impl Composed1 for DropPath {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let wide = wide(OP, x)?.contiguous()?;
        let mut dims = vec![1; x.rank()];
        dims[0] = self.factors.len();
        let factors = constants(self.factors.to_vec(), dims, &wide)?;
        // No product for a dropped sample: infinity times zero is NaN.
        let kept = factors.ne(0.0)?.broadcast_as(x.shape())?.contiguous()?;
        let scaled = wide.broadcast_mul(&factors)?;
        let y = kept.where_cond(&scaled, &wide.zeros_like()?)?;
        y.to_dtype(x.dtype())
    }
}
