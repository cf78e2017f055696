//! How strictly weights must fit a network.

/// Which parts of a network must be as the weights have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// All.
    Everything,
    /// All but the stem, the classifier and the activation.
    Layers,
}
