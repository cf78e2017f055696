//! The sum of two gradients of one tensor.
//!
//! A gradient may be a view with one value for each plane, as from the mean of a plane. A sum reads
//! that value once and adds it to the whole plane.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use half::{bf16, f16};

use super::tape::span;
use crate::parallel::{PARALLEL_THRESHOLD, build};

/// `a + b`, without a graph. On the CPU it uses all threads, unlike Candle's addition. Both round
/// once.
pub(super) fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        bail!(
            "the gradients of one tensor differ: {:?} of {:?}, and {:?} of {:?}",
            a.dims(),
            a.dtype(),
            b.dims(),
            b.dtype()
        );
    }
    if !a.device().is_cpu() {
        return (a + b).map(|sum| sum.detach());
    }
    let (a, b) = match plane(a.layout()) {
        Some(_) => (b, a),
        None => (a, b),
    };
    let a = a.contiguous()?;
    match plane(b.layout()) {
        Some(_) => a.apply_op2_no_bwd(b, &Sum),
        None => a.apply_op2_no_bwd(&b.contiguous()?, &Sum),
    }
}

/// `gradient`, with memory for each of its values if it is a view with one value for each plane on
/// the CPU.
pub(super) fn whole(gradient: Tensor) -> Result<Tensor> {
    match plane(gradient.layout()) {
        Some(_) if gradient.device().is_cpu() => {
            let _entered = span(Whole.name(), "backward").entered();
            gradient.apply_op1_no_bwd(&Whole)
        }
        _ => Ok(gradient),
    }
}

/// The number of values of a plane, if `layout` has one value for each plane and the values of
/// different planes follow each other.
fn plane(layout: &Layout) -> Option<usize> {
    let (&[ref planes @ .., h, w], &[ref steps @ .., 0, 0]) = (layout.dims(), layout.stride())
    else {
        return None;
    };
    let mut next = 1;
    for (len, step) in planes.iter().zip(steps).rev() {
        if *len > 1 && *step != next {
            return None;
        }
        next *= len;
    }
    (h * w > 0 && next > 0).then_some(h * w)
}

struct Sum;

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "gradient sum"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Some(of_a) = a_layout.contiguous_offsets() else {
            bail!("{} takes a contiguous tensor", self.name());
        };
        let of_a = of_a.0..of_a.1;
        let (of_b, plane) = values(self.name(), b_layout)?;
        macro_rules! sum {
            ($variant:ident, $a:expr, $b:expr, $add:expr) => {
                CpuStorage::$variant(added(&$a[of_a], &$b[of_b], plane, $add))
            };
        }
        let sum = match (a, b) {
            (CpuStorage::F32(a), CpuStorage::F32(b)) => sum!(F32, a, b, |a, b| a + b),
            (CpuStorage::F64(a), CpuStorage::F64(b)) => sum!(F64, a, b, |a, b| a + b),
            (CpuStorage::F16(a), CpuStorage::F16(b)) => {
                sum!(F16, a, b, |a, b| f16::from_f32(a.to_f32() + b.to_f32()))
            }
            (CpuStorage::BF16(a), CpuStorage::BF16(b)) => {
                sum!(BF16, a, b, |a, b| bf16::from_f32(a.to_f32() + b.to_f32()))
            }
            _ => bail!("{} takes f32, f64, f16 or bf16", self.name()),
        };
        Ok((sum, a_layout.shape().clone()))
    }
}

/// Where the values of a contiguous layout, or of a view with one value for each plane, are, and the
/// length of a plane.
fn values(op: &str, layout: &Layout) -> Result<(std::ops::Range<usize>, usize)> {
    if let Some((start, end)) = layout.contiguous_offsets() {
        return Ok((start..end, 1));
    }
    let Some(plane) = plane(layout) else {
        bail!("{op} takes a contiguous tensor, or one value for each plane");
    };
    let start = layout.start_offset();
    Ok((start..start + layout.shape().elem_count() / plane, plane))
}

/// The element-wise sums of `a` and `b`, which has one value for each `plane` values of `a`.
fn added<T: Copy + Send + Sync>(
    a: &[T],
    b: &[T],
    plane: usize,
    add: impl Fn(T, T) -> T + Sync,
) -> Vec<T> {
    assert_eq!(a.len(), b.len() * plane);
    if plane > 1 {
        let fill = |index: usize, chunk: &mut [MaybeUninit<T>]| {
            for (y, a) in chunk.iter_mut().zip(&a[index * plane..]) {
                y.write(add(*a, b[index]));
            }
        };
        // SAFETY: `a` is as long as the result, so the zip writes all of a chunk.
        return unsafe { build(a.len(), plane, fill) };
    }
    let fill = |index: usize, chunk: &mut [MaybeUninit<T>]| {
        let start = index * PARALLEL_THRESHOLD;
        for (y, (a, b)) in chunk.iter_mut().zip(a[start..].iter().zip(&b[start..])) {
            y.write(add(*a, *b));
        }
    };
    // SAFETY: `a` and `b` are as long as the result, so the zip writes all of a chunk.
    unsafe { build(a.len(), PARALLEL_THRESHOLD, fill) }
}

/// A copy of a view with one value for each plane.
struct Whole;

impl CustomOp1 for Whole {
    fn name(&self) -> &'static str {
        "gradient of planes"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn repeated<T: Copy + Send + Sync>(x: &[T], plane: usize) -> Vec<T> {
            let fill = |index: usize, chunk: &mut [MaybeUninit<T>]| {
                chunk.fill(MaybeUninit::new(x[index]));
            };
            // SAFETY: a chunk is filled.
            unsafe { build(x.len() * plane, plane, fill) }
        }
        let (of_x, plane) = values(self.name(), layout)?;
        let y = match x {
            CpuStorage::F32(x) => CpuStorage::F32(repeated(&x[of_x], plane)),
            CpuStorage::F64(x) => CpuStorage::F64(repeated(&x[of_x], plane)),
            CpuStorage::F16(x) => CpuStorage::F16(repeated(&x[of_x], plane)),
            CpuStorage::BF16(x) => CpuStorage::BF16(repeated(&x[of_x], plane)),
            _ => bail!("{} takes f32, f64, f16 or bf16", self.name()),
        };
        Ok((y, layout.shape().clone()))
    }
}
