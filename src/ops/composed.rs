//! Ops as compositions of Candle's ops, for devices without a kernel of this crate.
//!
//! Only values are composed: the value of an op, and the values of the ops that its backward
//! applies. The backward itself is the op's own, because several of Candle's backward passes are
//! wrong or missing. Both ways to differentiate (see [`autograd`]) see one node.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, InplaceOp1, Layout,
    MetalStorage, Result, Shape, Storage, Tensor, bail,
};

use crate::autograd;

thread_local! {
    static EVERYWHERE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with compositions on the CPU too, so that tests can compare them with the CPU's
/// kernels. It affects the ops that this thread applies in `f`.
pub fn everywhere<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            EVERYWHERE.set(self.0);
        }
    }
    let _restore = Restore(EVERYWHERE.replace(true));
    f()
}

/// Whether ops on `x` are composed.
pub(crate) fn composes(x: &Tensor) -> bool {
    !x.device().is_cpu() || EVERYWHERE.get()
}

/// A unary op with a composition.
pub(crate) trait Composed1: CustomOp1 + Send + Sync + 'static {
    /// The result of `cpu_fwd`, for a tensor that has no graph and is not empty. The result may
    /// share the memory of `x`.
    fn composed(&self, x: &Tensor) -> Result<Tensor>;
}

/// A binary op with a composition; see [`Composed1`].
pub(crate) trait Composed2: CustomOp2 + Send + Sync + 'static {
    /// The multiply-adds for each value of the result, for profiles.
    fn multiply_adds(&self, _a: &Tensor, _b: &Tensor) -> usize {
        0
    }

    /// The result of `cpu_fwd`.
    fn composed(&self, a: &Tensor, b: &Tensor) -> Result<Tensor>;
}

/// A ternary op with a composition; see [`Composed1`].
pub(crate) trait Composed3: CustomOp3 + Send + Sync + 'static {
    /// The multiply-adds for each value of the result, for profiles.
    fn multiply_adds(&self, _a: &Tensor, _b: &Tensor) -> usize {
        0
    }

    /// The result of `cpu_fwd`.
    fn composed(&self, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor>;
}

/// [`autograd::apply1`], with a composition on devices without a kernel.
pub(crate) fn apply1<C: Composed1>(op: C, x: &Tensor) -> Result<Tensor> {
    if !composes(x) {
        return autograd::apply1(op, x);
    }
    let y = value1(&op, x)?;
    into_node(op.name(), &[x], y, move |a, y, grad| {
        Ok(vec![op.bwd(a[0], y, grad)?])
    })
}

/// [`autograd::apply2`], with a composition on devices without a kernel.
pub(crate) fn apply2<C: Composed2>(op: C, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let products = op.multiply_adds(a, b);
    if !composes(a) {
        return autograd::apply2_counted(op, a, b, products);
    }
    let y = value2(&op, a, b)?;
    into_node_counted(
        CustomOp2::name(&op),
        products,
        &[a, b],
        y,
        move |a, y, grad| {
            let (ga, gb) = op.bwd(a[0], a[1], y, grad)?;
            Ok(vec![ga, gb])
        },
    )
}

/// [`autograd::apply3`], with a composition on devices without a kernel.
pub(crate) fn apply3<C: Composed3>(op: C, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
    let products = op.multiply_adds(a, b);
    if !composes(a) {
        return autograd::apply3_counted(op, a, b, c, products);
    }
    let y = value3(&op, a, b, c)?;
    into_node_counted(
        CustomOp3::name(&op),
        products,
        &[a, b, c],
        y,
        move |a, y, grad| {
            let (ga, gb, gc) = op.bwd(a[0], a[1], a[2], y, grad)?;
            Ok(vec![ga, gb, gc])
        },
    )
}

/// The value of an op without a graph.
pub(crate) fn run1<C: Composed1>(op: &C, x: &Tensor) -> Result<Tensor> {
    if composes(x) {
        return value1(op, x);
    }
    x.apply_op1_no_bwd(op)
}

/// The value of an op without a graph.
pub(crate) fn run2<C: Composed2>(op: &C, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if composes(a) {
        return value2(op, a, b);
    }
    a.apply_op2_no_bwd(b, op)
}

/// The value of an op without a graph.
pub(crate) fn run3<C: Composed3>(op: &C, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
    if composes(a) {
        return value3(op, a, b, c);
    }
    a.apply_op3_no_bwd(b, c, op)
}

/// The value of a composed op.
fn value1<C: Composed1>(op: &C, x: &Tensor) -> Result<Tensor> {
    if any_empty(&[x]) {
        let y = on_host(x)?.apply_op1_no_bwd(op)?;
        return from_host(&y, x.device());
    }
    op.composed(&x.detach())
}

/// The value of a composed op.
fn value2<C: Composed2>(op: &C, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if any_empty(&[a, b]) {
        let y = on_host(a)?.apply_op2_no_bwd(&on_host(b)?, op)?;
        return from_host(&y, a.device());
    }
    op.composed(&a.detach(), &b.detach())
}

/// The value of a composed op.
fn value3<C: Composed3>(op: &C, a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
    if any_empty(&[a, b, c]) {
        let y = on_host(a)?.apply_op3_no_bwd(&on_host(b)?, &on_host(c)?, op)?;
        return from_host(&y, a.device());
    }
    op.composed(&a.detach(), &b.detach(), &c.detach())
}

/// Whether an input is empty. Then the CPU's kernel computes the result: Candle would launch CUDA
/// kernels over no elements, which CUDA refuses.
fn any_empty(inputs: &[&Tensor]) -> bool {
    inputs.iter().any(|input| input.elem_count() == 0)
}

/// `x` on the CPU, without a graph.
fn on_host(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Tensor::zeros(x.shape(), x.dtype(), &Device::Cpu);
    }
    x.detach().to_device(&Device::Cpu)
}

/// `y`, which is on the CPU, on `device`.
fn from_host(y: &Tensor, device: &Device) -> Result<Tensor> {
    if y.elem_count() == 0 {
        return Tensor::zeros(y.shape(), y.dtype(), device);
    }
    y.to_device(device)
}

/// The inputs, the result and its gradient to the gradients of the inputs.
type Backward = dyn Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync;

/// Makes `y`, computed from one to three `inputs`, a node of the graph and of the tape.
pub(crate) fn into_node(
    name: &'static str,
    inputs: &[&Tensor],
    y: Tensor,
    backward: impl Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>>
    + Send
    + Sync
    + 'static,
) -> Result<Tensor> {
    into_node_counted(name, 0, inputs, y, backward)
}

/// [`into_node`] for an op that takes `products` multiply-adds for each value of `y`.
fn into_node_counted(
    name: &'static str,
    products: usize,
    inputs: &[&Tensor],
    y: Tensor,
    backward: impl Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>>
    + Send
    + Sync
    + 'static,
) -> Result<Tensor> {
    if !inputs.iter().any(|input| input.track_op()) {
        return if y.is_contiguous() {
            Ok(y)
        } else {
            y.contiguous()
        };
    }
    let shared = inputs.iter().any(|input| share_memory(input, &y));
    let own = y.is_contiguous() && y.layout().start_offset() == 0 && !shared;
    let y = if own { y } else { y.force_contiguous()? };
    let taken = Take(RefCell::new(None));
    // As one axis: Candle refuses in-place ops on axes that may overlap.
    y.flatten_all()?.inplace_op1(&taken)?;
    let computed = Computed {
        name,
        shape: y.shape().clone(),
        storage: Mutex::new(taken.0.into_inner()),
        backward: Box::new(backward),
    };
    match *inputs {
        [a] => autograd::apply1(computed, a),
        [a, b] => autograd::apply2_counted(computed, a, b, products),
        [a, b, c] => autograd::apply3_counted(computed, a, b, c, products),
        _ => bail!("{name}: ops have one to three inputs, not {}", inputs.len()),
    }
}

fn share_memory(a: &Tensor, b: &Tensor) -> bool {
    let (a, _) = a.storage_and_layout();
    let (b, _) = b.storage_and_layout();
    std::ptr::eq(&raw const *a, &raw const *b)
}

/// An in-place op that moves the memory out of a tensor that is no longer used. Candle has no other
/// way to pass a result of its ops to a custom op without a copy.
struct Take(RefCell<Option<Storage>>);

impl InplaceOp1 for Take {
    fn name(&self) -> &'static str {
        "take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _layout: &Layout) -> Result<()> {
        let taken = std::mem::replace(storage, CpuStorage::U8(Vec::new()));
        self.0.replace(Some(Storage::Cpu(taken)));
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, _layout: &Layout) -> Result<()> {
        use candle_core::backend::{BackendDevice, BackendStorage};
        let device = storage.device().clone();
        // SAFETY: nothing reads the replacement.
        let nothing = unsafe { device.alloc_uninit(&Shape::from(1), DType::U8)? };
        let taken = std::mem::replace(storage, nothing);
        self.0.replace(Some(Storage::Cuda(taken)));
        Ok(())
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(&self, storage: &mut MetalStorage, _layout: &Layout) -> Result<()> {
        // A handle to the same buffer.
        self.0.replace(Some(Storage::Metal(storage.clone())));
        Ok(())
    }
}

/// An op whose value is already computed.
struct Computed {
    name: &'static str,
    shape: Shape,
    storage: Mutex<Option<Storage>>,
    backward: Box<Backward>,
}

impl Computed {
    fn take(&self) -> Result<Storage> {
        let mut storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner);
        match storage.take() {
            Some(storage) => Ok(storage),
            None => bail!("{}: a composed op can be applied only once", self.name),
        }
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            Storage::Cpu(storage) => Ok((storage, self.shape.clone())),
            _ => bail!("{}: the inputs are on different devices", self.name),
        }
    }

    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            Storage::Cuda(storage) => Ok((storage, self.shape.clone())),
            _ => bail!("{}: the inputs are on different devices", self.name),
        }
    }

    fn metal(&self) -> Result<(MetalStorage, Shape)> {
        match self.take()? {
            Storage::Metal(storage) => Ok((storage, self.shape.clone())),
            _ => bail!("{}: the inputs are on different devices", self.name),
        }
    }

    fn pull<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let mut gradients = (self.backward)(&inputs, y, grad)?.into_iter();
        Ok(std::array::from_fn(|_| gradients.next().flatten()))
    }
}

/// One arity of [`Computed`]: the trait, the arguments of a kernel and of the backward.
macro_rules! impl_computed {
    ($trait:ident, ($($argument:ident),+), $gradients:ty, [$($gradient:ident),+] => $pulled:expr) => {
        impl $trait for Computed {
            fn name(&self) -> &'static str {
                self.name
            }

            fn cpu_fwd(
                &self,
                $($argument: &CpuStorage, _: &Layout),+
            ) -> Result<(CpuStorage, Shape)> {
                $(let _ = $argument;)+
                self.cpu()
            }

            fn cuda_fwd(
                &self,
                $($argument: &CudaStorage, _: &Layout),+
            ) -> Result<(CudaStorage, Shape)> {
                $(let _ = $argument;)+
                self.cuda()
            }

            fn metal_fwd(
                &self,
                $($argument: &MetalStorage, _: &Layout),+
            ) -> Result<(MetalStorage, Shape)> {
                $(let _ = $argument;)+
                self.metal()
            }

            fn bwd(
                &self,
                $($argument: &Tensor,)+
                y: &Tensor,
                grad: &Tensor,
            ) -> Result<$gradients> {
                let [$($gradient),+] = self.pull([$($argument),+], y, grad)?;
                Ok($pulled)
            }
        }
    };
}

impl_computed!(CustomOp1, (a), Option<Tensor>, [ga] => ga);
impl_computed!(CustomOp2, (a, b), (Option<Tensor>, Option<Tensor>), [ga, gb] => (ga, gb));
impl_computed!(
    CustomOp3,
    (a, b, c),
    (Option<Tensor>, Option<Tensor>, Option<Tensor>),
    [ga, gb, gc] => (ga, gb, gc)
);

/// `x` in its compute type: f32 for the halves.
pub(crate) fn wide(op: &str, x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F32 | DType::F64 => Ok(x.clone()),
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        dtype => bail!("{op} takes f32, f64, f16 or bf16, not {dtype:?}"),
    }
}

/// `values`, in the type of `like` and on its device.
pub(crate) fn constants(
    values: Vec<f64>,
    shape: impl Into<Shape>,
    like: &Tensor,
) -> Result<Tensor> {
    // Converted on the CPU: not every device has f64.
    let cpu = Tensor::from_vec(values, shape.into(), &Device::Cpu)?;
    cpu.to_dtype(like.dtype())?.to_device(like.device())
}

/// The `len` positions `start`, `start + step`, … along axis `dim`.
pub(crate) fn every(
    x: &Tensor,
    dim: usize,
    start: usize,
    step: usize,
    len: usize,
) -> Result<Tensor> {
    if step == 1 {
        return x.narrow(dim, start, len);
    }
    let places: Vec<u32> = (0..len).map(|i| (start + i * step) as u32).collect();
    let places = Tensor::from_vec(places, len, x.device())?;
    x.contiguous()?.index_select(&places, dim)
}

/// `x` with `step - 1` zeros between neighbouring positions along axis `dim`.
pub(crate) fn spread(x: &Tensor, dim: usize, step: usize) -> Result<Tensor> {
    let len = x.dim(dim)?;
    // One value has no neighbours. Its stride may exceed the input, so zeros would not fit.
    if step == 1 || len < 2 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    dims[dim] = len * step;
    let spread = x.unsqueeze(dim + 1)?;
    let spread = spread.pad_with_zeros(dim + 1, 0, step - 1)?;
    spread.reshape(dims)?.narrow(dim, 0, (len - 1) * step + 1)
}

/// `x` at position `start` of an axis `dim` of size `total`, with zeros around it.
pub(crate) fn place(x: &Tensor, dim: usize, start: usize, total: usize) -> Result<Tensor> {
    x.pad_with_zeros(dim, start, total - start - x.dim(dim)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_put_back() -> Result<()> {
        let x = Tensor::arange(0f32, 12.0, &Device::Cpu)?.reshape((2, 6))?;
        let odd = every(&x, 1, 1, 2, 3)?;
        assert_eq!(odd.to_vec2::<f32>()?, [[1.0, 3.0, 5.0], [7.0, 9.0, 11.0]]);
        let back = place(&spread(&odd, 1, 2)?, 1, 1, 7)?;
        assert_eq!(
            back.to_vec2::<f32>()?,
            [
                [0.0, 1.0, 0.0, 3.0, 0.0, 5.0, 0.0],
                [0.0, 7.0, 0.0, 9.0, 0.0, 11.0, 0.0]
            ]
        );
        // A single value needs no zeros, even with the largest step.
        let one = x.narrow(1, 0, 1)?;
        assert_eq!(spread(&one, 1, usize::MAX)?.dims(), [2, 1]);
        Ok(())
    }

    #[test]
    fn compositions_end_with_their_closure() {
        let x = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let inside = everywhere(|| {
            let outer = composes(&x);
            everywhere(|| ());
            outer && composes(&x)
        });
        assert!(inside && !composes(&x));
        let panicked = std::panic::catch_unwind(|| everywhere(|| panic!("in the closure")));
        assert!(panicked.is_err() && !composes(&x));
    }
}
