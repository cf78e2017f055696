//! `mish train`: trains a network and leaves a run folder.

mod args;
mod classes;
mod command;
mod config_file;
mod configure;
mod dry_run;
mod family;
mod finished;
mod image_sizes;
mod lease;
mod memory;
mod observers;
mod prepare;
mod result;
mod resume;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_mish::data::{BadImages, CheckedSplits};
use candle_mish::train::Recipe;
use candle_mish::train::communicator::{Communicator, Single};

pub use args::{SetupArgs, TrainArgs};
pub use command::flag_words;
pub(super) use configure::configure;
pub use family::{Family, program};
pub(super) use prepare::Prepared;
pub use session::Ended;

use crate::context::Context;
use crate::failure::Done;
use crate::interrupt::stop_on_signal;
use crate::{dataset, ranks};
use configure::Setup;
use session::Session;

/// Trains a network, of `family` if the program is limited to one.
///
/// # Errors
/// If flags, files or data are wrong, or training fails.
pub fn run(args: &TrainArgs, family: Option<&Family>, context: &Context) -> anyhow::Result<Done> {
    let communicator = ranks::join(context)?;
    let result = run_rank(args, family, context, communicator.clone());
    ranks::leave(&*communicator, result)
}

fn run_rank(
    args: &TrainArgs,
    family: Option<&Family>,
    context: &Context,
    communicator: Arc<dyn Communicator>,
) -> anyhow::Result<Done> {
    let writes = communicator.rank() == 0;
    let setup = lease::wait(|| configure_run(args, family, context, communicator.clone()))?;
    if args.dry_run {
        if writes {
            dry_run::print(&setup.config, context)?;
        }
        return Ok(Done::Complete);
    }
    if finished::report(args, &setup, context)? {
        return Ok(Done::Complete);
    }
    let stop = stop_on_signal()?;
    let mut session = session(args, setup, context)?;
    match session.run(&stop)? {
        Ended::Early { done, step } => {
            if writes {
                session.say_how_to_continue(done, step);
            }
            Ok(done)
        }
        Ended::Finished(_) if !writes => Ok(Done::Complete),
        Ended::Finished(summary) => {
            session.report(&summary)?;
            Ok(Done::Complete)
        }
    }
}

/// Trains a network without printing the result. `stop` ends the run after it saved its state.
///
/// # Errors
/// As [`run`].
pub fn train(args: &TrainArgs, context: &Context, stop: &AtomicBool) -> anyhow::Result<Ended> {
    let setup = configure_run(args, None, context, Arc::new(Single))?;
    session(args, setup, context)?.run(stop)
}

/// Checks the options of a run without reading its data. Returns its recipe.
///
/// # Errors
/// If options contradict each other, or name something unknown.
pub fn check(args: &TrainArgs, context: &Context) -> anyhow::Result<Recipe> {
    let setup = configure_run(args, None, context, Arc::new(Single))?;
    dry_run::check_data(&setup.config.data)?;
    Ok(setup.config.recipe)
}

fn configure_run(
    args: &TrainArgs,
    family: Option<&Family>,
    context: &Context,
    communicator: Arc<dyn Communicator>,
) -> anyhow::Result<Setup> {
    let resume = args.resume.as_deref();
    let mut setup = configure(&args.setup, resume, family, context, communicator)?;
    args.run.apply(&mut setup.config.run);
    Ok(setup)
}

fn session<'a>(
    args: &TrainArgs,
    setup: Setup,
    context: &'a Context,
) -> anyhow::Result<Session<'a>> {
    let mut options = setup.config.data.clone();
    if args.resume.is_some() {
        // The run recorded the images that it skipped. Another bad one would change their order.
        options.bad_images = BadImages::Error;
    }
    // Rank 0 downloads what is missing.
    let communicator = setup.communicator.clone();
    if communicator.rank() > 0 {
        communicator.barrier()?;
    }
    let dataset = dataset::open(&options, CheckedSplits::All, context)?;
    if communicator.rank() == 0 {
        communicator.barrier()?;
    }
    let prepared = Prepared::new(setup, dataset)?;
    Session::new(args, prepared, context)
}
