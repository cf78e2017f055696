//! The sum of two gradients of one tensor.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use half::{bf16, f16};

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
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Sum)
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
        let (Some(of_a), Some(of_b)) =
            (a_layout.contiguous_offsets(), b_layout.contiguous_offsets())
        else {
            bail!("{} takes contiguous tensors", self.name());
        };
        let (of_a, of_b) = (of_a.0..of_a.1, of_b.0..of_b.1);
        macro_rules! sum {
            ($variant:ident, $a:expr, $b:expr, $add:expr) => {
                CpuStorage::$variant(added(&$a[of_a], &$b[of_b], $add))
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

/// The element-wise sums of two slices of equal length.
fn added<T: Copy + Send + Sync>(a: &[T], b: &[T], add: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    assert_eq!(a.len(), b.len());
    let fill = |index: usize, chunk: &mut [std::mem::MaybeUninit<T>]| {
        let start = index * PARALLEL_THRESHOLD;
        for (y, (a, b)) in chunk.iter_mut().zip(a[start..].iter().zip(&b[start..])) {
            y.write(add(*a, *b));
        }
    };
    // SAFETY: `a` and `b` are as long as the result, so the zip writes all of a chunk.
    unsafe { build(a.len(), PARALLEL_THRESHOLD, fill) }
}
