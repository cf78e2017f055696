//! Activations on CUDA: the kernels of `kernels/*.cu`, which `build.rs` compiles to PTX.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr, LaunchConfig,
    PushKernelArg,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Layout, Result, WithDType, bail};
use half::{bf16, f16};

use super::launch::{self, Planes, Strided, THREADS};
use crate::activation::Activation;
use crate::ops::activation::function::Function;

// `ACTIVATIONS`, PTX by the name of the activation, and `PARAMETRIC`.
include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The parameters of a function, as in functions.h.
#[repr(C)]
struct Parameters<T>([T; 4]);

// SAFETY: plain numbers, in the order and of the sizes that the kernels declare.
unsafe impl DeviceRepr for Parameters<f32> {}
// SAFETY: as above.
unsafe impl DeviceRepr for Parameters<f64> {}
// SAFETY: as above.
unsafe impl DeviceRepr for Strided {}
// SAFETY: as above.
unsafe impl DeviceRepr for Planes {}

/// An element type, with the type that its kernels compute in.
trait Element: CudaDType + DeviceRepr + WithDType {
    type Compute: DeviceRepr;

    fn parameters(values: [f64; 4]) -> Parameters<Self::Compute>
    where
        Parameters<Self::Compute>: DeviceRepr;
}

macro_rules! impl_element {
    ($($element:ty as $compute:ty),*) => {$(
        impl Element for $element {
            type Compute = $compute;

            fn parameters(values: [f64; 4]) -> Parameters<$compute> {
                Parameters(values.map(|value| value as $compute))
            }
        }
    )*};
}

impl_element!(f32 as f32, f64 as f64, f16 as f32, bf16 as f32);

/// Calls `$body` with the element type of `$storage`; `$function` is named in the error.
macro_rules! for_element {
    ($function:expr, $storage:expr, $element:ident => $body:expr) => {
        match $storage.dtype() {
            DType::F32 => {
                type $element = f32;
                $body
            }
            DType::F64 => {
                type $element = f64;
                $body
            }
            DType::F16 => {
                type $element = f16;
                $body
            }
            DType::BF16 => {
                type $element = bf16;
                $body
            }
            dtype => bail!("{} is not defined for {dtype:?}", $function),
        }
    };
}

/// Elements that a thread takes at a time.
fn lanes<E>() -> usize {
    16 / size_of::<E>()
}

fn config(blocks: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks as u32, 1, 1),
        block_dim: (THREADS as u32, 1, 1),
        shared_mem_bytes: 0,
    }
}

fn pointwise(
    device: &CudaDevice,
    activation: &Activation,
    what: &str,
    dtype: DType,
) -> Result<CudaFunction> {
    let name = activation.name();
    let Some((_, ptx)) = ACTIVATIONS.iter().find(|(other, _)| *other == name) else {
        bail!("{name} has no CUDA kernel");
    };
    let kernel = format!("{name}_{what}_{}", launch::type_name(name, dtype)?);
    let module = format!("candle_mish_{name}");
    let function = device.get_or_load_custom_func(&kernel, &module, ptx)?;
    Ok(CudaFunction::clone(&function))
}

fn parametric(
    device: &CudaDevice,
    function: Function,
    what: &str,
    dtype: DType,
) -> Result<CudaFunction> {
    let name = function.name();
    let kernel = format!("{name}_{what}_{}", launch::type_name(name, dtype)?);
    let function = device.get_or_load_custom_func(&kernel, "candle_mish_parametric", PARAMETRIC)?;
    Ok(CudaFunction::clone(&function))
}

/// Memory for `n` elements, but at least one: CUDA refuses empty allocations.
fn allocate<T: DeviceRepr>(device: &CudaDevice, n: usize) -> Result<CudaSlice<T>> {
    // SAFETY: the kernel of each caller writes all `n` elements, and nothing reads further.
    unsafe { device.alloc(n.max(1)) }
}

/// The storage from the first element of a layout on.
fn elements<'a, E: Element>(x: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, E>> {
    Ok(x.as_cuda_slice::<E>()?.slice(layout.start_offset()..))
}

pub(crate) fn forward(
    activation: &Activation,
    x: &CudaStorage,
    layout: &Layout,
) -> Result<CudaStorage> {
    for_element!(activation.name(), x, E => map::<E>(activation, x, layout))
}

fn map<E: Element>(activation: &Activation, x: &CudaStorage, layout: &Layout) -> Result<CudaStorage>
where
    Parameters<E::Compute>: DeviceRepr,
{
    let device = x.device();
    let n = layout.shape().elem_count();
    let y = allocate::<E>(device, n)?;
    if n > 0 {
        let stream = device.cuda_stream();
        let source = elements::<E>(x, layout)?;
        let (source, _read) = source.device_ptr(&stream);
        let (target, _write) = y.device_ptr(&stream);
        apply::<E>(activation, device, layout, (source, target), false)?;
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// Launches y = f(x) from one address to another; with `in_place`, y has the layout of x.
fn apply<E: Element>(
    activation: &Activation,
    device: &CudaDevice,
    layout: &Layout,
    (source, target): (u64, u64),
    in_place: bool,
) -> Result<()>
where
    Parameters<E::Compute>: DeviceRepr,
{
    let stream = device.cuda_stream();
    let n = layout.shape().elem_count();
    let count = n as u64;
    let parameters = E::parameters(launch::parameters(activation));
    if layout.is_contiguous() {
        let kernel = pointwise(device, activation, "map", E::DTYPE)?;
        let mut launch = stream.launch_builder(&kernel);
        launch
            .arg(&count)
            .arg(&source)
            .arg(&target)
            .arg(&parameters);
        // SAFETY: the arguments match `map`, which stays within `n` elements of both
        // addresses; both tensors have that many.
        unsafe { launch.launch(config(launch::blocks(n, lanes::<E>()))) }.w()?;
    } else {
        let strided = Strided::new(layout, layout)?;
        let in_place = u32::from(in_place);
        let kernel = pointwise(device, activation, "map_strided", E::DTYPE)?;
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&count).arg(&in_place).arg(&strided);
        launch.arg(&source).arg(&target).arg(&parameters);
        // SAFETY: the arguments match `map_strided`, which reads by
        // the layout and writes by the layout if in place, or else `n` elements.
        unsafe { launch.launch(config(launch::blocks(n, 1))) }.w()?;
    }
    Ok(())
}

pub(crate) fn in_place(
    activation: &Activation,
    x: &mut CudaStorage,
    layout: &Layout,
) -> Result<()> {
    for_element!(activation.name(), x, E => update::<E>(activation, x, layout))
}

fn update<E: Element>(activation: &Activation, x: &mut CudaStorage, layout: &Layout) -> Result<()>
where
    Parameters<E::Compute>: DeviceRepr,
{
    if layout.shape().elem_count() == 0 {
        return Ok(());
    }
    let device = x.device().clone();
    let stream = device.cuda_stream();
    let mut elements = x
        .as_cuda_slice_mut::<E>()?
        .slice_mut(layout.start_offset()..);
    let (address, _write) = elements.device_ptr_mut(&stream);
    apply::<E>(activation, &device, layout, (address, address), true)
}

pub(crate) fn backward(
    activation: &Activation,
    x: &CudaStorage,
    x_layout: &Layout,
    grad: &CudaStorage,
    grad_layout: &Layout,
) -> Result<CudaStorage> {
    launch::check_gradient(x, x_layout, grad, grad_layout)?;
    for_element!(activation.name(), x, E => zip::<E>(activation, (x, x_layout), (grad, grad_layout)))
}

fn zip<E: Element>(
    activation: &Activation,
    (x, x_layout): (&CudaStorage, &Layout),
    (grad, grad_layout): (&CudaStorage, &Layout),
) -> Result<CudaStorage>
where
    Parameters<E::Compute>: DeviceRepr,
{
    let device = x.device();
    let stream = device.cuda_stream();
    let n = x_layout.shape().elem_count();
    let y = allocate::<E>(device, n)?;
    if n > 0 {
        let count = n as u64;
        let parameters = E::parameters(launch::parameters(activation));
        let (x, grad) = (
            elements::<E>(x, x_layout)?,
            elements::<E>(grad, grad_layout)?,
        );
        if x_layout.is_contiguous() && grad_layout.is_contiguous() {
            let kernel = pointwise(device, activation, "zip", E::DTYPE)?;
            let mut launch = stream.launch_builder(&kernel);
            launch
                .arg(&count)
                .arg(&x)
                .arg(&grad)
                .arg(&y)
                .arg(&parameters);
            // SAFETY: the arguments match `zip`, which stays within `n` elements of each
            // tensor; all have that many.
            unsafe { launch.launch(config(launch::blocks(n, lanes::<E>()))) }.w()?;
        } else {
            let strided = Strided::new(x_layout, grad_layout)?;
            let kernel = pointwise(device, activation, "zip_strided", E::DTYPE)?;
            let mut launch = stream.launch_builder(&kernel);
            launch.arg(&count).arg(&strided);
            launch.arg(&x).arg(&grad).arg(&y).arg(&parameters);
            // SAFETY: the arguments match `zip_strided`, which reads by the layouts and
            // writes `n` elements.
            unsafe { launch.launch(config(launch::blocks(n, 1))) }.w()?;
        }
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// f(x) with a tensor of parameters, or grad f'(x) if there is a gradient.
pub(crate) fn parametric_map(
    function: Function,
    planes: Planes,
    x: (&CudaStorage, &Layout),
    p: (&CudaStorage, &Layout),
    grad: Option<(&CudaStorage, &Layout)>,
) -> Result<CudaStorage> {
    for_element!(function.name(), x.0, E => typed_map::<E>(function, planes, x, p, grad))
}

fn typed_map<E: Element>(
    function: Function,
    planes: Planes,
    (x, x_layout): (&CudaStorage, &Layout),
    (p, p_layout): (&CudaStorage, &Layout),
    grad: Option<(&CudaStorage, &Layout)>,
) -> Result<CudaStorage> {
    let device = x.device();
    let stream = device.cuda_stream();
    let n = x_layout.shape().elem_count();
    let y = allocate::<E>(device, n)?;
    if n > 0 {
        let count = n as u64;
        let (x, p) = (Dense::new(x, x_layout)?, Dense::new(p, p_layout)?);
        let grad = grad.map(|(grad, layout)| Dense::new(grad, layout));
        let grad = grad.transpose()?;
        let (x, p) = (x.elements::<E>()?, p.elements::<E>()?);
        let grad = grad.as_ref().map(Dense::elements::<E>).transpose()?;
        let what = if grad.is_some() {
            "backward"
        } else {
            "forward"
        };
        let kernel = parametric(device, function, what, E::DTYPE)?;
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&count).arg(&planes).arg(&x).arg(&p);
        if let Some(grad) = &grad {
            launch.arg(grad);
        }
        launch.arg(&y);
        // SAFETY: the arguments match the kernel. The parameters have a value of each row for
        // each channel, the other tensors `n` elements.
        unsafe { launch.launch(config(launch::blocks(n, lanes::<E>()))) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// The gradients of the parameters.
pub(crate) fn parameter_gradient(
    function: Function,
    planes: Planes,
    x: (&CudaStorage, &Layout),
    p: (&CudaStorage, &Layout),
    grad: (&CudaStorage, &Layout),
) -> Result<CudaStorage> {
    launch::check_gradient(x.0, x.1, grad.0, grad.1)?;
    for_element!(function.name(), x.0, E => typed_gradient::<E>(function, planes, x, p, grad))
}

fn typed_gradient<E: Element>(
    function: Function,
    planes: Planes,
    (x, x_layout): (&CudaStorage, &Layout),
    (p, p_layout): (&CudaStorage, &Layout),
    (grad, grad_layout): (&CudaStorage, &Layout),
) -> Result<CudaStorage> {
    let device = x.device();
    let stream = device.cuda_stream();
    let n = x_layout.shape().elem_count();
    let total = p_layout.shape().elem_count();
    if n == 0 || total == 0 {
        let zeros =
            candle_core::backend::BackendDevice::zeros_impl(device, p_layout.shape(), E::DTYPE);
        return zeros;
    }
    let y = allocate::<E>(device, total)?;
    let count = n as u64;
    let (x, p) = (Dense::new(x, x_layout)?, Dense::new(p, p_layout)?);
    let grad = Dense::new(grad, grad_layout)?;
    let (x, p, grad) = (
        x.elements::<E>()?,
        p.elements::<E>()?,
        grad.elements::<E>()?,
    );
    if function.one_for_each(planes.channels, n) {
        let kernel = parametric(device, function, "each", E::DTYPE)?;
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&count).arg(&x).arg(&p).arg(&grad).arg(&y);
        // SAFETY: the arguments match `each`; all tensors have `n` elements.
        unsafe { launch.launch(config(launch::blocks(n, 1))) }.w()?;
    } else {
        let channels = planes.channels as usize;
        let parts = launch::parts(n / channels);
        let partial = allocate::<E::Compute>(device, total * parts)?;
        let parts_argument = parts as u64;
        let kernel = parametric(device, function, "partial", E::DTYPE)?;
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&count).arg(&planes).arg(&parts_argument);
        launch.arg(&x).arg(&p).arg(&grad).arg(&partial);
        // SAFETY: the arguments match `partial`. Each block writes one part of each row for one
        // channel, for which `partial` has room.
        unsafe { launch.launch(config(channels * parts)) }.w()?;
        let kernel = parametric(device, function, "total", E::DTYPE)?;
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&parts_argument).arg(&partial).arg(&y);
        // SAFETY: the arguments match `total`. Each block sums the parts of one parameter.
        unsafe { launch.launch(config(total)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// A contiguous tensor: the given one, or a copy.
enum Dense<'a> {
    Borrowed(&'a CudaStorage, usize),
    Owned(CudaStorage),
}

impl<'a> Dense<'a> {
    fn new(storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        Ok(match launch::dense(storage, layout)? {
            Some(copy) => Self::Owned(copy),
            None => Self::Borrowed(storage, layout.start_offset()),
        })
    }

    fn elements<E: Element>(&self) -> Result<CudaView<'_, E>> {
        let (storage, start) = match self {
            Self::Borrowed(storage, start) => (*storage, *start),
            Self::Owned(storage) => (storage, 0),
        };
        Ok(storage.as_cuda_slice::<E>()?.slice(start..))
    }
}
