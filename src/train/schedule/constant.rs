//! A constant rate.

/// The same rate in every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// The rate.
    pub lr: f64,
}
