//! `mish data`: looks at data sets.

mod preview;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Done;
use preview::PreviewArgs;

/// Flags of `mish data`.
#[derive(Debug, clap::Args)]
pub struct DataCommandArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Draw a training batch as the network sees it: augmented and mixed
    Preview(Box<PreviewArgs>),
}

/// Runs a command on a data set.
///
/// # Errors
/// If a flag is wrong, or a file cannot be read or written.
pub fn run(args: &DataCommandArgs, context: &Context) -> anyhow::Result<Done> {
    match &args.what {
        What::Preview(args) => preview::run(args, context),
    }
}
