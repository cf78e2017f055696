//! Dropout in Candle's ops. The mask comes from the CPU, so it is the same on each device.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::Dropout;
use crate::ops::composed::{Composed1, wide};

impl Composed1 for Dropout {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let kept: Vec<u8> = (0..x.elem_count())
            .into_par_iter()
            .map(|position| self.keeps(position).into())
            .collect();
        let kept = Tensor::from_vec(kept, x.shape(), x.device())?;
        let scaled = (wide("dropout", x)?.contiguous()? * (1.0 / (1.0 - self.p)))?;
        let y = kept.where_cond(&scaled, &scaled.zeros_like()?)?;
        y.to_dtype(x.dtype())
    }
}
