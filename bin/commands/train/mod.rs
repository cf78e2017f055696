//! `mish train`: trains a network and leaves a run folder.

mod args;
mod classes;
mod command;
mod config_file;
mod configure;
mod family;
mod image_sizes;
mod memory;
mod observers;
mod prepare;
mod resume;
mod session;

use std::sync::atomic::AtomicBool;

use candle_mish::data::{BadImages, CheckedSplits};
use candle_mish::train::Recipe;
use candle_mish_models::Stem;

pub use args::{SetupArgs, TrainArgs};
pub use command::flag_words;
pub(super) use configure::configure;
pub use family::{Family, program};
pub(super) use prepare::Prepared;
pub use session::Ended;

use crate::context::Context;
use crate::failure::Done;
use crate::interrupt::stop_on_signal;
use crate::network::Network;
use crate::{dataset, output};
use configure::Setup;
use session::Session;

/// Trains a network, of `family` if the program is limited to one.
///
/// # Errors
/// If flags, files or data are wrong, or training fails.
pub fn run(args: &TrainArgs, family: Option<&Family>, context: &Context) -> anyhow::Result<Done> {
    let setup = configure_run(args, family, context)?;
    let config = &setup.config;
    if args.dry_run {
        // An error here means that the network cannot be built.
        let spec = config.spec(1, Stem::Cifar);
        Network::with_context(&spec, &config.recipe, config.build_context())?;
        if context.json {
            output::json(config)?;
        } else {
            output::text(&config.to_toml()?)?;
        }
        return Ok(Done::Complete);
    }
    let stop = stop_on_signal()?;
    let mut session = session(args, setup, context)?;
    match session.run(&stop)? {
        Ended::Early(done) => Ok(done),
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
    let setup = configure_run(args, None, context)?;
    session(args, setup, context)?.run(stop)
}

/// Checks the options of a run without reading its data. Returns its recipe.
///
/// # Errors
/// If options contradict each other, or name something unknown.
pub fn check(args: &TrainArgs, context: &Context) -> anyhow::Result<Recipe> {
    Ok(configure_run(args, None, context)?.config.recipe)
}

fn configure_run(
    args: &TrainArgs,
    family: Option<&Family>,
    context: &Context,
) -> anyhow::Result<Setup> {
    let mut setup = configure(&args.setup, args.resume.as_deref(), family, context)?;
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
    let dataset = dataset::open(&options, CheckedSplits::All, context)?;
    let prepared = Prepared::new(setup, dataset, context)?;
    Session::new(args, prepared, context)
}
