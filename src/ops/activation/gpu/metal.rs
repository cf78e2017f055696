//! Activations on Metal: the kernels of `kernels/*.metal`, compiled when first used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{DType, Error, Layout, MetalDevice, MetalStorage, Result, bail};
use candle_metal_kernels::metal::{Buffer, ComputeCommandEncoder, ComputePipeline, Library};
use candle_metal_kernels::{BufferOffset, Output, set_params};
use objc2_metal::{MTLCompileOptions, MTLSize};

use super::launch::{self, Planes, Strided, THREADS};
use crate::activation::Activation;
use crate::ops::activation::function::Function;

const PRELUDE: &str = include_str!("kernels/prelude.metal");
const FUNCTIONS: &str = include_str!("kernels/functions.h");
const ELEMENTWISE: &str = include_str!("kernels/elementwise.h");
const ACTIVATION: &str = include_str!("kernels/activation.metal");
const PARAMETRIC_LOOPS: &str = include_str!("kernels/parametric.h");
const PARAMETRIC: &str = include_str!("kernels/parametric.metal");

/// The compiled kernels, by device and name.
#[derive(Default)]
struct Compiled {
    /// All kernels of one activation: compiling them one by one would repeat the slow parse.
    libraries: HashMap<(u64, String), Library>,
    pipelines: HashMap<(u64, String), ComputePipeline>,
}

/// The kernel `kernel` of the library `name`, whose source is `source`.
fn pipeline(
    device: &MetalDevice,
    name: &str,
    kernel: String,
    source: impl FnOnce() -> String,
) -> Result<ComputePipeline> {
    static COMPILED: OnceLock<Mutex<Compiled>> = OnceLock::new();
    let metal = device.metal_device();
    let compiled = COMPILED.get_or_init(Mutex::default).lock();
    let mut compiled = compiled.unwrap_or_else(PoisonError::into_inner);
    let key = (metal.registry_id(), kernel);
    if let Some(pipeline) = compiled.pipelines.get(&key) {
        return Ok(pipeline.clone());
    }
    let failed = |error| Error::Msg(format!("the Metal kernel {}: {error}", key.1));
    let library = match compiled.libraries.entry((key.0, name.to_string())) {
        Entry::Occupied(library) => library.into_mut(),
        Entry::Vacant(place) => {
            let options = MTLCompileOptions::new();
            // The tails need exact arithmetic. Newer systems deprecate this setting in favour of a
            // finer one, but older systems lack that.
            #[allow(deprecated)]
            options.setFastMathEnabled(false);
            let library = metal.new_library_with_source(&source(), Some(&options));
            place.insert(library.map_err(failed)?)
        }
    };
    let function = library.get_function(&key.1, None).map_err(failed)?;
    let pipeline = metal.new_compute_pipeline_state_with_function(&function);
    let pipeline = pipeline.map_err(failed)?;
    compiled.pipelines.insert(key, pipeline.clone());
    Ok(pipeline)
}

fn pointwise(
    device: &MetalDevice,
    activation: &Activation,
    what: &str,
    dtype: DType,
) -> Result<ComputePipeline> {
    let name = activation.name();
    let kernel = format!("{name}_{what}_{}", type_name(name, dtype)?);
    let define = format!("#define FUNCTION {name}\n");
    pipeline(device, name, kernel, || {
        [&define, PRELUDE, FUNCTIONS, ELEMENTWISE, ACTIVATION].concat()
    })
}

fn parametric(
    device: &MetalDevice,
    function: Function,
    what: &str,
    dtype: DType,
) -> Result<ComputePipeline> {
    let name = function.name();
    let kernel = format!("{name}_{what}_{}", type_name(name, dtype)?);
    pipeline(device, "parametric", kernel, || {
        [PRELUDE, PARAMETRIC_LOOPS, PARAMETRIC].concat()
    })
}

fn type_name(function: &str, dtype: DType) -> Result<&'static str> {
    if dtype == DType::F64 {
        bail!("Metal has no f64: {function} takes f32, f16 or bf16 there");
    }
    launch::type_name(function, dtype)
}

/// Elements that a thread takes at a time.
fn lanes(dtype: DType) -> usize {
    16 / dtype.size_in_bytes()
}

/// The buffer from the first element of a tensor on.
fn source<'a>(x: &'a MetalStorage, layout: &Layout) -> BufferOffset<'a> {
    BufferOffset {
        buffer: x.buffer(),
        offset_in_bytes: layout.start_offset() * x.dtype().size_in_bytes(),
    }
}

/// Whether all tensors begin at a multiple of 16 bytes. Buffers always do, views may not.
fn aligned(tensors: &[&BufferOffset]) -> u32 {
    let aligned = |tensor: &&BufferOffset| tensor.offset_in_bytes.is_multiple_of(16);
    u32::from(tensors.iter().all(aligned))
}

/// Memory for `n` elements, but at least one: Metal refuses empty allocations.
fn allocate(device: &MetalDevice, n: usize, dtype: DType) -> Result<Arc<Buffer>> {
    let builder = device.new_buffer_builder();
    builder
        .with_size_for(n.max(1), dtype)
        .with_label("activation")
        .build()
}

/// Encodes `blocks` blocks of a kernel; `arguments` sets its arguments.
fn launch(
    device: &MetalDevice,
    pipeline: &ComputePipeline,
    blocks: usize,
    arguments: impl FnOnce(&ComputeCommandEncoder),
) -> Result<()> {
    let guard = device.command_encoder()?;
    let encoder: &ComputeCommandEncoder = guard.as_ref();
    encoder.set_compute_pipeline_state(pipeline);
    arguments(encoder);
    let size = |width| MTLSize {
        width,
        height: 1,
        depth: 1,
    };
    // A power of two, for blocks that sum.
    let most = pipeline.max_total_threads_per_threadgroup().max(1);
    let threads = THREADS.min(1 << most.ilog2());
    encoder.dispatch_thread_groups(size(blocks), size(threads));
    Ok(())
}

pub(crate) fn forward(
    activation: &Activation,
    x: &MetalStorage,
    layout: &Layout,
) -> Result<MetalStorage> {
    let device = x.device();
    let n = layout.shape().elem_count();
    let y = allocate(device, n, x.dtype())?;
    apply(activation, x, layout, &y, 0, false)?;
    Ok(MetalStorage::new(y, device.clone(), n, x.dtype()))
}

pub(crate) fn in_place(
    activation: &Activation,
    x: &mut MetalStorage,
    layout: &Layout,
) -> Result<()> {
    let offset = source(x, layout).offset_in_bytes;
    apply(activation, x, layout, x.buffer(), offset, true)
}

/// y = f(x); with `in_place`, y has the layout of x.
fn apply(
    activation: &Activation,
    x: &MetalStorage,
    layout: &Layout,
    y: &Buffer,
    y_offset: usize,
    in_place: bool,
) -> Result<()> {
    let (device, dtype) = (x.device(), x.dtype());
    let n = layout.shape().elem_count();
    if n == 0 {
        return Ok(());
    }
    let count = n as u64;
    let parameters = launch::parameters(activation).map(|value| value as f32);
    let x = source(x, layout);
    if layout.is_contiguous() {
        let pipeline = pointwise(device, activation, "map", dtype)?;
        let aligned = aligned(&[&x]);
        launch(
            device,
            &pipeline,
            launch::blocks(n, lanes(dtype)),
            |encoder| {
                let y = Output::with_offset(y, y_offset);
                set_params!(encoder, (count, aligned, &x, y, &parameters[..]));
            },
        )
    } else {
        let pipeline = pointwise(device, activation, "map_strided", dtype)?;
        let strided = [Strided::new(layout, layout)?];
        let in_place = u32::from(in_place);
        launch(device, &pipeline, launch::blocks(n, 1), |encoder| {
            let y = Output::with_offset(y, y_offset);
            set_params!(
                encoder,
                (count, in_place, &strided[..], &x, y, &parameters[..])
            );
        })
    }
}

pub(crate) fn backward(
    activation: &Activation,
    x: &MetalStorage,
    x_layout: &Layout,
    grad: &MetalStorage,
    grad_layout: &Layout,
) -> Result<MetalStorage> {
    launch::check_gradient(x, x_layout, grad, grad_layout)?;
    let (device, dtype) = (x.device(), x.dtype());
    let n = x_layout.shape().elem_count();
    let buffer = allocate(device, n, dtype)?;
    if n > 0 {
        let count = n as u64;
        let parameters = launch::parameters(activation).map(|value| value as f32);
        let (x, grad) = (source(x, x_layout), source(grad, grad_layout));
        let y = Output::new(&buffer);
        if x_layout.is_contiguous() && grad_layout.is_contiguous() {
            let pipeline = pointwise(device, activation, "zip", dtype)?;
            let aligned = aligned(&[&x, &grad]);
            launch(
                device,
                &pipeline,
                launch::blocks(n, lanes(dtype)),
                |encoder| {
                    set_params!(encoder, (count, aligned, &x, &grad, y, &parameters[..]));
                },
            )?;
        } else {
            let pipeline = pointwise(device, activation, "zip_strided", dtype)?;
            let strided = [Strided::new(x_layout, grad_layout)?];
            launch(device, &pipeline, launch::blocks(n, 1), |encoder| {
                set_params!(
                    encoder,
                    (count, &strided[..], &x, &grad, y, &parameters[..])
                );
            })?;
        }
    }
    Ok(MetalStorage::new(buffer, device.clone(), n, dtype))
}

/// A contiguous tensor: the given one, or a copy.
struct Dense<'a> {
    copy: Option<MetalStorage>,
    storage: &'a MetalStorage,
    layout: &'a Layout,
}

impl<'a> Dense<'a> {
    fn new((storage, layout): (&'a MetalStorage, &'a Layout)) -> Result<Self> {
        Ok(Self {
            copy: launch::dense(storage, layout)?,
            storage,
            layout,
        })
    }

    fn source(&self) -> BufferOffset<'_> {
        match &self.copy {
            Some(copy) => BufferOffset::zero_offset(copy.buffer()),
            None => source(self.storage, self.layout),
        }
    }
}

/// f(x) with a tensor of parameters, or grad f'(x) if there is a gradient.
pub(crate) fn parametric_map(
    function: Function,
    planes: Planes,
    x: (&MetalStorage, &Layout),
    p: (&MetalStorage, &Layout),
    grad: Option<(&MetalStorage, &Layout)>,
) -> Result<MetalStorage> {
    launch::check_parameters(function.name(), x.0, p.0)?;
    if let Some(grad) = grad {
        launch::check_gradient(x.0, x.1, grad.0, grad.1)?;
    }
    let (device, dtype) = (x.0.device(), x.0.dtype());
    let n = x.1.shape().elem_count();
    let buffer = allocate(device, n, dtype)?;
    if n > 0 {
        let count = n as u64;
        let planes = [planes];
        let (x, p) = (Dense::new(x)?, Dense::new(p)?);
        let grad = grad.map(Dense::new).transpose()?;
        let (x, p) = (x.source(), p.source());
        let y = Output::new(&buffer);
        let blocks = launch::blocks(n, lanes(dtype));
        match grad.as_ref().map(Dense::source) {
            None => {
                let pipeline = parametric(device, function, "forward", dtype)?;
                let aligned = aligned(&[&x]);
                launch(device, &pipeline, blocks, |encoder| {
                    set_params!(encoder, (count, aligned, &planes[..], &x, &p, y));
                })?;
            }
            Some(grad) => {
                let pipeline = parametric(device, function, "backward", dtype)?;
                let aligned = aligned(&[&x, &grad]);
                launch(device, &pipeline, blocks, |encoder| {
                    set_params!(encoder, (count, aligned, &planes[..], &x, &p, &grad, y));
                })?;
            }
        }
    }
    Ok(MetalStorage::new(buffer, device.clone(), n, dtype))
}

/// The gradients of the parameters.
pub(crate) fn parameter_gradient(
    function: Function,
    planes: Planes,
    x: (&MetalStorage, &Layout),
    p: (&MetalStorage, &Layout),
    grad: (&MetalStorage, &Layout),
) -> Result<MetalStorage> {
    launch::check_parameters(function.name(), x.0, p.0)?;
    launch::check_gradient(x.0, x.1, grad.0, grad.1)?;
    let (device, dtype) = (x.0.device(), x.0.dtype());
    let n = x.1.shape().elem_count();
    let total = p.1.shape().elem_count();
    if n == 0 || total == 0 {
        return candle_core::backend::BackendDevice::zeros_impl(device, p.1.shape(), dtype);
    }
    let buffer = allocate(device, total, dtype)?;
    let count = n as u64;
    let (x, p, grad) = (Dense::new(x)?, Dense::new(p)?, Dense::new(grad)?);
    let (x, p, grad) = (x.source(), p.source(), grad.source());
    let y = Output::new(&buffer);
    if function.one_for_each(planes.channels, n) {
        let pipeline = parametric(device, function, "each", dtype)?;
        launch(device, &pipeline, launch::blocks(n, 1), |encoder| {
            set_params!(encoder, (count, &x, &p, &grad, y));
        })?;
    } else {
        let channels = planes.channels as usize;
        let parts = launch::parts(n / channels);
        let parts_argument = parts as u64;
        let planes = [planes];
        let partial = allocate(device, total * parts, DType::F32)?;
        let scratch = THREADS * DType::F32.size_in_bytes();
        let pipeline = parametric(device, function, "partial", dtype)?;
        launch(device, &pipeline, channels * parts, |encoder| {
            let partial = Output::new(&partial);
            set_params!(
                encoder,
                (count, &planes[..], parts_argument, &x, &p, &grad, partial)
            );
            encoder.set_threadgroup_memory_length(0, scratch);
        })?;
        let pipeline = parametric(device, function, "total", dtype)?;
        launch(device, &pipeline, total, |encoder| {
            set_params!(encoder, (parts_argument, &*partial, y));
            encoder.set_threadgroup_memory_length(0, scratch);
        })?;
    }
    Ok(MetalStorage::new(buffer, device.clone(), total, dtype))
}
