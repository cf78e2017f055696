//! Candle's CPU storage to slices and back: any layout, halves through `f32`.

use std::borrow::Cow;

use candle_core::{CpuStorage, DType, Layout, Result, WithDType, bail};
use half::{bf16, f16};

use super::element::Element;
use super::geometry::Geometry;
use super::kernel;
use super::workspace::written;

/// What to compute from the arguments, in their order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pass {
    /// From x, weight and perhaps bias.
    Forward,
    /// From dy and weight.
    InputGrad,
    /// From x and dy.
    WeightGrad,
    /// From dy.
    BiasGrad,
}

/// An argument of an op.
pub(super) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// Computes one pass of the convolution.
pub(super) fn run(pass: Pass, g: &Geometry, arguments: &[Argument]) -> Result<CpuStorage> {
    use candle_core::backend::BackendStorage;
    let Some(dtype) = arguments.first().map(|a| a.0.dtype()) else {
        bail!("conv2d: no arguments")
    };
    match dtype {
        DType::F32 => typed::<f32>(pass, g, arguments),
        DType::F64 => typed::<f64>(pass, g, arguments),
        DType::F16 => halves::<f16>(pass, g, arguments, f16::to_f32, f16::from_f32),
        DType::BF16 => halves::<bf16>(pass, g, arguments, bf16::to_f32, bf16::from_f32),
        other => bail!("conv2d: takes f32, f64, f16 or bf16, not {other:?}"),
    }
}

fn typed<T: Element + WithDType>(
    pass: Pass,
    g: &Geometry,
    arguments: &[Argument],
) -> Result<CpuStorage> {
    let slices = arguments
        .iter()
        .map(|a| dense::<T>(a))
        .collect::<Result<Vec<_>>>()?;
    Ok(T::to_cpu_storage_owned(compute(pass, g, &slices)))
}

fn halves<T: WithDType>(
    pass: Pass,
    g: &Geometry,
    arguments: &[Argument],
    widen: fn(T) -> f32,
    narrow: fn(f32) -> T,
) -> Result<CpuStorage> {
    let slices = arguments
        .iter()
        .map(|a| Ok(dense::<T>(a)?.iter().map(|v| widen(*v)).collect()))
        .collect::<Result<Vec<Cow<[f32]>>>>()?;
    let result = compute(pass, g, &slices).into_iter().map(narrow).collect();
    Ok(T::to_cpu_storage_owned(result))
}

/// The values of an argument in order; a copy only where its layout has gaps.
fn dense<'a, T: WithDType>((storage, layout): &Argument<'a>) -> Result<Cow<'a, [T]>> {
    let values = T::cpu_storage_as_slice(storage)?;
    if let Some((start, end)) = layout.contiguous_offsets() {
        return Ok(Cow::Borrowed(&values[start..end]));
    }
    let mut dense = Vec::with_capacity(layout.shape().elem_count());
    gather(
        values,
        layout.start_offset(),
        layout.dims(),
        layout.stride(),
        &mut dense,
    );
    Ok(Cow::Owned(dense))
}

/// Appends the values at the indices that `dims` and `strides` span from `offset`.
fn gather<T: Copy>(
    values: &[T],
    offset: usize,
    dims: &[usize],
    strides: &[usize],
    dense: &mut Vec<T>,
) {
    match (dims, strides) {
        (&[len], &[1]) => dense.extend_from_slice(&values[offset..offset + len]),
        (&[len], &[step]) => dense.extend((0..len).map(|i| values[offset + i * step])),
        (&[len, ref dims @ ..], &[step, ref strides @ ..]) => {
            for i in 0..len {
                gather(values, offset + i * step, dims, strides, dense);
            }
        }
        _ => dense.push(values[offset]),
    }
}

fn compute<F: Element>(pass: Pass, g: &Geometry, arguments: &[Cow<[F]>]) -> Vec<F> {
    match (pass, arguments) {
        (Pass::Forward, [x, w, bias @ ..]) => {
            let bias = bias.first().map(|b| b.as_ref());
            // SAFETY: `forward` writes every output.
            unsafe { written(g.out_len(), |y| kernel::forward(g, x, w, bias, y)) }
        }
        (Pass::InputGrad, [dy, w]) => {
            // SAFETY: `input_grad` writes every value.
            unsafe { written(g.in_len(), |dx| kernel::input_grad(g, dy, w, dx)) }
        }
        (Pass::WeightGrad, [x, dy]) => {
            let mut dw = vec![F::ZERO; g.weight_len()];
            kernel::weight_grad(g, x, dy, &mut dw);
            dw
        }
        (Pass::BiasGrad, [dy]) => kernel::bias_grad(g, dy),
        _ => unreachable!("each op hands over the arguments of its pass"),
    }
}
