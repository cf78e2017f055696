//! GPUs, configured for training.

use candle_core::{Device, Result};

/// Opens the CUDA device `number` with a memory pool that keeps freed memory. By default CUDA returns
/// free memory to the system whenever the host waits for the device and allocates it again in the
/// next step, which takes longer than most kernels.
///
/// # Errors
/// There is no such device, or this crate was built without the feature `cuda`.
pub fn cuda(number: usize) -> Result<Device> {
    let device = Device::new_cuda(number)?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = &device {
        keep_memory(cuda)?;
    }
    Ok(device)
}

/// Opens the CUDA device of a rank, whose number among the ranks of this computer is `local_rank`. Ranks
/// share devices if there are fewer of them than ranks.
///
/// # Errors
/// As [`cuda`].
pub fn cuda_of_rank(local_rank: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    let count = {
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::CudaContext;

        usize::try_from(CudaContext::device_count().w()?).unwrap_or_default()
    };
    #[cfg(not(feature = "cuda"))]
    let count = 1;
    cuda(local_rank % count.max(1))
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
    // SAFETY: the device belongs to an existing context, and the attribute is a 64-bit number that
    // the driver only reads.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device()).w()?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()).w()
    }
}

/// Bytes that can still be allocated on a GPU. On CUDA, it is the free memory of the device; memory
/// that the pool of [`cuda`] keeps counts as used. On Metal, it is the recommended size of all
/// allocations without the present ones. `None` for the CPU, or if the driver does not say.
pub fn free_memory(device: &Device) -> Option<usize> {
    match device {
        Device::Cpu => None,
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let (free, _total) = cuda.cuda_stream().context().mem_get_info().ok()?;
            Some(free)
        }
        #[cfg(feature = "metal")]
        Device::Metal(metal) => {
            let device = metal.metal_device();
            let recommended = device.recommended_max_working_set_size();
            Some(recommended.saturating_sub(device.current_allocated_size()))
        }
        #[allow(
            unreachable_patterns,
            reason = "without a feature, its device has no memory"
        )]
        _ => None,
    }
}

/// Opens the first Metal device.
///
/// # Errors
/// There is none, or this crate was built without the feature `metal`.
pub fn metal() -> Result<Device> {
    // Candle indexes the list of devices without a check.
    #[cfg(feature = "metal")]
    if candle_metal_kernels::metal::Device::all().is_empty() {
        candle_core::bail!("this system has no Metal device");
    }
    Device::new_metal(0)
}
