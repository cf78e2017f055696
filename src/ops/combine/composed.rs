//! Sums, concatenations, slices and scales in Candle's ops.

use candle_core::{Result, Tensor};

use super::concat::{Cat, Copy, Unsqueeze};
use super::scale::{FactorGrad, Scale, ScaleChannels};
use super::scale_add_act::{OP as SCALE_ADD_ACT, ScaleAddAct};
use super::sum::Add;
use super::view::{Narrow, Pad, Permute, Reshape};
use crate::ops::activation::{activation as activate, activation_gradient};
use crate::ops::composed::{Composed1, Composed2, Composed3, wide};
use crate::ops::storage::same_dtype;

impl Composed2 for Add {
    fn composed(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        same_dtype("add", a.dtype(), b.dtype())?;
        let (wide_a, wide_b) = (wide("add", a)?, wide("add", b)?);
        let sum = if self.scale == 1.0 {
            wide_a + wide_b
        } else {
            wide_a + (wide_b * self.scale)?
        };
        sum?.to_dtype(a.dtype())
    }
}

impl Composed2 for Cat {
    fn composed(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Tensor::cat(&[a.contiguous()?, b.contiguous()?], self.dim)
    }
}

impl Composed3 for Cat {
    fn composed(&self, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
        let parts = [a.contiguous()?, b.contiguous()?, c.contiguous()?];
        Tensor::cat(&parts, self.dim)
    }
}

impl Composed1 for Copy {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        x.force_contiguous()
    }
}

impl Composed1 for Unsqueeze {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        x.unsqueeze(0)
    }
}

impl Composed1 for Narrow {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(self.dim, self.start, self.len)?.force_contiguous()
    }
}

impl Composed1 for Pad {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        x.pad_with_zeros(self.dim, self.before, self.after)?
            .force_contiguous()
    }
}

impl Composed1 for Reshape {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        x.reshape(&self.shape)
    }
}

impl Composed1 for Permute {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        x.permute(self.axes.as_slice())?.force_contiguous()
    }
}

impl Composed2 for ScaleChannels {
    fn composed(&self, x: &Tensor, s: &Tensor) -> Result<Tensor> {
        same_dtype("scale_channels", x.dtype(), s.dtype())?;
        let (n, c, _, _) = x.dims4()?;
        let factors = wide("scale_channels", s)?.reshape((n, c, 1, 1))?;
        let y = wide("scale_channels", x)?.broadcast_mul(&factors)?;
        y.to_dtype(x.dtype())
    }
}

impl Composed2 for FactorGrad {
    fn composed(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        same_dtype("scale_channels", x.dtype(), grad.dtype())?;
        let products = (wide("scale_channels", x)? * wide("scale_channels", grad)?)?;
        let sums = products.sum((2, 3))?.reshape(&self.shape)?;
        sums.to_dtype(x.dtype())
    }
}

impl ScaleAddAct {
    /// x, s and x s + residual in their compute type; s as `[N, C, 1, 1]`.
    fn inner(&self, x: &Tensor, s: &Tensor, residual: &Tensor) -> Result<[Tensor; 3]> {
        same_dtype(SCALE_ADD_ACT, x.dtype(), s.dtype())?;
        same_dtype(SCALE_ADD_ACT, x.dtype(), residual.dtype())?;
        let (n, c, _, _) = x.dims4()?;
        let x = wide(SCALE_ADD_ACT, x)?;
        let factors = wide(SCALE_ADD_ACT, s)?.reshape((n, c, 1, 1))?;
        let inner = (x.broadcast_mul(&factors)? + wide(SCALE_ADD_ACT, residual)?)?;
        Ok([x, factors, inner])
    }

    /// The gradients of x, s and the residual in Candle's ops.
    pub(super) fn composed_gradients(
        &self,
        [x, s, residual]: [&Tensor; 3],
        grad: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let dtype = x.dtype();
        same_dtype(SCALE_ADD_ACT, dtype, grad.dtype())?;
        let [x, factors, inner] = self.inner(&x.detach(), &s.detach(), &residual.detach())?;
        let grad = wide(SCALE_ADD_ACT, &grad.detach())?;
        let of_inner = activation_gradient(&inner, &grad, &self.activation)?;
        let of_x = of_inner.broadcast_mul(&factors)?;
        let of_s = (of_inner.contiguous()? * x)?.sum((2, 3))?;
        Ok([
            of_x.to_dtype(dtype)?,
            of_s.reshape(s.shape())?.to_dtype(dtype)?,
            of_inner.to_dtype(dtype)?,
        ])
    }
}

impl Composed3 for ScaleAddAct {
    fn composed(&self, x: &Tensor, s: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let [_, _, inner] = self.inner(x, s, residual)?;
        activate(&inner, &self.activation)?.to_dtype(x.dtype())
    }
}

impl Composed1 for Scale {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        (wide("scale", x)? * self.factor)?.to_dtype(x.dtype())
    }
}
