//! The ranks that a launcher starts, from its environment variables.

use std::fmt;

/// A program that starts the ranks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// `mpiexec` of MPICH, Intel MPI or MVAPICH (Hydra), and other launchers that speak PMI.
    Hydra,
    /// Slurm's `srun`.
    Slurm,
    /// PyTorch's `torchrun`.
    Torchrun,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "Open MPI",
            Self::Hydra => "MPICH",
            Self::Slurm => "Slurm",
            Self::Torchrun => "torchrun",
        })
    }
}

/// The place of this process among those that a launcher started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// Who started it.
    pub launcher: Launcher,
    /// The number of this rank, counted from 0.
    pub rank: usize,
    /// The number of ranks.
    pub size: usize,
    /// The number of this rank among the ranks of its node, counted from 0.
    pub local_rank: usize,
    /// The number of ranks on this node.
    pub local_size: usize,
}

/// Variables of a launcher that contradict each other or are not numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value}, {expected}")]
pub struct LaunchError {
    /// The environment variable.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub expected: &'static str,
}

/// The variables of a launcher: rank, size, rank on the node, ranks on the node.
struct Variables {
    launcher: Launcher,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    local_size: Option<&'static str>,
}

/// In the order in which they count: `mpirun` inside of a Slurm job starts ranks of Open MPI or MPICH,
/// which also have the variables of Slurm. Torchrun comes first if [`TORCHRUN`] says that it started
/// the process, as it may run inside of any of the others.
const VARIABLES: [Variables; 4] = [
    Variables {
        launcher: Launcher::OpenMpi,
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: Some("OMPI_COMM_WORLD_LOCAL_SIZE"),
    },
    Variables {
        launcher: Launcher::Hydra,
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        local_rank: "MPI_LOCALRANKID",
        local_size: Some("MPI_LOCALNRANKS"),
    },
    Variables {
        launcher: Launcher::Slurm,
        rank: SLURM_RANK,
        size: SLURM_SIZE,
        local_rank: SLURM_LOCAL_RANK,
        local_size: None,
    },
    Variables {
        launcher: Launcher::Torchrun,
        rank: "RANK",
        size: "WORLD_SIZE",
        local_rank: "LOCAL_RANK",
        local_size: Some("LOCAL_WORLD_SIZE"),
    },
];

/// Set by `torchrun`. Without it, something else has set `RANK` and `WORLD_SIZE`.
const TORCHRUN: &str = "TORCHELASTIC_RUN_ID";
/// The number of a task in a Slurm step.
const SLURM_RANK: &str = "SLURM_PROCID";
/// The number of tasks of a Slurm step.
const SLURM_SIZE: &str = "SLURM_STEP_NUM_TASKS";
/// The number of a rank among the ranks of its node.
const SLURM_LOCAL_RANK: &str = "SLURM_LOCALID";
/// Tasks of each node of a Slurm step, such as `2(x3),1`.
const SLURM_TASKS: &str = "SLURM_STEP_TASKS_PER_NODE";
/// The number of this node in a Slurm step.
const SLURM_NODE: &str = "SLURM_NODEID";
/// The largest number of a step of `srun`. Larger ones are batch scripts and interactive shells.
const SLURM_MAX_NORMAL_STEP_ID: u32 = 0xffff_fff0;

impl Launched {
    /// The place of the process with these environment variables. `None` if no launcher started it.
    ///
    /// # Errors
    /// If a launcher's variable is no number or contradicts another one.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, LaunchError> {
        let mut order = VARIABLES.each_ref();
        if variable(TORCHRUN).is_some() {
            order.sort_by_key(|variables| variables.launcher != Launcher::Torchrun);
        }
        for variables in order {
            let (Some(_), Some(_)) = (variable(variables.rank), variable(variables.size)) else {
                continue;
            };
            if variables.launcher == Launcher::Slurm && !is_slurm_task(&variable) {
                continue;
            }
            return Self::read(variables, &variable).map(Some);
        }
        Ok(None)
    }

    fn read(
        variables: &Variables,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, LaunchError> {
        let number = |name: &'static str| {
            let Some(value) = variable(name) else {
                return Ok(None);
            };
            let error = || LaunchError {
                variable: name,
                value: value.clone(),
                expected: "must be a number",
            };
            value.trim().parse::<usize>().map(Some).map_err(|_| error())
        };
        let rank = number(variables.rank)?.unwrap_or(0);
        let size = number(variables.size)?.unwrap_or(1);
        let below = |name: &'static str, rank: usize, size: usize, expected| {
            (rank < size).then_some(()).ok_or_else(|| LaunchError {
                variable: name,
                value: rank.to_string(),
                expected,
            })
        };
        below(
            variables.rank,
            rank,
            size,
            "must be below the number of ranks",
        )?;
        let mut local_size = variables.local_size.map(number).transpose()?.flatten();
        let mut local_rank = number(variables.local_rank)?;
        let mut launcher = variables.launcher;
        // `srun --mpi=pmi2` sets the variables of PMI. The numbers differ if Slurm started a launcher,
        // which then started this rank.
        if local_size.is_none()
            && is_slurm_task(variable)
            && number(SLURM_RANK)? == Some(rank)
            && number(SLURM_SIZE)? == Some(size)
        {
            launcher = Launcher::Slurm;
            local_size = slurm_tasks(variable)?;
            local_rank = number(SLURM_LOCAL_RANK)?;
        }
        // A launcher that does not say it: all ranks on one node need the fewest threads each.
        let local_size = local_size.unwrap_or(size);
        let local_rank = local_rank.unwrap_or(rank.min(local_size.saturating_sub(1)));
        below(
            variables.local_rank,
            local_rank,
            local_size,
            "must be below the number of ranks on the node",
        )?;
        Ok(Self {
            launcher,
            rank,
            size,
            local_rank,
            local_size,
        })
    }

    /// The threads of this rank by default: the `cores` of the node divided by its ranks, but not more
    /// than the `available` ones, to which the launcher may have bound the rank.
    pub fn threads(&self, cores: usize, available: usize) -> usize {
        (cores / self.local_size).min(available).max(1)
    }
}

/// Whether the process is a task of `srun`, and not a batch script or an interactive shell.
fn is_slurm_task(variable: &impl Fn(&str) -> Option<String>) -> bool {
    let step = variable("SLURM_STEP_ID").and_then(|step| step.parse::<u32>().ok());
    step.is_some_and(|step| step <= SLURM_MAX_NORMAL_STEP_ID)
}

/// The tasks of this node in a Slurm step.
fn slurm_tasks(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<usize>, LaunchError> {
    let (Some(tasks), Some(node)) = (variable(SLURM_TASKS), variable(SLURM_NODE)) else {
        return Ok(None);
    };
    let found = node
        .parse()
        .ok()
        .and_then(|node| tasks_of_node(&tasks, node));
    match found {
        Some(tasks) => Ok(Some(tasks)),
        None => Err(LaunchError {
            variable: SLURM_TASKS,
            value: tasks,
            expected: "must be the tasks of each node, such as 2(x3),1",
        }),
    }
}

/// The tasks of node number `node`, counted from 0, in a list such as `2(x3),1`.
fn tasks_of_node(list: &str, node: usize) -> Option<usize> {
    let mut first = 0;
    for part in list.split(',') {
        let (tasks, nodes) = match part.split_once("(x") {
            Some((tasks, nodes)) => (tasks, nodes.strip_suffix(')')?.parse().ok()?),
            None => (part, 1),
        };
        first += nodes;
        if node < first {
            return tasks.parse().ok().filter(|tasks| *tasks > 0);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launched(variables: &[(&str, &str)]) -> Result<Option<Launched>, LaunchError> {
        Launched::from_environment(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_string())
        })
    }

    #[test]
    fn each_launcher_says_rank_and_size() {
        let place = |launcher, rank, size, local_rank, local_size| Launched {
            launcher,
            rank,
            size,
            local_rank,
            local_size,
        };
        let open_mpi = [
            ("OMPI_COMM_WORLD_RANK", "5"),
            ("OMPI_COMM_WORLD_SIZE", "8"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
            // mpirun inside of a Slurm job.
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("SLURM_STEP_ID", "0"),
        ];
        let expected = place(Launcher::OpenMpi, 5, 8, 1, 4);
        assert_eq!(launched(&open_mpi), Ok(Some(expected)));
        let mpich = [
            ("PMI_RANK", "3"),
            ("PMI_SIZE", "4"),
            ("MPI_LOCALRANKID", "1"),
            ("MPI_LOCALNRANKS", "2"),
        ];
        let expected = place(Launcher::Hydra, 3, 4, 1, 2);
        assert_eq!(launched(&mpich), Ok(Some(expected)));
        let slurm = [
            ("SLURM_STEP_ID", "0"),
            ("SLURM_PROCID", "6"),
            ("SLURM_STEP_NUM_TASKS", "7"),
            ("SLURM_LOCALID", "0"),
            ("SLURM_NODEID", "3"),
            ("SLURM_STEP_TASKS_PER_NODE", "2(x3),1"),
        ];
        let expected = place(Launcher::Slurm, 6, 7, 0, 1);
        assert_eq!(launched(&slurm), Ok(Some(expected)));
        // srun --mpi=pmi2
        let pmi = [&slurm[..], &[("PMI_RANK", "6"), ("PMI_SIZE", "7")]].concat();
        assert_eq!(launched(&pmi), Ok(Some(expected)));
        let torchrun = [
            ("RANK", "1"),
            ("WORLD_SIZE", "2"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "2"),
        ];
        let expected = place(Launcher::Torchrun, 1, 2, 1, 2);
        assert_eq!(launched(&torchrun), Ok(Some(expected)));
    }

    #[test]
    fn a_launcher_inside_of_a_slurm_step_counts() {
        let step = [
            ("SLURM_STEP_ID", "1"),
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "1"),
            ("SLURM_LOCALID", "0"),
            ("SLURM_NODEID", "0"),
            ("SLURM_STEP_TASKS_PER_NODE", "1"),
        ];
        let place = |variables: &[(&'static str, &'static str)]| {
            let place = launched(&[&step[..], variables].concat());
            place.expect("valid").expect("a rank")
        };
        // Hydra starts its proxies with srun.
        let hydra = [("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        let expected = Launched {
            launcher: Launcher::Hydra,
            rank: 1,
            size: 2,
            local_rank: 1,
            local_size: 2,
        };
        assert_eq!(place(&hydra), expected);
        let local = [("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "2")];
        assert_eq!(place(&[hydra, local].concat()), expected);
        // srun --mpi=pmi2 -n 1 torchrun --nproc-per-node 2
        let torchrun = [
            ("PMI_RANK", "0"),
            ("PMI_SIZE", "1"),
            ("TORCHELASTIC_RUN_ID", "none"),
            ("RANK", "1"),
            ("WORLD_SIZE", "2"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "2"),
        ];
        let launcher = Launcher::Torchrun;
        assert_eq!(
            place(&torchrun),
            Launched {
                launcher,
                ..expected
            }
        );
        // A batch script may set these for other programs.
        let place = place(&[("RANK", "0"), ("WORLD_SIZE", "8")]);
        assert_eq!((place.launcher, place.size), (Launcher::Slurm, 1));
    }

    #[test]
    fn without_a_launcher_there_is_one_process() {
        assert_eq!(launched(&[]), Ok(None));
        // Other programs use this variable as well.
        assert_eq!(launched(&[("RANK", "3")]), Ok(None));
        // A batch script is no rank, whatever its job allocates.
        let script = [
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "4"),
            ("SLURM_NTASKS", "4"),
        ];
        assert_eq!(launched(&script), Ok(None));
        let shell = [&script[..], &[("SLURM_STEP_ID", "4294967290")]].concat();
        assert_eq!(launched(&shell), Ok(None));
    }

    #[test]
    fn a_launcher_that_does_not_say_the_nodes_has_one() {
        let place = launched(&[("PMI_RANK", "2"), ("PMI_SIZE", "3")]);
        let place = place.expect("valid").expect("a rank");
        assert_eq!((place.local_rank, place.local_size), (2, 3));
    }

    #[test]
    fn wrong_variables_are_named() {
        let error = launched(&[("PMI_RANK", "x"), ("PMI_SIZE", "3")]).expect_err("no number");
        assert_eq!(error.to_string(), "PMI_RANK is x, must be a number");
        for wrong in [("3", "3"), ("0", "0")] {
            let error = launched(&[("RANK", wrong.0), ("WORLD_SIZE", wrong.1)]);
            assert_eq!(error.expect_err("too large").variable, "RANK");
        }
        let slurm = |tasks| {
            launched(&[
                ("SLURM_STEP_ID", "0"),
                ("SLURM_PROCID", "0"),
                ("SLURM_STEP_NUM_TASKS", "2"),
                ("SLURM_NODEID", "1"),
                ("SLURM_STEP_TASKS_PER_NODE", tasks),
            ])
        };
        for tasks in ["", "2", "2(x", "a,b", "1,0"] {
            let error = slurm(tasks).expect_err(tasks);
            assert_eq!(error.variable, SLURM_TASKS, "{tasks}");
        }
        assert!(slurm("1(x2)").is_ok());
    }

    #[test]
    fn the_cores_of_a_node_are_divided() {
        let place = |local_size| Launched {
            launcher: Launcher::OpenMpi,
            rank: 0,
            size: 8,
            local_rank: 0,
            local_size,
        };
        assert_eq!(place(4).threads(64, 64), 16);
        assert_eq!(place(3).threads(64, 64), 21);
        // Bound to one core.
        assert_eq!(place(4).threads(64, 1), 1);
        assert_eq!(place(8).threads(2, 2), 1);
    }
}
