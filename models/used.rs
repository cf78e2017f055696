//! Which options of a network its layers used. An option that no layer used has no effect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::context::BuildContext;
use crate::spec::ModelSpec;

/// An option that only some networks have a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Drop,
    DropPath,
    Gate,
    BatchNorm,
    GradCheckpointing,
}

/// The options that layers used so far. Clones share the record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(Arc<AtomicU8>);

impl Used {
    /// Notes that a layer used an option.
    pub fn note(&self, choice: Choice) {
        self.0.fetch_or(1 << choice as u8, Ordering::Relaxed);
    }

    fn has(&self, choice: Choice) -> bool {
        self.0.load(Ordering::Relaxed) & (1 << choice as u8) != 0
    }

    /// The first option that `spec` or `context` sets and no layer used.
    pub fn first_without_effect(
        &self,
        spec: &ModelSpec,
        context: &BuildContext,
    ) -> Option<NoEffect> {
        let options = [
            ("drop_rate", spec.drop_rate > 0.0, Choice::Drop),
            (
                "drop_path_rate",
                spec.drop_path_rate > 0.0,
                Choice::DropPath,
            ),
            ("gate", spec.gate.is_some(), Choice::Gate),
            ("bn_momentum", spec.bn_momentum.is_some(), Choice::BatchNorm),
            ("bn_eps", spec.bn_eps.is_some(), Choice::BatchNorm),
            (
                "grad_checkpointing",
                context.grad_checkpointing,
                Choice::GradCheckpointing,
            ),
            ("sync_bn", context.sync_bn.is_some(), Choice::BatchNorm),
        ];
        let mut options = options.into_iter();
        let unused = options.find(|(_, is_set, choice)| *is_set && !self.has(*choice));
        unused.map(|(option, _, choice)| NoEffect {
            model: spec.model.clone(),
            option,
            lacks: match choice {
                Choice::Drop => "dropout",
                Choice::DropPath => "residual blocks",
                Choice::Gate => "gates",
                Choice::BatchNorm => "batch norms",
                Choice::GradCheckpointing => "blocks",
            },
        })
    }
}

/// An option without effect on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEffect {
    /// The network.
    pub model: String,
    /// The option: a field of [`ModelSpec`] or of [`BuildContext`].
    pub option: &'static str,
    /// What the network lacks.
    pub lacks: &'static str,
}

impl fmt::Display for NoEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            model,
            option,
            lacks,
        } = self;
        write!(f, "{option} has no effect on {model}, which has no {lacks}")
    }
}
