//! GPUs, opened as training wants them.

use candle_core::{Device, Result};

/// The CUDA device with this number. It keeps the memory that it has taken from the system: by
/// default CUDA gives what is free back whenever the host waits for the device, and takes it anew
/// for the next step, which costs more time than most kernels.
///
/// # Errors
/// If there is no such device, or this crate was built without the feature `cuda`.
pub fn cuda(number: usize) -> Result<Device> {
    let device = Device::new_cuda(number)?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = &device {
        keep_memory(cuda)?;
    }
    Ok(device)
}

#[cfg(feature = "cuda")]
fn keep_memory(device: &candle_core::CudaDevice) -> Result<()> {
    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};

    let stream = device.cuda_stream();
    let context = stream.context();
    // Without stream-ordered allocation there is no pool.
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is that of a context which exists, and the attribute is a number of 64
    // bits, which the driver only reads.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device()).w()?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()).w()
    }
}

/// The first Metal device.
///
/// # Errors
/// If there is none, or this crate was built without the feature `metal`.
pub fn metal() -> Result<Device> {
    // Candle takes it from the list unasked.
    #[cfg(feature = "metal")]
    if candle_metal_kernels::metal::Device::all().is_empty() {
        candle_core::bail!("this system has no Metal device");
    }
    Device::new_metal(0)
}
