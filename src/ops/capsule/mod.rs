//! Capsules: vectors whose length is a probability, and the routing from one layer of them to the
//! next (Sabour et al., "Dynamic Routing Between Capsules", 2017, arXiv:1710.09829).

mod composed;
mod routing;
mod vectors;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::autograd::trace::{Operation, noted};
use crate::ops::composed::{apply1, apply2, run2};
use crate::ops::storage::{Float, elements, same_dtype, with_float};
use routing::Routing;

/// The vectors along the last axis, with the same directions and with lengths n² / (1 + n²), below
/// one (equation 1): `[.., D]` to the same shape.
///
/// # Errors
/// If `x` has no axis or D is 0, or `x` is not floating-point.
pub fn squash(x: &Tensor) -> Result<Tensor> {
    vectors("squash", x)?;
    noted(apply1(Squash, x)?, || Operation::Squash, &[x])
}

/// The lengths of the vectors along the last axis: `[.., D]` to `[..]`. The gradient at length
/// zero is zero.
///
/// # Errors
/// As [`squash`].
pub fn length(x: &Tensor) -> Result<Tensor> {
    vectors("length", x)?;
    noted(apply1(Length, x)?, || Operation::Length, &[x])
}

fn vectors(op: &str, x: &Tensor) -> Result<()> {
    match x.dims().last() {
        Some(1..) => Ok(()),
        _ => bail!("{op} takes vectors [.., D], not {:?}", x.dims()),
    }
}

/// Routing by agreement (procedure 1), with squashed results.
///
/// Each of the I capsules predicts each of the J by its matrix in `weight`. A softmax over the J
/// weights the predictions. It starts uniform, and each iteration after the first increases the
/// weights of predictions that agree with the result. The gradient flows through all iterations.
///
/// The predictions, I J E values per image, are never stored: every pass recomputes them, and
/// memory stays at a few times the result.
///
/// # Shapes
/// - `u`: `[N, I, D]`
/// - `weight`: `[I, D, J, E]`
/// - result: `[N, J, E]`
///
/// # Errors
/// If shapes or types do not fit, `weight` has an empty axis, or `iterations` is 0.
pub fn dynamic_routing(u: &Tensor, weight: &Tensor, iterations: usize) -> Result<Tensor> {
    let (&[_, capsules, values], &[inputs, width, ..]) = (u.dims(), weight.dims()) else {
        bail!(
            "dynamic_routing takes capsules [N, I, D] and a weight [I, D, J, E], not {:?} and {:?}",
            u.dims(),
            weight.dims()
        );
    };
    if weight.rank() != 4 || (capsules, values) != (inputs, width) {
        bail!(
            "dynamic_routing: the weight {:?} does not fit capsules {:?}",
            weight.dims(),
            u.dims()
        );
    }
    if weight.elem_count() == 0 {
        bail!(
            "dynamic_routing: the weight {:?} has an empty axis",
            weight.dims()
        );
    }
    if iterations == 0 {
        bail!("dynamic_routing needs at least one iteration");
    }
    elements(
        "dynamic_routing",
        &[&u.dims()[..1], &weight.dims()[2..]].concat(),
    )?;
    let y = apply2(DynamicRouting { iterations }, u, weight)?;
    noted(y, || Operation::DynamicRouting { iterations }, &[u, weight])
}

struct Squash;
struct SquashGrad;
struct Length;
struct LengthGrad;

struct DynamicRouting {
    iterations: usize,
}

/// The flat gradients of `u` and of the weight, concatenated: one pass computes both.
struct DynamicRoutingGrad {
    iterations: usize,
    grad: Tensor,
}

/// The length of the last axis.
fn last(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1)
}

impl CustomOp1 for Squash {
    fn name(&self) -> &'static str {
        "squash"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let y = with_float!(dtype, self.name(), T => {
            T::into_storage(vectors::squash(&T::read(x, layout)?, last(layout)), dtype)?
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run2(&SquashGrad, x, grad).map(Some)
    }
}

impl CustomOp2 for SquashGrad {
    fn name(&self) -> &'static str {
        "squash_grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let dx = with_float!(dtype, self.name(), T => {
            let (x, grad) = (T::read(x, layout)?, T::read(grad, grad_layout)?);
            T::into_storage(vectors::squash_grad(&x, &grad, last(layout)), dtype)?
        });
        Ok((dx, layout.shape().clone()))
    }
}

impl CustomOp1 for Length {
    fn name(&self) -> &'static str {
        "length"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        let y = with_float!(dtype, self.name(), T => {
            T::into_storage(vectors::length(&T::read(x, layout)?, last(layout)), dtype)?
        });
        let mut dims = layout.dims().to_vec();
        dims.pop();
        Ok((y, dims.into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run2(&LengthGrad, x, grad).map(Some)
    }
}

impl CustomOp2 for LengthGrad {
    fn name(&self) -> &'static str {
        "length_grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dtype = x.dtype();
        same_dtype(self.name(), dtype, grad.dtype())?;
        let dx = with_float!(dtype, self.name(), T => {
            let (x, grad) = (T::read(x, layout)?, T::read(grad, grad_layout)?);
            T::into_storage(vectors::length_grad(&x, &grad, last(layout)), dtype)?
        });
        Ok((dx, layout.shape().clone()))
    }
}

impl CustomOp2 for DynamicRouting {
    fn name(&self) -> &'static str {
        "dynamic_routing"
    }

    fn cpu_fwd(
        &self,
        u: &CpuStorage,
        u_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (images, ..) = u_layout.shape().dims3()?;
        let (_, _, outputs, width) = weight_layout.shape().dims4()?;
        let dtype = u.dtype();
        same_dtype(self.name(), dtype, weight.dtype())?;
        let y = with_float!(dtype, self.name(), T => {
            let (u, weight) = (T::read(u, u_layout)?, T::read(weight, weight_layout)?);
            let routing = Routing::new(&u, &weight, images, weight_layout.shape().dims4()?);
            T::into_storage(routing.forward(self.iterations), dtype)?
        });
        Ok((y, (images, outputs, width).into()))
    }

    fn bwd(
        &self,
        u: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if u.elem_count() == 0 {
            return Ok((Some(u.zeros_like()?), Some(weight.zeros_like()?)));
        }
        let op = DynamicRoutingGrad {
            iterations: self.iterations,
            grad: grad.clone(),
        };
        let both = run2(&op, u, weight)?;
        let part = |start: usize, of: &Tensor| -> Result<Option<Tensor>> {
            if !of.track_op() {
                return Ok(None);
            }
            let part = both.narrow(0, start, of.elem_count())?;
            part.reshape(of.shape()).map(Some)
        };
        Ok((part(0, u)?, part(u.elem_count(), weight)?))
    }
}

impl CustomOp2 for DynamicRoutingGrad {
    fn name(&self) -> &'static str {
        "dynamic_routing_grad"
    }

    fn cpu_fwd(
        &self,
        u: &CpuStorage,
        u_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (images, ..) = u_layout.shape().dims3()?;
        let dtype = u.dtype();
        let (storage, grad_layout) = self.grad.storage_and_layout();
        let candle_core::Storage::Cpu(grad) = &*storage else {
            bail!("{} runs on the CPU only", self.name());
        };
        same_dtype(self.name(), dtype, grad.dtype())?;
        let gradients = with_float!(dtype, self.name(), T => {
            let (u, weight) = (T::read(u, u_layout)?, T::read(weight, weight_layout)?);
            let routing = Routing::new(&u, &weight, images, weight_layout.shape().dims4()?);
            let grad = T::read(grad, grad_layout)?;
            T::into_storage(routing.backward(&grad, self.iterations), dtype)?
        });
        let len = u_layout.shape().elem_count() + weight_layout.shape().elem_count();
        Ok((gradients, len.into()))
    }
}
