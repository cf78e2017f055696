//! Runs the passes on Candle's CPU storage: any layout, and halves through `f32`.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use candle_core::{CpuStorage, DType, Layout, Result, bail};

use super::dispatch::{self, Pass};
use super::element::Element;
use super::fp32_precision::Fp32Precision;
use super::geometry::Geometry;
use super::inference::Inference;
use super::pack::packed_weight::PackedWeight;
use crate::ops::memory_format::{MemoryFormat, reordered};
use crate::ops::storage::{Float, try_written, with_float};

/// An argument of an op.
pub(super) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// Computes a pass of the convolution from its arguments, in the order that [`Pass`] gives.
pub(super) fn run(
    pass: Pass,
    g: &Geometry,
    precision: Fp32Precision,
    arguments: &[Argument],
) -> Result<CpuStorage> {
    run_packed(pass, g, (precision, None), arguments)
}

/// As [`run`]. The convolution in `f32` keeps its packed weight in `packed`.
pub(super) fn run_packed(
    pass: Pass,
    g: &Geometry,
    (precision, packed): (Fp32Precision, Option<&PackedWeight>),
    arguments: &[Argument],
) -> Result<CpuStorage> {
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
        let packed = packed.filter(|_| dtype == DType::F32);
        // The precision is f32's. Halves and f64 have their own.
        let precision = match dtype {
            DType::F32 => precision,
            _ => Fp32Precision::Ieee,
        };
        T::into_storage(compute(pass, g, (precision, packed), &slices)?, dtype)
    })
}

/// The convolution for inference of images in either order.
pub(crate) fn forward_inference(
    g: &Geometry,
    (x, format): (Cow<[f32]>, MemoryFormat),
    w: &[f32],
    bias: Option<&[f32]>,
    inference: Inference,
) -> Result<Vec<f32>> {
    let write = |y: &mut [MaybeUninit<f32>]| match inference.format {
        MemoryFormat::ChannelsLast => {
            dispatch::forward_channels_last(g, (&x, format), w, bias, inference, y);
        }
        MemoryFormat::Contiguous => {
            let formats = (format, MemoryFormat::Contiguous);
            let x = reordered(Cow::Borrowed(&x), formats, g.c_in, g.in_plane());
            dispatch::forward(g, &x, w, bias, inference, y);
        }
    };
    // SAFETY: both functions write every output.
    unsafe { result(g.out_len(), write) }
}

fn compute<F: Element>(
    pass: Pass,
    g: &Geometry,
    (precision, packed): (Fp32Precision, Option<&PackedWeight>),
    arguments: &[Cow<[F]>],
) -> Result<Vec<F>> {
    match (pass, arguments) {
        (Pass::Forward, [x, w, bias @ ..]) => {
            let bias = bias.first().map(|b| b.as_ref());
            let inference = Inference {
                packed,
                finish: None,
                format: MemoryFormat::Contiguous,
                precision,
            };
            // SAFETY: `forward` writes every output.
            unsafe {
                result(g.out_len(), |y| {
                    dispatch::forward(g, x, w, bias, inference, y);
                })
            }
        }
        (Pass::InputGrad, [dy, w]) => {
            // SAFETY: `input_grad` writes every value.
            unsafe {
                result(g.in_len(), |dx| {
                    dispatch::input_grad(g, precision, dy, w, dx);
                })
            }
        }
        (Pass::WeightGrad, [x, dy]) => {
            let mut dw = vec![F::ZERO; g.weight_len()];
            dispatch::weight_grad(g, precision, x, dy, &mut dw);
            Ok(dw)
        }
        (Pass::BiasGrad, [dy]) => Ok(dispatch::bias_grad(g, dy)),
        _ => unreachable!("each op passes the arguments of its pass"),
    }
}

/// [`try_written`] with the error of a convolution: with large padding a legal result may not fit
/// in memory.
///
/// # Safety
/// `write` must initialise every value of its slice.
unsafe fn result<F>(len: usize, write: impl FnOnce(&mut [MaybeUninit<F>])) -> Result<Vec<F>> {
    // SAFETY: guaranteed by the caller.
    match unsafe { try_written(len, write) } {
        Ok(values) => Ok(values),
        Err(_) => bail!("conv2d: not enough memory for a result of {len} values"),
    }
}
