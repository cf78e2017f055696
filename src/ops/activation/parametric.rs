//! Activations whose parameters are tensors: one set for all channels, one for each channel or
//! one for each element.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::function::Function;
#[cfg(feature = "cuda")]
use super::gpu::cuda;
#[cfg(any(feature = "cuda", feature = "metal"))]
use super::gpu::launch;
#[cfg(feature = "metal")]
use super::gpu::metal;
use crate::autograd;
use crate::autograd::trace::{Operation, noted};
use crate::ops::storage::{Float, PARALLEL_THRESHOLD, elements, same_dtype, with_float};
use crate::simd::Real;

/// x where positive, slope x elsewhere, with a learned slope (He et al., "Delving Deep into
/// Rectifiers", 2015).
///
/// # Shapes
/// x: `[N, C, ..]`, or any shape with a single slope; slope: `[C]` or `[1]`, of the type of x.
///
/// # Errors
/// If the shapes or types do not match, or the element type is not `f32`, `f64`, `f16` or `bf16`.
pub fn prelu(x: &Tensor, slope: &Tensor) -> Result<Tensor> {
    let op = Forward {
        function: Function::PRelu,
        planes: Planes::of_channels(x, slope.dims())?,
    };
    let y = autograd::apply2(op, x, slope)?;
    noted(y, || Operation::PRelu, &[x, slope])
}

/// x where positive, slope x elsewhere, with a slope for each element. Randomised leaky ReLU draws
/// such slopes. The slopes receive a gradient if they are variables.
///
/// # Shapes
/// x and slopes: any shape, the same for both.
///
/// # Errors
/// As [`prelu`].
pub fn leaky_relu_with(x: &Tensor, slopes: &Tensor) -> Result<Tensor> {
    if x.shape() != slopes.shape() {
        bail!(
            "slopes of shape {:?} do not fit {:?}",
            slopes.shape(),
            x.shape()
        )
    }
    let op = Forward {
        function: Function::PRelu,
        planes: Planes {
            channels: x.elem_count(),
            inner: 1,
        },
    };
    autograd::apply2(op, x, slopes)
}

/// Three straight lines (Jin et al., "Deep Learning with S-shaped Rectified Linear Activation
/// Units", 2016): x between the two thresholds, and outside of each a line with its own slope.
///
/// # Shapes
/// x: `[N, C, ..]`; parameters: `[4, C]` or `[4, 1]`, of the type of x. Their rows are left
/// threshold, left slope, right threshold, right slope.
///
/// # Errors
/// As [`prelu`].
pub fn srelu(x: &Tensor, parameters: &Tensor) -> Result<Tensor> {
    let (rows, channels) = parameters.dims2()?;
    if rows != 4 {
        bail!("SReLU has 4 parameters for each channel, not {rows}")
    }
    let op = Forward {
        function: Function::SRelu,
        planes: Planes::of_channels(x, &[channels])?,
    };
    let y = autograd::apply2(op, x, parameters)?;
    noted(y, || Operation::SRelu, &[x, parameters])
}

/// A contiguous tensor as runs of elements that share their parameters.
#[derive(Debug, Clone, Copy)]
struct Planes {
    /// Sets of parameters, which the runs use in turn.
    channels: usize,
    /// Elements in a run.
    inner: usize,
}

impl Planes {
    fn of_channels(x: &Tensor, parameters: &[usize]) -> Result<Self> {
        let channels = x.dims().get(1).copied().unwrap_or(1);
        let inner = elements("activation", x.dims().get(2..).unwrap_or_default())?;
        match *parameters {
            [given] if given == channels || given == 1 => Ok(Self {
                channels: given,
                inner,
            }),
            _ => bail!(
                "activation parameters of shape {parameters:?} do not fit the {channels} channels of {:?}",
                x.shape()
            ),
        }
    }

    /// The parameters of run `plane`, from rows with one value for each channel.
    #[inline(always)]
    fn parameters<F: Real>(self, rows: &[F], count: usize, plane: usize) -> [F; 4] {
        let channel = plane % self.channels;
        std::array::from_fn(|row| {
            if row < count {
                rows[row * self.channels + channel]
            } else {
                F::default()
            }
        })
    }

    #[cfg(any(feature = "cuda", feature = "metal"))]
    fn on_device(self) -> launch::Planes {
        launch::Planes {
            channels: self.channels as u64,
            inner: self.inner.max(1) as u64,
        }
    }

    /// The number of runs that a thread takes at a time.
    fn per_chunk(self) -> usize {
        (PARALLEL_THRESHOLD / self.inner.max(1)).max(1)
    }
}

/// (x, parameters) to f(x).
struct Forward {
    function: Function,
    planes: Planes,
}

impl CustomOp2 for Forward {
    fn name(&self) -> &'static str {
        "parametric-activation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        p: &CpuStorage,
        p_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(CustomOp2::name(self), dtype, p.dtype())?;
        let y = with_float!(dtype, CustomOp2::name(self), T => {
            let (x, p) = (T::read(x, x_layout)?, T::read(p, p_layout)?);
            let y = self.run(&x, &x, &p, |x, _, p| self.function.value(x, p));
            T::into_storage(y, dtype)?
        });
        Ok((y, x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        p: &candle_core::CudaStorage,
        p_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let planes = self.planes.on_device();
        let y = cuda::parametric_map(self.function, planes, (x, x_layout), (p, p_layout), None)?;
        Ok((y, x_layout.shape().clone()))
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        x_layout: &Layout,
        p: &candle_core::MetalStorage,
        p_layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        let planes = self.planes.on_device();
        let y = metal::parametric_map(self.function, planes, (x, x_layout), (p, p_layout), None)?;
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let input = InputGradient(Self { ..*self });
        let parameter = ParameterGradient(Self { ..*self });
        let gx = x
            .track_op()
            .then(|| x.apply_op3_no_bwd(p, grad, &input))
            .transpose()?;
        let gp = p
            .track_op()
            .then(|| x.apply_op3_no_bwd(p, grad, &parameter))
            .transpose()?;
        Ok((gx, gp))
    }
}

impl Forward {
    /// `f` of every pair of elements and their parameters.
    fn run<F: Real>(
        &self,
        x: &[F],
        grad: &[F],
        p: &[F],
        f: impl Fn(F, F, [F; 4]) -> F + Sync,
    ) -> Vec<F> {
        let count = self.function.parameters();
        let inner = self.planes.inner.max(1);
        let chunk = self.planes.per_chunk();
        let mut y = vec![F::default(); x.len()];
        let chunks = y.par_chunks_mut(chunk * inner).enumerate();
        chunks.for_each(|(index, y)| {
            let start = index * chunk * inner;
            for (plane, y) in y.chunks_mut(inner).enumerate() {
                let p = self.planes.parameters(p, count, index * chunk + plane);
                let start = start + plane * inner;
                let pairs = x[start..].iter().zip(&grad[start..]);
                for (y, (x, grad)) in y.iter_mut().zip(pairs) {
                    *y = f(*x, *grad, p);
                }
            }
        });
        y
    }

    /// The sums over each channel of the gradient times each parameter's derivative, in rows
    /// with one value for each channel. The order of summation does not depend on the threads.
    fn sum<F: Real>(&self, x: &[F], grad: &[F], p: &[F]) -> Vec<F> {
        let count = self.function.parameters();
        let (inner, channels) = (self.planes.inner.max(1), self.planes.channels);
        let planes = x.par_chunks(inner).zip(grad.par_chunks(inner)).enumerate();
        let partial: Vec<[f64; 4]> = planes
            .with_min_len(self.planes.per_chunk())
            .map(|(plane, (x, grad))| {
                let p = self.planes.parameters(p, count, plane);
                let mut sums = [0.0; 4];
                for (x, grad) in x.iter().zip(grad) {
                    let derivatives = self.function.parameter_derivatives(*x, p);
                    for (sum, derivative) in sums.iter_mut().zip(derivatives) {
                        *sum += (*grad * derivative).to_f64();
                    }
                }
                sums
            })
            .collect();
        let mut sums = vec![0.0; count * channels];
        for (plane, partial) in partial.iter().enumerate() {
            for (row, partial) in partial[..count].iter().enumerate() {
                sums[row * channels + plane % channels] += partial;
            }
        }
        sums.into_iter().map(F::from_f64).collect()
    }
}

/// (x, parameters, gradient of f(x)) to the gradient of x.
struct InputGradient(Forward);

impl CustomOp3 for InputGradient {
    fn name(&self) -> &'static str {
        "parametric-activation-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        p: &CpuStorage,
        p_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let function = self.0.function;
        let dtype = x.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let gradient = with_float!(dtype, self.name(), T => {
            let (x, p) = (T::read(x, x_layout)?, T::read(p, p_layout)?);
            let grad = T::read(grad, grad_layout)?;
            let gradient = self.0.run(&x, &grad, &p, |x, grad, p| grad * function.derivative(x, p));
            T::into_storage(gradient, dtype)?
        });
        Ok((gradient, x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        p: &candle_core::CudaStorage,
        p_layout: &Layout,
        grad: &candle_core::CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let Forward { function, planes } = self.0;
        let (x, p, grad) = ((x, x_layout), (p, p_layout), (grad, grad_layout));
        let gradient = cuda::parametric_map(function, planes.on_device(), x, p, Some(grad))?;
        Ok((gradient, x_layout.shape().clone()))
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        x_layout: &Layout,
        p: &candle_core::MetalStorage,
        p_layout: &Layout,
        grad: &candle_core::MetalStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        let Forward { function, planes } = self.0;
        let (x, p, grad) = ((x, x_layout), (p, p_layout), (grad, grad_layout));
        let gradient = metal::parametric_map(function, planes.on_device(), x, p, Some(grad))?;
        Ok((gradient, x_layout.shape().clone()))
    }
}

/// (x, parameters, gradient of f(x)) to the gradient of the parameters.
struct ParameterGradient(Forward);

impl CustomOp3 for ParameterGradient {
    fn name(&self) -> &'static str {
        "parametric-activation-parameter-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        p: &CpuStorage,
        p_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let gradient = with_float!(dtype, self.name(), T => {
            let (x, p) = (T::read(x, x_layout)?, T::read(p, p_layout)?);
            let grad = T::read(grad, grad_layout)?;
            T::into_storage(self.0.sum(&x, &grad, &p), dtype)?
        });
        Ok((gradient, p_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        p: &candle_core::CudaStorage,
        p_layout: &Layout,
        grad: &candle_core::CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let Forward { function, planes } = self.0;
        let (x, p, grad) = ((x, x_layout), (p, p_layout), (grad, grad_layout));
        let gradient = cuda::parameter_gradient(function, planes.on_device(), x, p, grad)?;
        Ok((gradient, p_layout.shape().clone()))
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        x_layout: &Layout,
        p: &candle_core::MetalStorage,
        p_layout: &Layout,
        grad: &candle_core::MetalStorage,
        grad_layout: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        let Forward { function, planes } = self.0;
        let (x, p, grad) = ((x, x_layout), (p, p_layout), (grad, grad_layout));
        let gradient = metal::parameter_gradient(function, planes.on_device(), x, p, grad)?;
        Ok((gradient, p_layout.shape().clone()))
    }
}
