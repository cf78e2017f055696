//! Flags for several ranks.

use candle_mish::train::{DistBn, Recipe};
use clap::Args;

use crate::args::set::{replace, set};

/// Flags for the batch norms of a run on several ranks.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Several ranks (mpirun)")]
pub struct RanksArgs {
    /// Batch norms take the statistics of the whole batch in training, over all ranks. The run
    /// then gives the result of one process, up to rounding [default: each rank's own part]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub sync_bn: Option<bool>,
    /// Running statistics of batch norms without --sync-bn: reduce takes their mean over all ranks,
    /// broadcast takes them from rank 0 [default: reduce]
    #[arg(long, value_name = "NAME")]
    pub dist_bn: Option<DistBn>,
}

impl RanksArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.sync_bn, self.sync_bn);
        replace(&mut recipe.dist_bn, &self.dist_bn);
    }
}
