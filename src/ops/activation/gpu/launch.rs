//! The arguments and sizes that CUDA and Metal kernels are launched with.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{DType, Layout, Result, bail};

use crate::activation::Activation;

/// Threads of a block: a power of two, for blocks that sum.
pub(super) const THREADS: usize = 256;
/// The most blocks of a launch. Beyond that, each thread takes more elements.
const MAX_BLOCKS: usize = 1 << 20;
/// Elements that a block sums, up to [`MAX_PARTS`] blocks.
const SUMMED: usize = 8192;
/// The most blocks that share a sum.
const MAX_PARTS: usize = 1024;
/// Axes that the kernels can iterate over.
const AXES: usize = 8;

/// The strides of two tensors of one shape, as `Strided` in elementwise.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Strided {
    rank: u64,
    dims: [u64; AXES],
    strides: [[u64; AXES]; 2],
}

impl Strided {
    /// Drops axes of size 1 and merges axes that are contiguous with each other in both tensors.
    pub(super) fn new(a: &Layout, b: &Layout) -> Result<Self> {
        let mut axes: Vec<(usize, usize, usize)> = Vec::new();
        let strides = a.stride().iter().zip(b.stride());
        for (dim, (a, b)) in a.dims().iter().zip(strides) {
            match axes.last_mut() {
                _ if *dim == 1 => {}
                Some(outer) if outer.1 == dim * a && outer.2 == dim * b => {
                    *outer = (outer.0 * dim, *a, *b);
                }
                _ => axes.push((*dim, *a, *b)),
            }
        }
        if axes.len() > AXES {
            bail!(
                "activations on a GPU take at most {AXES} axes, but {:?} with strides {:?} has \
                 {}: make it contiguous first",
                a.dims(),
                a.stride(),
                axes.len()
            );
        }
        let mut strided = Self {
            rank: axes.len() as u64,
            dims: [1; AXES],
            strides: [[0; AXES]; 2],
        };
        for (axis, (dim, a, b)) in axes.into_iter().enumerate() {
            strided.dims[axis] = dim as u64;
            strided.strides[0][axis] = a as u64;
            strided.strides[1][axis] = b as u64;
        }
        Ok(strided)
    }
}

/// Runs of elements that share their parameters, as `Planes` in parametric.h.
#[cfg(any(feature = "cuda", feature = "metal"))]
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Planes {
    pub(crate) channels: u64,
    pub(crate) inner: u64,
}

/// The number of blocks for `n` elements, `lanes` at a time.
pub(super) fn blocks(n: usize, lanes: usize) -> usize {
    n.div_ceil(lanes * THREADS).clamp(1, MAX_BLOCKS)
}

/// The number of parts of a sum of `count` elements.
pub(super) fn parts(count: usize) -> usize {
    count.div_ceil(SUMMED).clamp(1, MAX_PARTS)
}

/// The parameters of an activation, in the order of the table.
pub(super) fn parameters(activation: &Activation) -> [f64; 4] {
    let mut values = [0.0; 4];
    for (value, (_, parameter)) in values.iter_mut().zip(activation.parameters()) {
        *value = parameter;
    }
    values
}

/// The name of an element type in the names of kernels.
pub(super) fn type_name(function: &str, dtype: DType) -> Result<&'static str> {
    Ok(match dtype {
        DType::F32 => "f32",
        DType::F64 => "f64",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        dtype => bail!("{function} is not defined for {dtype:?}"),
    })
}

/// Fails unless a gradient has the shape and the type of its tensor.
pub(super) fn check_gradient<B: BackendStorage>(
    x: &B,
    x_layout: &Layout,
    grad: &B,
    grad_layout: &Layout,
) -> Result<()> {
    if x_layout.shape() != grad_layout.shape() || x.dtype() != grad.dtype() {
        bail!(
            "a gradient {:?} of {:?} does not fit an activation {:?} of {:?}",
            grad_layout.shape(),
            grad.dtype(),
            x_layout.shape(),
            x.dtype()
        )
    }
    Ok(())
}

/// Fails unless the parameters of an activation have the type of its argument.
#[cfg(any(feature = "metal", test))]
pub(super) fn check_parameters<B: BackendStorage>(function: &str, x: &B, p: &B) -> Result<()> {
    if x.dtype() != p.dtype() {
        bail!(
            "{function} of {:?} with parameters of {:?}",
            x.dtype(),
            p.dtype()
        )
    }
    Ok(())
}

/// A contiguous copy of a tensor, or `None` if it is contiguous already.
pub(super) fn dense<B>(storage: &B, layout: &Layout) -> Result<Option<B>>
where
    B: BackendStorage<Device: BackendDevice<Storage = B>>,
{
    if layout.is_contiguous() {
        return Ok(None);
    }
    // SAFETY: the copy writes all elements of the shape.
    let mut copy = unsafe {
        storage
            .device()
            .alloc_uninit(layout.shape(), storage.dtype())?
    };
    storage.copy_strided_src(&mut copy, 0, layout)?;
    Ok(Some(copy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{CpuStorage, Device, Tensor};

    /// The offsets that the kernels compute.
    fn places(strided: &Strided, n: usize, which: usize) -> Vec<usize> {
        let place = |mut i: u64| {
            let mut place = 0;
            for axis in (0..strided.rank as usize).rev() {
                place += i % strided.dims[axis] * strided.strides[which][axis];
                i /= strided.dims[axis];
            }
            place as usize
        };
        (0..n as u64).map(place).collect()
    }

    #[test]
    fn places_are_those_of_the_layouts() -> Result<()> {
        let x = Tensor::zeros((3, 4, 5, 6), DType::F32, &Device::Cpu)?;
        let layouts = [
            x.layout().clone(),
            x.transpose(1, 3)?.layout().clone(),
            x.narrow(2, 1, 3)?.layout().clone(),
            x.narrow(0, 1, 1)?.layout().clone(),
            x.narrow(0, 0, 1)?
                .broadcast_as((2, 4, 5, 6))?
                .layout()
                .clone(),
            Tensor::zeros((), DType::F32, &Device::Cpu)?
                .layout()
                .clone(),
        ];
        for layout in layouts {
            let plain = Layout::contiguous(layout.shape());
            let n = layout.shape().elem_count();
            let strided = Strided::new(&layout, &plain)?;
            let axes = layout.dims().iter().zip(layout.stride());
            let expected = axes.fold(vec![0], |places, (dim, stride)| {
                let along = |place| (0..*dim).map(move |i| place + i * stride);
                places.into_iter().flat_map(along).collect()
            });
            assert_eq!(places(&strided, n, 0), expected);
            assert_eq!(places(&strided, n, 1), (0..n).collect::<Vec<_>>());
        }
        // A contiguous tensor is one axis.
        assert_eq!(Strided::new(x.layout(), x.layout())?.rank, 1);
        Ok(())
    }

    #[test]
    fn too_many_axes_are_refused() {
        let dims = [2; 10];
        let x = Tensor::zeros(&dims, DType::F32, &Device::Cpu).unwrap();
        let axes: Vec<usize> = (0..10).rev().collect();
        let x = x.permute(axes).unwrap();
        let error = Strided::new(x.layout(), x.layout()).unwrap_err();
        assert!(error.to_string().contains("make it contiguous"), "{error}");
    }

    #[test]
    fn gradients_have_the_shape_and_type_of_what_they_belong_to() {
        let (x, wide) = (CpuStorage::F32(vec![0.0; 6]), CpuStorage::F64(vec![0.0; 6]));
        let (rows, columns) = (Layout::contiguous((2, 3)), Layout::contiguous((3, 2)));
        assert!(check_gradient(&x, &rows, &x, &rows).is_ok());
        assert!(check_gradient(&x, &rows, &x, &columns).is_err());
        assert!(check_gradient(&x, &rows, &wide, &rows).is_err());
        assert!(check_parameters("prelu", &x, &x).is_ok());
        assert!(check_parameters("prelu", &x, &wide).is_err());
    }

    #[test]
    fn blocks_cover_all_elements_and_sums_have_few_parts() {
        assert_eq!(blocks(1, 4), 1);
        assert_eq!(blocks(1025, 4), 2);
        assert_eq!(blocks(1 << 40, 4), MAX_BLOCKS);
        assert_eq!((parts(0), parts(8192), parts(8193)), (1, 1, 2));
        assert_eq!(parts(1 << 40), MAX_PARTS);
    }

    #[test]
    fn strided_tensors_become_dense() -> Result<()> {
        let x = Tensor::arange(0f32, 6.0, &Device::Cpu)?.reshape((2, 3))?;
        let view = x.t()?;
        let (storage, layout) = view.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else {
            bail!("the tensor is on the CPU");
        };
        let Some(CpuStorage::F32(dense)) = dense(storage, layout)? else {
            bail!("a transposed tensor is not dense");
        };
        assert_eq!(dense, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(
            parameters(&Activation::Hardtanh {
                min: -1.0,
                max: 2.0
            }),
            [-1.0, 2.0, 0.0, 0.0]
        );
        let error = type_name("mish", DType::U8)
            .expect_err("no kernel")
            .to_string();
        // Candle adds a backtrace if RUST_BACKTRACE asks for it.
        assert_eq!(error.lines().next(), Some("mish is not defined for U8"));
        Ok(())
    }
}
