//! Between Candle's CPU storage and the passes: any layout, and halves through `f32`.

use std::borrow::Cow;

use candle_core::{CpuStorage, Layout, Result, bail};

use super::dispatch::{self, Pass};
use super::element::Element;
use super::geometry::Geometry;
use super::workspace::written;
use crate::ops::storage::{Float, with_float};

/// An argument of an op.
pub(super) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// Computes a pass of the convolution from its arguments, in the order that [`Pass`] gives.
pub(super) fn run(pass: Pass, g: &Geometry, arguments: &[Argument]) -> Result<CpuStorage> {
    use candle_core::backend::BackendStorage;
    let Some(dtype) = arguments.first().map(|a| a.0.dtype()) else {
        bail!("conv2d: no arguments")
    };
    if let Some((other, _)) = arguments.iter().find(|a| a.0.dtype() != dtype) {
        bail!(
            "conv2d takes tensors of one dtype, not {dtype:?} and {:?}",
            other.dtype()
        );
    }
    with_float!(dtype, "conv2d", T => {
        let slices = arguments.iter().map(|(storage, layout)| T::read(storage, layout));
        let slices = slices.collect::<Result<Vec<_>>>()?;
        T::into_storage(compute(pass, g, &slices)?, dtype)
    })
}

fn compute<F: Element>(pass: Pass, g: &Geometry, arguments: &[Cow<[F]>]) -> Result<Vec<F>> {
    match (pass, arguments) {
        (Pass::Forward, [x, w, bias @ ..]) => {
            let bias = bias.first().map(|b| b.as_ref());
            // SAFETY: `forward` writes every output.
            unsafe { written(g.out_len(), |y| dispatch::forward(g, x, w, bias, y)) }
        }
        (Pass::InputGrad, [dy, w]) => {
            // SAFETY: `input_grad` writes every value.
            unsafe { written(g.in_len(), |dx| dispatch::input_grad(g, dy, w, dx)) }
        }
        (Pass::WeightGrad, [x, dy]) => {
            let mut dw = vec![F::ZERO; g.weight_len()];
            dispatch::weight_grad(g, x, dy, &mut dw);
            Ok(dw)
        }
        (Pass::BiasGrad, [dy]) => Ok(dispatch::bias_grad(g, dy)),
        _ => unreachable!("each op passes the arguments of its pass"),
    }
}
