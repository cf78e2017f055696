//! Optimizers with the arithmetic of PyTorch and timm. An update is in place on its [`Var`] and is not
//! part of any graph. Rules that treat each element alone are one pass over memory on the CPU.

mod average;
mod clip;
mod composed;
mod config;
mod elements;
mod lookahead;
mod norm;
mod number;
mod rates;
mod rule;
mod rule_optimizer;
mod rules;
mod traits;
mod update;

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var};

use crate::autograd::Gradients;
use crate::pattern::matches;
pub(super) use average::move_towards;
pub use clip::Clip;
pub use config::{OptimizerConfig, WeightDecay};
pub use lookahead::Lookahead;
pub use rates::Rates;
pub use rule::Rule;
pub use rule_optimizer::RuleOptimizer;
pub use rules::{
    Adadelta, Adagrad, Adam, Adamax, Fallback, Lamb, Lion, LrAdjustment, Muon, NAdam, RAdam,
    RmsProp, RmsPropTf, Sgd,
};
pub use traits::Buffer;

/// Updates parameters from their gradients.
pub trait Optimizer {
    /// Updates every parameter that has a gradient, at these rates. With [`Clip::Norm`] returns the
    /// global norm of the gradients before clipping.
    ///
    /// # Errors
    /// A gradient with another shape or dtype than its parameter, or an unsupported dtype.
    fn step(
        &mut self,
        gradients: &Gradients,
        rates: Rates,
        clip: Option<Clip>,
    ) -> Result<Option<f64>>;

    /// Follows the last step of an epoch.
    ///
    /// # Errors
    /// An update fails.
    fn end_epoch(&mut self) -> Result<()> {
        Ok(())
    }

    /// The number of steps taken.
    fn steps(&self) -> u64;

    /// The state as named tensors, `<parameter>.<PyTorch's name of the buffer>`.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Restores the `state` after `steps` steps.
    ///
    /// # Errors
    /// A buffer is missing or has another shape or dtype.
    fn restore(&mut self, state: &HashMap<String, Tensor>, steps: u64) -> Result<()>;
}

/// A parameter group: parameters with the same weight decay and learning-rate factor.
#[derive(Debug, Clone)]
pub struct ParameterGroup {
    /// Names and variables, in the order of the updates.
    pub parameters: Vec<(String, Var)>,
    /// The weight decay of this group.
    pub weight_decay: f64,
    /// Whether the L1 and L2 penalties of the optimizer apply to this group.
    pub regularised: bool,
    /// Multiplies the learning rate.
    pub lr_scale: f64,
    /// The number of steps before the first update of this group. The group counts its own steps
    /// from there.
    pub start: u64,
    /// Whether the fallback of Muon updates this group. Other optimizers have none.
    pub use_fallback: bool,
}

impl ParameterGroup {
    /// Splits parameters as timm does: biases and tensors of at most one dimension (scales and shifts
    /// of norms, slopes of activations) have no weight decay and no penalties.
    pub fn split(parameters: Vec<(String, Var)>, weight_decay: f64) -> Vec<Self> {
        let (plain, decayed) = parameters
            .into_iter()
            .partition(|(name, var)| var.rank() <= 1 || name.ends_with(".bias"));
        [(decayed, weight_decay, true), (plain, 0.0, false)]
            .into_iter()
            .map(|(parameters, weight_decay, regularised)| Self {
                parameters,
                weight_decay,
                regularised,
                lr_scale: 1.0,
                start: 0,
                use_fallback: false,
            })
            .collect()
    }

    /// Moves the parameters whose name matches one of `patterns`, with `*` and `?`, to groups with
    /// [`ParameterGroup::use_fallback`]: timm's `fallback_list`.
    pub fn with_fallback_list(groups: Vec<Self>, patterns: &[String]) -> Vec<Self> {
        let listed = |name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        let divided = groups.into_iter().flat_map(|group| {
            let parameters = group.parameters.into_iter();
            let (fallback, own): (Vec<_>, Vec<_>) = parameters.partition(|(name, _)| listed(name));
            [(own, group.use_fallback), (fallback, true)].map(|(parameters, use_fallback)| Self {
                parameters,
                use_fallback,
                ..group
            })
        });
        divided
            .filter(|group| !group.parameters.is_empty())
            .collect()
    }
}
