//! The affine map of a fully connected layer.

mod composed;

use std::mem::MaybeUninit;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;

use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::{apply2, apply3, run2};
use crate::ops::storage::{
    Float, PARALLEL_THRESHOLD, elements, fill, same_dtype, with_float, written,
};

const OP: &str = "linear";

/// Multiplications below which one thread does the work: a value of a product costs about as much
/// as 16 of a copy.
const PARALLEL_PRODUCTS: usize = 16 * PARALLEL_THRESHOLD;

/// `x weight^T + bias`.
///
/// # Shapes
/// - `x`: `[.., I]`
/// - `weight`: `[O, I]`
/// - `bias`: `[O]`
/// - result: `[.., O]`
///
/// # Errors
/// If shapes or types do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let &[outputs, inputs] = weight.dims() else {
        bail!("{OP} takes a weight [O, I], not {:?}", weight.dims());
    };
    if x.dims().last() != Some(&inputs) {
        bail!(
            "{OP}: the last axis of {:?} is not the {inputs} inputs of the weight",
            x.dims()
        );
    }
    match bias {
        None => {
            let y = apply2(Linear, x, weight)?;
            noted(y, || Operation::Linear, &[x, weight])
        }
        Some(bias) if bias.dims() == [outputs] => {
            let y = apply3(Linear, x, weight, bias)?;
            noted(y, || Operation::Linear, &[x, weight, bias])
        }
        Some(bias) => bail!(
            "{OP}: bias {:?} does not fit {outputs} outputs",
            bias.dims()
        ),
    }
}

struct Linear;

/// A matrix: values, size and strides.
#[derive(Clone, Copy)]
struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    strides: (isize, isize),
}

impl<'a, T> Matrix<'a, T> {
    /// `values` row by row.
    fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self {
            values,
            rows,
            columns,
            strides: (columns as isize, 1),
        }
    }

    fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            strides: (self.strides.1, self.strides.0),
        }
    }
}

/// `a b` row by row, with the row `start` added to each row if given.
fn product<T: Float>(a: Matrix<T>, b: Matrix<T>, start: Option<&[T]>) -> Result<Vec<T>> {
    assert_eq!(a.columns, b.rows);
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let len = elements(OP, &[m, n])?;
    let products = len.saturating_mul(k);
    let parallelism = if products < PARALLEL_PRODUCTS {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    };
    let write = |y: &mut [MaybeUninit<T>]| {
        if let Some(start) = start {
            assert_eq!(start.len(), n);
            for row in y.chunks_exact_mut(n.max(1)) {
                for (y, start) in row.iter_mut().zip(start) {
                    y.write(*start);
                }
            }
        } else if k == 0 {
            fill(y, T::zero());
        }
        if products == 0 {
            return;
        }
        // SAFETY: `Matrix::new` checks that the strides of `a` and `b` stay within their values.
        // `y` has `m * n` values, which are read only if `start` has initialised them.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                y.as_mut_ptr().cast::<T>(),
                1,
                n as isize,
                start.is_some(),
                a.values.as_ptr(),
                a.strides.1,
                a.strides.0,
                b.values.as_ptr(),
                b.strides.1,
                b.strides.0,
                T::one(),
                T::one(),
                false,
                false,
                false,
                parallelism,
            );
        }
    };
    // SAFETY: `start`, the zeros or the product initialise every value.
    Ok(unsafe { written(len, write) })
}

fn forward(
    (x, x_layout): (&CpuStorage, &Layout),
    (weight, weight_layout): (&CpuStorage, &Layout),
    bias: Option<(&CpuStorage, &Layout)>,
) -> Result<(CpuStorage, Shape)> {
    let (outputs, inputs) = weight_layout.shape().dims2()?;
    let dtype = x.dtype();
    same_dtype(OP, dtype, weight.dtype())?;
    if let Some((bias, _)) = bias {
        same_dtype(OP, dtype, bias.dtype())?;
    }
    let mut dims = x_layout.dims().to_vec();
    dims.pop();
    let rows = elements(OP, &dims)?;
    dims.push(outputs);
    let y = with_float!(dtype, OP, T => {
        let (x, weight) = (T::read(x, x_layout)?, T::read(weight, weight_layout)?);
        let bias = bias.map(|(bias, layout)| T::read(bias, layout)).transpose()?;
        let weight = Matrix::new(&weight, outputs, inputs).transposed();
        let y = product(Matrix::new(&x, rows, inputs), weight, bias.as_deref())?;
        T::into_storage(y, dtype)?
    });
    Ok((y, dims.into()))
}

/// The gradients of `x` and `weight`, each only if it is tracked.
fn backward(
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let dx = if x.track_op() {
        Some(run2(&InputGrad, grad, weight)?)
    } else {
        None
    };
    let dw = if weight.track_op() {
        Some(run2(&WeightGrad, grad, x)?)
    } else {
        None
    };
    Ok((dx, dw))
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        forward((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        backward(x, weight, grad)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = Some((bias, bias_layout));
        forward((x, x_layout), (weight, weight_layout), bias)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = backward(x, weight, grad)?;
        let db = if bias.track_op() {
            let outputs = bias.dim(0)?;
            let rows = grad.elem_count() / outputs.max(1);
            // The sum is in f32 or wider: a half loses small addends.
            let wide = match grad.dtype() {
                DType::F64 => DType::F64,
                _ => DType::F32,
            };
            let grad = grad.reshape((rows, outputs))?.to_dtype(wide)?;
            Some(grad.sum(0)?.to_dtype(bias.dtype())?)
        } else {
            None
        };
        Ok((dx, dw, db))
    }
}

/// `[.., I]` from the gradient `[.., O]` and the weight `[O, I]`.
struct InputGrad;

impl CustomOp2 for InputGrad {
    fn name(&self) -> &'static str {
        "linear_input_grad"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        grad_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let mut dims = grad_layout.dims().to_vec();
        dims.pop();
        let rows = elements(OP, &dims)?;
        dims.push(inputs);
        let dtype = grad.dtype();
        let dx = with_float!(dtype, OP, T => {
            let (grad, weight) = (T::read(grad, grad_layout)?, T::read(weight, weight_layout)?);
            let weight = Matrix::new(&weight, outputs, inputs);
            T::into_storage(product(Matrix::new(&grad, rows, outputs), weight, None)?, dtype)?
        });
        Ok((dx, dims.into()))
    }
}

/// `[O, I]` from the gradient `[.., O]` and the input `[.., I]`.
struct WeightGrad;

impl CustomOp2 for WeightGrad {
    fn name(&self) -> &'static str {
        "linear_weight_grad"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        grad_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (Some(&outputs), Some(&inputs)) = (grad_layout.dims().last(), x_layout.dims().last())
        else {
            bail!("{}: the arguments must have at least one axis", self.name());
        };
        let rows = elements(OP, &x_layout.dims()[..x_layout.dims().len() - 1])?;
        let dtype = grad.dtype();
        let dw = with_float!(dtype, OP, T => {
            let (grad, x) = (T::read(grad, grad_layout)?, T::read(x, x_layout)?);
            let grad = Matrix::new(&grad, rows, outputs).transposed();
            T::into_storage(product(grad, Matrix::new(&x, rows, inputs), None)?, dtype)?
        });
        Ok((dw, (outputs, inputs).into()))
    }
}
