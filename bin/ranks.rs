//! The ranks of a data parallel run: how this process joins and leaves them.

use std::sync::Arc;
use std::time::Duration;

use candle_mish::train::communicator::{Communicator, Launched, Single};

use crate::context::Context;
use crate::failure::{self, Done, usage};

/// The time that rank 0 has to report an error that all ranks have.
const RANK_0_FIRST: Duration = Duration::from_secs(2);

/// The variable of a launcher that supports PMIx, such as `srun --mpi=pmix`.
#[cfg(feature = "mpi")]
const PMIX_RANK: &str = "PMIX_RANK";

/// The place of this process among the ranks of a launcher.
///
/// # Errors
/// If the launcher's environment variables contradict each other.
pub fn launched() -> anyhow::Result<Option<Launched>> {
    let place = Launched::from_environment(|name| std::env::var(name).ok());
    place.map_err(usage)
}

/// The ranks that a launcher started with this process, or this process alone.
///
/// # Errors
/// If there are several ranks and this program or the launcher does not support MPI.
pub fn join(context: &Context) -> anyhow::Result<Arc<dyn Communicator>> {
    match context.launched {
        Some(place) if place.size > 1 => connect(place),
        _ => Ok(Arc::new(Single)),
    }
}

#[cfg(not(feature = "nccl"))]
fn connect(place: Launched) -> anyhow::Result<Arc<dyn Communicator>> {
    start(place)
}

/// The environment variable with the name of a file through which ranks without MPI find each other.
#[cfg(feature = "nccl")]
const RENDEZVOUS: &str = "MISH_RENDEZVOUS";

/// Connects ranks on GPUs with NCCL.
#[cfg(feature = "nccl")]
fn connect(place: Launched) -> anyhow::Result<Arc<dyn Communicator>> {
    use candle_mish::train::communicator::Nccl;

    let device = crate::device::current()?;
    if let Some(file) = std::env::var_os(RENDEZVOUS) {
        let ranks = Nccl::meet(device, place.rank, place.size, file.as_ref())?;
        return Ok(Arc::new(ranks));
    }
    let ranks = start(place)?;
    let mut with_gpu = [f64::from(u8::from(device.is_cuda()))];
    ranks.all_reduce_sum_f64(&mut with_gpu)?;
    match with_gpu[0] as usize {
        0 => Ok(ranks),
        count if count == place.size => Ok(Arc::new(Nccl::connect(device, ranks)?)),
        count => {
            only_on_rank_0(place);
            Err(usage(format!(
                "{count} of {} ranks have a GPU: choose --device cpu, or start fewer ranks",
                place.size
            )))
        }
    }
}

#[cfg(feature = "mpi")]
fn start(place: Launched) -> anyhow::Result<Arc<dyn Communicator>> {
    use candle_mish::train::communicator::{Launcher, Mpi, mpi};

    let Launched { launcher, size, .. } = place;
    let library = mpi::library();
    let open_mpi = library.starts_with("Open MPI");
    let pmi = if open_mpi { "pmix" } else { "pmi2" };
    let advice = format!("start them with its mpirun, or in Slurm with srun --mpi={pmi}");
    if launcher == Launcher::Torchrun {
        only_on_rank_0(place);
        return Err(usage(format!(
            "torchrun started {size} ranks, and {library} knows none of them: {advice}"
        )));
    }
    if open_mpi && launcher == Launcher::Slurm && std::env::var_os(PMIX_RANK).is_none() {
        // Without a PMI that it is built for, Open MPI ends the process in the next call. Its own
        // message does not name the option.
        tracing::warn!(
            "srun started {size} ranks without PMIx: if {library} fails, use srun --mpi=pmix or mpirun"
        );
    }
    let ranks = Mpi::start()?;
    if (ranks.rank(), ranks.size()) == (place.rank, place.size) {
        return Ok(Arc::new(ranks));
    }
    let error = format!(
        "{launcher} started {size} ranks, but {library} knows {}: {advice}",
        ranks.size()
    );
    only_on_rank_0(place);
    Err(usage(error))
}

#[cfg(not(feature = "mpi"))]
fn start(place: Launched) -> anyhow::Result<Arc<dyn Communicator>> {
    only_on_rank_0(place);
    let Launched { launcher, size, .. } = place;
    let advice = match cfg!(feature = "nccl") {
        true => {
            "name a new file in MISH_RENDEZVOUS for ranks on GPUs, build it with --features mpi"
        }
        false => "build it with --features mpi",
    };
    Err(usage(format!(
        "{launcher} started {size} ranks, but this program was built without MPI: {advice}, or \
         start one process"
    )))
}

/// Ends a rank other than 0, which has the same error.
fn only_on_rank_0(place: Launched) {
    if place.rank > 0 {
        std::thread::sleep(RANK_0_FIRST);
        std::process::exit(2);
    }
}

/// Waits until all ranks are done, or ends them all after an error, with one line that names the rank.
///
/// # Errors
/// The error of a process without other ranks.
pub fn leave(
    communicator: &dyn Communicator,
    result: anyhow::Result<Done>,
) -> anyhow::Result<Done> {
    let (rank, size) = (communicator.rank(), communicator.size());
    if size == 1 {
        return result;
    }
    match result {
        Ok(done) => {
            // A launcher may end all ranks as soon as one of them ends with an exit code.
            communicator.barrier()?;
            Ok(done)
        }
        Err(error) => {
            if rank > 0 {
                std::thread::sleep(RANK_0_FIRST);
            }
            eprintln!("error: rank {rank} of {size}: {}", failure::message(&error));
            communicator.abort(failure::code(&error));
            Err(error)
        }
    }
}
