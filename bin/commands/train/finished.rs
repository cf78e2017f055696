//! Resuming a run that is finished.

use candle_mish::train::Summary;
use candle_mish::train::run_folder::{REPORT, SUMMARY};

use super::args::TrainArgs;
use super::configure::Setup;
use super::result;
use crate::context::Context;
use crate::output;

/// Prints the result of the run to resume again, if there is nothing left to do for it. Returns whether
/// that is so.
///
/// # Errors
/// If stdout is closed.
pub(super) fn report(args: &TrainArgs, setup: &Setup, context: &Context) -> anyhow::Result<bool> {
    let Some(run) = &setup.resumed else {
        return Ok(false);
    };
    let epochs = run.started.recipe.epochs;
    let has_page = args.observers.no_report || run.folder.file(REPORT).is_file();
    if setup.config.recipe.epochs != epochs || !has_page {
        return Ok(false);
    }
    // An unfinished run has no summary.
    let Ok(text) = std::fs::read_to_string(run.folder.file(SUMMARY)) else {
        return Ok(false);
    };
    let Ok(summary) = serde_json::from_str::<Summary>(&text) else {
        return Ok(false);
    };
    if setup.communicator.rank() > 0 {
        return Ok(true);
    }
    let folder = run.folder.path();
    eprintln!(
        "{} is finished ({} of {epochs} epochs)",
        folder.display(),
        summary.epochs
    );
    if context.json {
        output::text(&text)?;
    } else {
        output::text(&result::line(&summary, epochs, folder))?;
    }
    Ok(true)
}
