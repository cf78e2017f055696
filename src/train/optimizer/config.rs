//! Everything that an optimizer does in a step, apart from learning rate and clipping.

use super::lookahead::Lookahead;
use super::rule::Rule;

/// An update rule with weight decay, penalties and Lookahead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerConfig {
    /// The update rule.
    pub rule: Rule,
    /// How the weight decay of a [`ParameterGroup`](super::ParameterGroup) acts.
    pub weight_decay: WeightDecay,
    /// Adds this times the sign of the weight to the gradient of regularised parameters: the
    /// gradient of `l1_penalty * |w|`.
    pub l1_penalty: f64,
    /// Adds this times the weight to the gradient of regularised parameters: the gradient of
    /// `l2_penalty / 2 * w^2`.
    pub l2_penalty: f64,
    /// Slow weights.
    pub lookahead: Option<Lookahead>,
}

/// How weight decay acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightDecay {
    /// Adds `weight_decay * w` to the gradient. LAMB adds it to its direction.
    L2,
    /// Multiplies the weight by `1 - lr * weight_decay`, as AdamW does.
    Decoupled,
}

impl From<Rule> for OptimizerConfig {
    /// The rule with L2 weight decay alone.
    fn from(rule: Rule) -> Self {
        Self {
            rule,
            weight_decay: WeightDecay::L2,
            l1_penalty: 0.0,
            l2_penalty: 0.0,
            lookahead: None,
        }
    }
}
