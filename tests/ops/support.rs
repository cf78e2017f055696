//! Shared by the tests of the ops: devices, random tensors and the comparison of gradients.

use std::cell::Cell;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Device, Layout, MetalStorage, NdArray, Result,
    Shape, Tensor, Var,
};
use candle_mish::autograd::{apply1, value_and_grad};
use candle_mish::ops::composed;
use proptest::test_runner::TestCaseError;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The device and kernels of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The CPU with its kernels.
    Cpu,
    /// The CPU with the compositions of other devices.
    Composed,
    /// The CPU with compositions in f32, as on a device without f64.
    Single,
    /// The first CUDA device.
    #[cfg(feature = "cuda")]
    Cuda,
    /// The Metal device.
    #[cfg(feature = "metal")]
    Metal,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::Cpu,
    Target::Composed,
    Target::Single,
    #[cfg(feature = "cuda")]
    Target::Cuda,
    #[cfg(feature = "metal")]
    Target::Metal,
];

thread_local! {
    static TARGET: Cell<Target> = const { Cell::new(Target::Cpu) };
}

/// Runs `body` on `target`.
pub fn on<T>(target: Target, body: impl FnOnce() -> T) -> T {
    let before = TARGET.replace(target);
    let result = match target {
        Target::Composed | Target::Single => composed::everywhere(body),
        _ => body(),
    };
    TARGET.set(before);
    result
}

/// The widest type of the target that the test runs on.
pub fn real() -> DType {
    match TARGET.get() {
        Target::Single => DType::F32,
        #[cfg(feature = "metal")]
        Target::Metal => DType::F32,
        _ => DType::F64,
    }
}

/// `tolerance`, or the tolerance of f32 if that is the widest type.
fn reachable(tolerance: f64) -> f64 {
    match real() {
        DType::F32 => tolerance.max(1e-5),
        _ => tolerance,
    }
}

/// Whether the target runs the kernels of the CPU.
pub fn has_kernels() -> bool {
    TARGET.get() == Target::Cpu
}

/// Whether the target has matrix products. On Metal, Candle uses instructions for them that not
/// every GPU has. Without them, this prints that the test is skipped.
pub fn has_products() -> bool {
    #[cfg(feature = "metal")]
    if TARGET.get() == Target::Metal {
        static HAVE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        let multiply = || {
            let x = Tensor::ones((32, 32), DType::F32, &device())?;
            x.matmul(&x)?.to_vec2::<f32>()
        };
        let have = *HAVE.get_or_init(|| multiply().is_ok_and(|y| y[31][31] == 32.0));
        if !have {
            println!("skipped: this GPU has no matrix products");
        }
        return have;
    }
    true
}

/// Runs the body of a property on all targets.
pub fn every_device(
    mut body: impl FnMut() -> std::result::Result<(), TestCaseError>,
) -> std::result::Result<(), TestCaseError> {
    for target in TARGETS {
        println!("on {target:?}");
        on(*target, &mut body)?;
    }
    Ok(())
}

/// [`every_device`] for a property that needs matrix products.
pub fn every_device_with_products(
    mut body: impl FnMut() -> std::result::Result<(), TestCaseError>,
) -> std::result::Result<(), TestCaseError> {
    every_device(|| if has_products() { body() } else { Ok(()) })
}

/// The device of the target that the test runs on.
pub fn device() -> Device {
    match TARGET.get() {
        Target::Cpu | Target::Composed | Target::Single => Device::Cpu,
        #[cfg(feature = "cuda")]
        Target::Cuda => {
            static CUDA: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
            CUDA.get_or_init(|| candle_mish::device::cuda(0).unwrap())
                .clone()
        }
        #[cfg(feature = "metal")]
        Target::Metal => {
            static METAL: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
            METAL
                .get_or_init(|| candle_mish::device::metal().unwrap())
                .clone()
        }
    }
}

/// Makes a test of each function for each target that has f64: `module::cpu::name`,
/// `module::composed::name` and, with its feature, `module::cuda::name`.
macro_rules! test_devices {
    ($($name:ident,)*) => {
        test_devices! { @target cpu Cpu $($name,)* }
        test_devices! { @target composed Composed $($name,)* }
        #[cfg(feature = "cuda")]
        test_devices! { @target cuda Cuda $($name,)* }
    };
    (@target $module:ident $target:ident $($name:ident,)*) => {
        mod $module {
            $(
                #[test]
                fn $name() -> impl std::process::Termination {
                    crate::support::on(crate::support::Target::$target, super::$name)
                }
            )*
        }
    };
}

/// As `test_devices!`, for functions that need no f64: `module::single::name` and, with its
/// feature, `module::metal::name` too.
macro_rules! test_all_devices {
    ($($name:ident,)*) => {
        test_devices! { $($name,)* }
        test_devices! { @target single Single $($name,)* }
        #[cfg(feature = "metal")]
        test_devices! { @target metal Metal $($name,)* }
    };
}

/// As `test_all_devices!`, for functions that need matrix products, which not every Metal device
/// has.
macro_rules! test_all_devices_with_products {
    ($($name:ident,)*) => {
        test_devices! { $($name,)* }
        test_devices! { @target single Single $($name,)* }
        #[cfg(feature = "metal")]
        mod metal {
            $(
                #[test]
                fn $name() -> std::process::ExitCode {
                    use std::process::{ExitCode, Termination};
                    crate::support::on(crate::support::Target::Metal, || {
                        if crate::support::has_products() {
                            super::$name().report()
                        } else {
                            ExitCode::SUCCESS
                        }
                    })
                }
            )*
        }
    };
}

/// Values from -2 to 2 that depend on `seed` only.
pub fn uniform(seed: u64, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let values: Vec<f64> = (0..shape.elem_count())
        .map(|_| rng.random_range(-2.0..2.0))
        .collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    move_here(&values)
}

/// `x`, which is on the CPU, on the device of the target in its widest type.
fn move_here(x: &Tensor) -> Tensor {
    // Converted on the CPU: not every device has f64.
    x.to_dtype(real()).unwrap().to_device(&device()).unwrap()
}

/// An array of f64 in the widest type of the target.
pub fn array<A: NdArray>(values: A) -> Tensor {
    move_here(&Tensor::new(values, &Device::Cpu).unwrap())
}

/// A tensor of a shape, in the widest type of the target.
pub fn made(values: Vec<f64>, shape: impl Into<Shape>) -> Tensor {
    move_here(&Tensor::from_vec(values, shape.into(), &Device::Cpu).unwrap())
}

/// The values of `x` in row-major order.
pub fn values(x: &Tensor) -> Vec<f64> {
    let x = x.to_device(&Device::Cpu).unwrap();
    let x = x.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    x.to_vec1().unwrap()
}

/// Fails unless shapes agree and values within `tolerance` times (1 + their size).
#[track_caller]
pub fn assert_close(actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims());
    assert_values(&values(actual), &values(expected), tolerance);
}

/// Fails unless `actual` and `expected` agree within `tolerance` times (1 + their size).
#[track_caller]
pub fn assert_values(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let tolerance = if tolerance == 0.0 {
        tolerance
    } else {
        reachable(tolerance)
    };
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let close = (a - e).abs() <= tolerance * (1.0 + e.abs()) || a == e;
        assert!(
            close || (a.is_nan() && e.is_nan()),
            "value {i} is {a}, not {e}"
        );
    }
}

/// The sum of `x` times a different constant for each value: a loss that detects every wrong
/// gradient.
struct Weighted;

/// The gradient of [`Weighted`], given the gradient of the sum.
struct WeightedGrad(Shape);

/// Applies an op of the tests to a tensor on another device, on the CPU.
fn on_host<B>(op: &dyn CustomOp1, x: &B, layout: &Layout) -> Result<(B, Shape)>
where
    B: BackendStorage<Device: BackendDevice<Storage = B>>,
{
    let (y, shape) = op.cpu_fwd(&x.to_cpu_storage()?, layout)?;
    Ok((x.device().storage_from_cpu_storage(&y)?, shape))
}

fn weight(index: usize) -> f64 {
    ((index * 37 + 11) % 17) as f64 / 8.0 - 0.9
}

impl CustomOp1 for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("the tests sum contiguous values")
        };
        let sum = |values: &mut dyn Iterator<Item = f64>| {
            let products = values.enumerate().map(|(i, x)| x * weight(i));
            products.sum::<f64>()
        };
        let sum = match x {
            CpuStorage::F64(x) => CpuStorage::F64(vec![sum(&mut x[start..end].iter().copied())]),
            CpuStorage::F32(x) => {
                let mut x = x[start..end].iter().map(|x| f64::from(*x));
                CpuStorage::F32(vec![sum(&mut x) as f32])
            }
            _ => candle_core::bail!("the tests sum f64 or f32 values"),
        };
        Ok((sum, ().into()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        on_host(self, x, layout)
    }

    fn metal_fwd(&self, x: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        on_host(self, x, layout)
    }

    fn bwd(&self, x: &Tensor, _sum: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.apply_op1_no_bwd(&WeightedGrad(x.shape().clone()))
            .map(Some)
    }
}

impl CustomOp1 for WeightedGrad {
    fn name(&self) -> &'static str {
        "weighted_grad"
    }

    fn cpu_fwd(&self, grad: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let weights = (0..self.0.elem_count()).map(weight);
        let dx = match grad {
            CpuStorage::F64(grad) => CpuStorage::F64(weights.map(|w| grad[0] * w).collect()),
            CpuStorage::F32(grad) => CpuStorage::F32(weights.map(|w| grad[0] * w as f32).collect()),
            _ => candle_core::bail!("the tests sum f64 or f32 values"),
        };
        Ok((dx, self.0.clone()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        on_host(self, x, layout)
    }

    fn metal_fwd(&self, x: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        on_host(self, x, layout)
    }
}

/// The gradients of a weighted sum of `f(inputs)`, from the tape.
pub fn gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Tensor> = inputs
        .iter()
        .map(|x| Var::from_tensor(x).unwrap().into_inner())
        .collect();
    let (_, _, mut gradients) = value_and_grad(|| Ok((apply1(Weighted, &f(&vars)?)?, ()))).unwrap();
    let gradient = |x: &Tensor| gradients.remove(x).unwrap();
    vars.iter().map(gradient).collect()
}

/// Compares the gradients of a weighted sum of `f(inputs)`, from the tape and from Candle's
/// backward, with central differences. f32 is too short for differences, so there the gradients of
/// the CPU's kernels are the reference; they pass the test against differences.
#[track_caller]
pub fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let vars: Vec<Var> = inputs
        .iter()
        .map(|x| Var::from_tensor(x).unwrap())
        .collect();
    let tensors: Vec<Tensor> = vars.iter().map(|x| x.as_tensor().clone()).collect();
    let loss = apply1(Weighted, &f(&tensors).unwrap()).unwrap();
    let candle = loss.backward().unwrap();
    let tape = gradients(inputs, &f);
    let on_cpu = || {
        let inputs = inputs.iter().map(|x| x.to_device(&Device::Cpu).unwrap());
        gradients(&inputs.collect::<Vec<_>>(), &f)
    };
    let of_cpu = (real() == DType::F32).then(|| on(Target::Cpu, on_cpu));
    for (i, input) in inputs.iter().enumerate() {
        assert_eq!(tape[i].dims(), input.dims());
        match &of_cpu {
            None => assert_values(&values(&tape[i]), &differences(inputs, i, &f), 1e-6),
            Some(of_cpu) => {
                let expected = values(&of_cpu[i]);
                let scale = expected.iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
                let relative = |x: Vec<f64>| x.iter().map(|x| x / scale).collect::<Vec<_>>();
                assert_values(&relative(values(&tape[i])), &relative(expected), 1e-5);
            }
        }
        let candle = candle.get(&tensors[i]).unwrap();
        assert_values(&values(candle), &values(&tape[i]), 1e-14);
    }
}

fn differences(
    inputs: &[Tensor],
    which: usize,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let loss = |index: usize, step: f64| -> f64 {
        let mut moved = inputs.to_vec();
        let mut x = values(&inputs[which]);
        x[index] += step;
        moved[which] = made(x, inputs[which].dims());
        let y = values(&f(&moved).unwrap());
        y.iter().enumerate().map(|(i, y)| y * weight(i)).sum()
    };
    (0..inputs[which].elem_count())
        .map(|i| (loss(i, STEP) - loss(i, -STEP)) / (2.0 * STEP))
        .collect()
}

/// `x` with the same values in another layout: transposed storage and an offset.
pub fn strided(x: &Tensor) -> Tensor {
    let last = x.rank() - 1;
    let x = x.transpose(0, last).unwrap().contiguous().unwrap();
    let padded = x.pad_with_zeros(0, 1, 1).unwrap();
    let view = padded.narrow(0, 1, x.dim(0).unwrap()).unwrap();
    let view = view.transpose(0, last).unwrap();
    assert!(view.elem_count() < 2 || !view.is_contiguous() || view.layout().start_offset() > 0);
    view
}
