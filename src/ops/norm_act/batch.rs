//! The node of the graph: it reads Candle's storage and runs the loops over channels.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::channels::{Backward, Dims, Forward, Gradients, Parameters};
use super::moment::Moments;
use super::statistics::OP;
use crate::activation::Activation;
use crate::ops::AllReduce;
use crate::ops::activation::dispatch::visit_kernel;
use crate::ops::storage::{Float, build, elements, on_cpu, same_dtype, with_float};
use crate::simd::Real;

/// Planes smaller than this are first copied to one run per channel: the ends of many short runs
/// cost more than the copy.
const SMALL_PLANE: usize = 16;

/// act(norm(x) + residual). The forward pass fills in the moments.
pub(super) struct BatchNormAct {
    pub activation: Activation,
    pub eps: f64,
    /// Whether the moments come from the batch.
    pub own: bool,
    /// The processes that have the other parts of the batch.
    pub processes: Option<Arc<dyn AllReduce>>,
    pub moments: Arc<OnceLock<Moments>>,
}

type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// The values of a float tensor in f64.
pub(super) fn read_f64(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f64>> {
    with_float!(storage.dtype(), OP, T => {
        Ok(T::read(storage, layout)?.iter().map(|v| WithDType::to_f64(*v)).collect())
    })
}

/// The sizes of a tensor, and whether its values are packed by channel.
#[derive(Clone, Copy)]
struct Arrangement {
    dims: Dims,
    packed: bool,
}

impl Arrangement {
    fn new(shape: &Shape) -> Result<Self> {
        let &[images, channels, ref rest @ ..] = shape.dims() else {
            bail!("{OP} takes [N, C] or [N, C, H, W], not {shape:?}");
        };
        // The planes of an empty batch may have any size.
        let plane = if images == 0 { 0 } else { elements(OP, rest)? };
        Ok(Self {
            dims: Dims {
                images,
                channels,
                plane,
            },
            packed: plane < SMALL_PLANE && images > 1,
        })
    }

    /// The values in the order of the loops.
    fn pack<'a, F: Copy + Send + Sync>(&self, values: Cow<'a, [F]>) -> Cow<'a, [F]> {
        let Dims {
            images,
            channels,
            plane,
        } = self.dims;
        if self.packed {
            Cow::Owned(swap(&values, images, channels, plane))
        } else {
            values
        }
    }

    /// The values in the order of the tensor.
    fn unpack<F: Copy + Send + Sync>(&self, values: Vec<F>) -> Vec<F> {
        let Dims {
            images,
            channels,
            plane,
        } = self.dims;
        if self.packed && !values.is_empty() {
            swap(&values, channels, images, plane)
        } else {
            values
        }
    }

    /// The sizes for the loops.
    fn loops(&self) -> Dims {
        if self.packed {
            Dims {
                images: 1,
                channels: self.dims.channels,
                plane: self.dims.per_channel(),
            }
        } else {
            self.dims
        }
    }
}

/// `[a, b, plane]` to `[b, a, plane]`.
fn swap<F: Copy + Send + Sync>(values: &[F], a: usize, b: usize, plane: usize) -> Vec<F> {
    let copy = |j: usize, chunk: &mut [std::mem::MaybeUninit<F>]| {
        for (i, run) in chunk.chunks_exact_mut(plane).enumerate() {
            let start = (i * b + j) * plane;
            for (to, from) in run.iter_mut().zip(&values[start..start + plane]) {
                to.write(*from);
            }
        }
    };
    // SAFETY: a chunk is `a` runs of `plane` values, all of which are written.
    unsafe { build(values.len(), (a * plane).max(1), copy) }
}

pub(super) fn parameters(gamma_beta: Vec<f64>) -> Parameters {
    let mut gamma = gamma_beta;
    let beta = gamma.split_off(gamma.len() / 2);
    Parameters { gamma, beta }
}

impl BatchNormAct {
    fn forward(
        &self,
        (x, x_layout): Argument,
        (gamma_beta, gamma_beta_layout): Argument,
        residual: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        if let Some((residual, _)) = residual {
            same_dtype(OP, dtype, residual.dtype())?;
        }
        let arrangement = Arrangement::new(x_layout.shape())?;
        let parameters = parameters(read_f64(gamma_beta, gamma_beta_layout)?);
        let (y, moments) = with_float!(dtype, OP, T => {
            let x = arrangement.pack(T::read(x, x_layout)?);
            let residual = residual.map(|(r, layout)| T::read(r, layout)).transpose()?;
            let residual = residual.map(|r| arrangement.pack(r));
            let forward = Forward {
                x: &x,
                residual: residual.as_deref(),
                dims: arrangement.loops(),
                parameters: &parameters,
                given: self.moments.get().map(|moments| moments.channels.as_slice()),
                processes: self.processes.as_deref(),
                eps: self.eps,
            };
            let Some(forward) = visit_kernel::<T, _>(&self.activation, forward) else {
                bail!("{OP} has no kernel for {:?}", self.activation);
            };
            let (y, moments) = forward?;
            (T::into_storage(arrangement.unpack(y), dtype)?, moments)
        });
        self.moments.get_or_init(|| moments);
        Ok((y, x_layout.shape().clone()))
    }

    /// The gradients of x, of gain and bias, and of the residual.
    fn backward(
        &self,
        x: &Tensor,
        gamma_beta: &Tensor,
        residual: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        same_dtype(OP, x.dtype(), grad.dtype())?;
        with_float!(x.dtype(), OP, T => self.typed_backward::<T>(x, gamma_beta, residual, grad))
    }

    fn typed_backward<T: Float + Real>(
        &self,
        x: &Tensor,
        gamma_beta: &Tensor,
        residual: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let Some(moments) = self.moments.get() else {
            bail!("{OP}: the backward pass must run after the forward pass");
        };
        let arrangement = Arrangement::new(x.shape())?;
        let parameters = parameters(on_cpu(OP, gamma_beta, read_f64)?);
        let run = |x: Argument, grad: Argument, residual: Option<Argument>| {
            let x = arrangement.pack(T::read(x.0, x.1)?);
            let grad = arrangement.pack(T::read(grad.0, grad.1)?);
            let residual = residual.map(|(r, layout)| T::read(r, layout)).transpose()?;
            let residual = residual.map(|r| arrangement.pack(r));
            let backward = Backward {
                x: &x,
                residual: residual.as_deref(),
                grad: &grad,
                dims: arrangement.loops(),
                parameters: &parameters,
                moments,
                own: self.own,
                processes: self.processes.as_deref(),
                eps: self.eps,
            };
            let Some(gradients) = visit_kernel::<T, _>(&self.activation, backward) else {
                bail!("{OP} has no kernel for {:?}", self.activation);
            };
            gradients
        };
        let gradients: Gradients<T> = on_cpu(OP, x, |x, x_layout| {
            on_cpu(OP, grad, |grad, grad_layout| {
                let (x, grad) = ((x, x_layout), (grad, grad_layout));
                match residual {
                    None => run(x, grad, None),
                    Some(r) => on_cpu(OP, r, |r, layout| run(x, grad, Some((r, layout)))),
                }
            })
        })?;
        let tensor = |values: Vec<T>| {
            let values = arrangement.unpack(values);
            Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())
        };
        let parameters = [gradients.gamma, gradients.beta].concat();
        let parameters = Tensor::from_vec(parameters, gamma_beta.shape(), x.device())?;
        Ok((
            tensor(gradients.dx)?,
            parameters.to_dtype(gamma_beta.dtype())?,
            match residual {
                None => None,
                Some(_) => Some(tensor(gradients.residual)?),
            },
        ))
    }
}

impl CustomOp2 for BatchNormAct {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma_beta: &CpuStorage,
        gamma_beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (gamma_beta, gamma_beta_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma_beta: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, parameters, _) = self.backward(x, gamma_beta, None, grad)?;
        Ok((Some(dx), Some(parameters)))
    }
}

impl CustomOp3 for BatchNormAct {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma_beta: &CpuStorage,
        gamma_beta_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = Some((residual, residual_layout));
        self.forward((x, x_layout), (gamma_beta, gamma_beta_layout), residual)
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma_beta: &Tensor,
        residual: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, parameters, dr) = self.backward(x, gamma_beta, Some(residual), grad)?;
        Ok((Some(dx), Some(parameters), dr))
    }
}
