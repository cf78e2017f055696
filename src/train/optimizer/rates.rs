//! What a schedule varies from step to step.

/// The learning rate and the momentum of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// The learning rate.
    pub lr: f64,
    /// The momentum, or the first beta of rules without momentum. `None` keeps the rule's own.
    pub momentum: Option<f64>,
}

impl From<f64> for Rates {
    /// The learning rate, with the momentum of the rule.
    fn from(lr: f64) -> Self {
        Self { lr, momentum: None }
    }
}

impl Rates {
    /// Whether the rates are the same, bit for bit.
    pub(in crate::train) fn has_bits_of(&self, other: &Self) -> bool {
        let bits = |rates: &Self| (rates.lr.to_bits(), rates.momentum.map(f64::to_bits));
        bits(self) == bits(other)
    }
}
