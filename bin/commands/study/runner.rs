//! Doing the runs of a study.
//!
//! Several processes can work on a study at once. Each run folder is locked while a process trains
//! in it, and the system releases the lock of a process that dies. A process goes over the runs in
//! order, takes the first one that is neither done nor locked, and starts or resumes it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_mish::checkpoint::write_atomically;
use candle_mish::study::{FAILURE, Failure, Outcome, PlannedRun, Study, StudyKind, describe};
use candle_mish::train::run_folder::CONFIG;
use candle_mish::train::{RunFolder, TrainError};

use super::folder::StudyFolder;
use super::timing::Timing;
use super::{options, report, timing};
use crate::commands::train::{self, Ended};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::interrupt::stop_on_signal;
use crate::output;
use crate::table::{counted, table};

/// Time between two looks at the runs of other processes.
const POLL: Duration = Duration::from_secs(2);

/// Does what is missing, then reports.
///
/// # Errors
/// If an option of a run is not valid, a file cannot be written, or a run fails for another reason
/// than its loss.
pub(super) fn run(study: &Study, output: &Path, context: &Context) -> anyhow::Result<Done> {
    let stop = stop_on_signal()?;
    let runs = study.runs();
    check(study, &runs, context)?;
    let folder = StudyFolder::create(output, study)?;
    // Times are compared only if they are of one device and number of threads.
    let check_place = || match study.kind {
        StudyKind::Timing => timing::check_place(&folder.outcomes(&runs)?, context),
        StudyKind::Training => Ok(()),
    };
    check_place()?;
    let clock = Instant::now();
    let mut trained = 0;
    // Each poll tries the runs in use again, which is not worth a line each time.
    let mut announced = vec![false; runs.len()];
    loop {
        let (mut in_use, mut progress) = (0, false);
        for (i, run) in runs.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(stopped(Done::Interrupted));
            }
            if Outcome::of(&folder.run(run))?.is_final() {
                continue;
            }
            let seen = std::mem::replace(&mut announced[i], true);
            if !seen {
                eprintln!("run {} of {}: {}", i + 1, runs.len(), run.name);
            }
            // Another process may have timed runs meanwhile.
            check_place()?;
            let done = match study.kind {
                StudyKind::Training => train_run(run, &folder, context, &stop)?,
                StudyKind::Timing => time_run(run, &folder, context)?,
            };
            match done {
                Attempt::InUse => {
                    in_use += 1;
                    if !seen {
                        eprintln!("another process is working on this run");
                    }
                }
                Attempt::Stopped(done) => return Ok(stopped(done)),
                Attempt::Done => {
                    trained += 1;
                    progress = true;
                    announce(&folder, &runs, trained, clock.elapsed())?;
                }
            }
        }
        if in_use == 0 {
            break;
        }
        if !progress {
            wait(&stop);
        }
    }
    report::print(study, &folder, context)?;
    Ok(Done::Complete)
}

/// Prints how to continue a study that ended early.
fn stopped(done: Done) -> Done {
    eprintln!("stopped; run the same command again to continue");
    done
}

/// Prints the runs and their states without doing them.
///
/// # Errors
/// If an option of a run is not valid, or a file of a run cannot be read.
pub(super) fn list(study: &Study, output: &Path, context: &Context) -> anyhow::Result<Done> {
    let runs = study.runs();
    check(study, &runs, context)?;
    let mut table = table(&["run", "state"]);
    for run in &runs {
        let outcome = Outcome::of(&StudyFolder::run_in(output, run))?;
        table.add_row([run.name.clone(), outcome.to_string()]);
    }
    output::text(&table.trim_fmt())?;
    Ok(Done::Complete)
}

/// Finds wrong options before the first hour of work.
fn check(study: &Study, runs: &[PlannedRun], context: &Context) -> anyhow::Result<()> {
    if study.kind == StudyKind::Timing {
        return runs.iter().try_for_each(|run| Timing::of(run).map(drop));
    }
    for run in runs {
        let recipe = train::check(&options::new_run(run, Path::new(&run.name))?, context)?;
        study.metric.check(&run.name, &recipe).map_err(usage)?;
    }
    Ok(())
}

/// What became of an attempt to do a run.
enum Attempt {
    Done,
    /// Another process trains it.
    InUse,
    /// A signal or a time limit ended it, after it saved its state.
    Stopped(Done),
}

/// Times a run while it holds the run's folder, so that no other process times it as well.
fn time_run(run: &PlannedRun, folder: &StudyFolder, context: &Context) -> anyhow::Result<Attempt> {
    let path = folder.run(run);
    let _held = match RunFolder::create(&path) {
        Ok(held) => held,
        Err(error) if is_in_use(&error) => return Ok(Attempt::InUse),
        Err(error) => return Err(error.into()),
    };
    // Another process may have timed it since this one looked.
    if !Outcome::of(&path)?.is_final() {
        Timing::of(run)?.measure(&path, context)?;
    }
    Ok(Attempt::Done)
}

/// Whether another process has the folder of a run. It may have taken it after this one looked.
fn is_in_use(error: &TrainError) -> bool {
    matches!(
        error,
        TrainError::FolderInUse(_)
            | TrainError::FolderTaken(_)
            | TrainError::FolderLeased { .. }
            | TrainError::FolderLost(_)
    )
}

fn train_run(
    run: &PlannedRun,
    folder: &StudyFolder,
    context: &Context,
    stop: &AtomicBool,
) -> anyhow::Result<Attempt> {
    let path = folder.run(run);
    let attempt = || {
        let args = match path.join(CONFIG).exists() {
            true => options::resumed(run, &path)?,
            false => options::new_run(run, &path)?,
        };
        train::train(&args, context, stop)
    };
    let error = match attempt() {
        Ok(Ended::Finished(_)) => return Ok(Attempt::Done),
        Ok(Ended::Early { done, .. }) => return Ok(Attempt::Stopped(done)),
        Err(error) => error,
    };
    match error.downcast_ref::<TrainError>() {
        Some(error) if is_in_use(error) => Ok(Attempt::InUse),
        Some(reason) if reason.is_divergence() => {
            let failure = Failure {
                reason: reason.to_string(),
            };
            eprintln!("{} failed: {}", describe(&run.settings), failure.reason);
            let text = serde_json::to_string_pretty(&failure)? + "\n";
            write_atomically(&path.join(FAILURE), |file| file.write_all(text.as_bytes()))?;
            Ok(Attempt::Done)
        }
        _ => Err(error.context(format!("run {}", run.name))),
    }
}

/// Prints how much is left.
fn announce(
    folder: &StudyFolder,
    runs: &[PlannedRun],
    trained: usize,
    elapsed: Duration,
) -> anyhow::Result<()> {
    let outcomes = folder.outcomes(runs)?;
    let left = outcomes
        .iter()
        .filter(|outcome| !outcome.is_final())
        .count();
    if left > 0 {
        let seconds = elapsed.as_secs_f64() / trained as f64 * left as f64;
        eprintln!(
            "{} left, about {} for this process alone",
            counted(left, "run"),
            duration(seconds)
        );
    }
    Ok(())
}

/// A duration in the two largest units.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// Sleeps, in pieces so that a signal ends it.
fn wait(stop: &AtomicBool) {
    let until = Instant::now() + POLL;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_two_units() {
        let texts = [7.4, 61.0, 3600.0, 7321.0].map(duration);
        assert_eq!(texts, ["7 s", "1 min 1 s", "1 h 0 min", "2 h 2 min"]);
    }
}
