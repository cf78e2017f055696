//! Ranks on the GPUs of one computer or of many, connected by NCCL.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DeviceRepr};
use candle_core::cuda_backend::cudarc::nccl::result::NcclError;
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, NcclType, ReduceOp};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, Device, Error, InplaceOp1, Layout, Result, Tensor, bail,
};

use super::base::{Communicator, HandOver};
use super::rendezvous;
use crate::ops::AllReduce;

/// A rank with a GPU of its own.
///
/// Gradients are summed on a stream of their own, while the backward pass continues on the stream of the
/// device. A rank that dies makes the others wait, so the launcher has to end them.
pub struct Nccl {
    connection: Mutex<Connection>,
    rank: usize,
    size: usize,
    /// The stream of the sums.
    stream: Arc<CudaStream>,
    device: CudaDevice,
    /// Ends the other ranks, if something other than the launcher can.
    launched_by: Option<Arc<dyn Communicator>>,
}

/// NCCL's communicator.
struct Connection(Comm);

// SAFETY: NCCL allows calls from any thread, one at a time, with the device of the communicator being
// the thread's current one. The mutex and `Nccl::connection` see to both.
unsafe impl Send for Connection {}

impl Nccl {
    /// Connects the ranks of `ranks`, which exchange NCCL's id. `device` is a GPU that no other rank
    /// uses.
    ///
    /// # Errors
    /// If `device` is not a CUDA device, or NCCL cannot connect the ranks.
    pub fn connect(device: &Device, ranks: Arc<dyn Communicator>) -> Result<Self> {
        let (rank, size) = (ranks.rank(), ranks.size());
        let mut bytes = match rank {
            0 => new_id()?,
            _ => Vec::new(),
        };
        ranks.broadcast(0, &mut bytes)?;
        Self::new(device, rank, size, &bytes, Some(ranks))
    }

    /// Connects `size` ranks that exchange NCCL's id through `file`, which all of them see and which does
    /// not exist yet.
    ///
    /// # Errors
    /// If the file exists or cannot be written or read, `device` is not a CUDA device, or NCCL cannot
    /// connect the ranks.
    pub fn meet(device: &Device, rank: usize, size: usize, file: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::wrap(error).context(file.display().to_string());
        let bytes = match rank {
            0 => {
                let id = new_id()?;
                rendezvous::publish(file, &id).map_err(failed)?;
                id
            }
            _ => rendezvous::receive(file).map_err(failed)?,
        };
        let connected = Self::new(device, rank, size, &bytes, None);
        if rank == 0 {
            std::fs::remove_file(file).map_err(failed)?;
        }
        connected
    }

    fn new(
        device: &Device,
        rank: usize,
        size: usize,
        id: &[u8],
        launched_by: Option<Arc<dyn Communicator>>,
    ) -> Result<Self> {
        let Device::Cuda(device) = device else {
            bail!("NCCL needs a CUDA device");
        };
        let id: Vec<_> = id.iter().map(|byte| byte.cast_signed()).collect();
        let Ok(id) = id.try_into() else {
            bail!("NCCL's id has another size");
        };
        let stream = device.cuda_stream().context().new_stream().w()?;
        let comm = Comm::from_rank(stream.clone(), rank, size, Id::uninit(id)).map_err(error)?;
        Ok(Self {
            connection: Mutex::new(Connection(comm)),
            rank,
            size,
            stream,
            device: device.clone(),
            launched_by,
        })
    }

    /// The communicator, with its device as the current one of this thread.
    fn connection(&self) -> Result<MutexGuard<'_, Connection>> {
        self.stream.context().bind_to_thread().w()?;
        let locked = self.connection.lock();
        Ok(locked.unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs NCCL calls on values in the memory of the GPU, and returns what they make of them.
    fn on_gpu<T: DeviceRepr>(
        &self,
        values: &[T],
        calls: impl FnOnce(&Comm, &mut CudaSlice<T>) -> Result<()>,
    ) -> Result<Vec<T>> {
        let compute = self.device.cuda_stream();
        let mut slice = compute.clone_htod(values).w()?;
        self.stream.join(&compute).w()?;
        calls(&self.connection()?.0, &mut slice)?;
        compute.join(&self.stream).w()?;
        compute.clone_dtoh(&slice).w()
    }

    fn sum<T: DeviceRepr + NcclType + Copy>(&self, values: &mut [T]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let sums = self.on_gpu(values, |comm, slice| {
            let summed = comm.all_reduce_in_place(slice, &ReduceOp::Sum);
            summed.map(drop).map_err(error)
        })?;
        values.copy_from_slice(&sums);
        Ok(())
    }

    fn send<T: DeviceRepr + NcclType>(&self, root: usize, values: &[T]) -> Result<Vec<T>> {
        let root = i32::try_from(root).map_err(Error::wrap)?;
        self.on_gpu(values, |comm, slice| {
            let sent = comm.broadcast_in_place(slice, root);
            sent.map(drop).map_err(error)
        })
    }
}

/// The bytes of a new id for one group of ranks.
fn new_id() -> Result<Vec<u8>> {
    let id = Id::new().map_err(error)?;
    let bytes = id.internal().iter().map(|byte| byte.cast_unsigned());
    Ok(bytes.collect())
}

fn error(error: NcclError) -> Error {
    Error::Msg(format!("NCCL: {error:?}"))
}

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nccl(rank {} of {})", self.rank, self.size)
    }
}

impl AllReduce for Nccl {
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        self.sum(values)
    }
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        self.sum(values)
    }

    /// Sums each buffer in the memory of the GPU while `body` continues.
    fn all_reduce_during(
        &self,
        most: usize,
        body: &mut dyn FnMut(HandOver<'_>) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        let compute = self.device.cuda_stream();
        let mut buffers = Vec::with_capacity(most);
        body(&mut |buffer| {
            self.stream.join(&compute).w()?;
            buffer.inplace_op1(&SumOverRanks(&self.connection()?.0))?;
            // Memory is freed in the order of the stream of the device, so it must outlive the sum.
            buffers.push(buffer);
            Ok(())
        })?;
        compute.join(&self.stream).w()?;
        Ok(buffers)
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let length = self.send(root, &[bytes.len() as u64])?;
        let length = usize::try_from(length[0]).map_err(Error::wrap)?;
        bytes.resize(length, 0);
        if length > 0 {
            *bytes = self.send(root, bytes)?;
        }
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        self.all_reduce_sum_f64(&mut [0.0])
    }

    fn abort(&self, code: u8) {
        match &self.launched_by {
            Some(ranks) => ranks.abort(code),
            None => std::process::exit(i32::from(code)),
        }
    }
}

/// Replaces a contiguous f32 tensor on a GPU by its sum over all ranks.
struct SumOverRanks<'a>(&'a Comm);

impl InplaceOp1 for SumOverRanks<'_> {
    fn name(&self) -> &'static str {
        "sum-over-ranks"
    }

    fn cpu_fwd(&self, _storage: &mut CpuStorage, _layout: &Layout) -> Result<()> {
        bail!("NCCL sums tensors on GPUs only");
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("NCCL sums contiguous tensors only");
        };
        let mut slice = f32::as_cuda_slice_mut(storage)?.slice_mut(start..end);
        let summed = self.0.all_reduce_in_place(&mut slice, &ReduceOp::Sum);
        summed.map(drop).map_err(error)
    }
}
