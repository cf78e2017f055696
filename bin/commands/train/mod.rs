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

use candle_mish::data::{BadImages, CheckedSplits};
use candle_mish_models::Stem;

pub use args::{SetupArgs, TrainArgs};
pub(super) use configure::configure;
pub use family::{Family, program};
pub(super) use prepare::Prepared;

use crate::context::Context;
use crate::failure::Done;
use crate::network::Network;
use crate::{dataset, output};
use session::{Ended, Session};

/// Trains a network, of `family` if the program is limited to one.
///
/// # Errors
/// If flags, files or data are wrong, or training fails.
pub fn run(args: &TrainArgs, family: Option<&Family>, context: &Context) -> anyhow::Result<Done> {
    let mut setup = configure(&args.setup, args.resume.as_deref(), family, context)?;
    args.run.apply(&mut setup.config.run);
    let config = &setup.config;
    if args.dry_run {
        // An error here means that the network cannot be built.
        Network::new(&config.spec(1, Stem::Cifar), config.recipe.seed)?;
        if context.json {
            output::json(config)?;
        } else {
            output::text(&config.to_toml()?)?;
        }
        return Ok(Done::Complete);
    }
    let mut options = config.data.clone();
    if args.resume.is_some() {
        // The run recorded the images that it skipped. Another bad one would change their order.
        options.bad_images = BadImages::Error;
    }
    let dataset = dataset::open(&options, CheckedSplits::All, context)?;
    let prepared = Prepared::new(setup, dataset, context)?;
    let mut session = Session::new(args, prepared, context)?;
    match session.run()? {
        Ended::Early(done) => Ok(done),
        Ended::Finished(summary) => {
            session.report(&summary)?;
            Ok(Done::Complete)
        }
    }
}
