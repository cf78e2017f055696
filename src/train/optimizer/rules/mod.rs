//! The update rules, one file each, in the order of operations of PyTorch or timm.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod lamb;
mod lion;
mod muon;
mod nadam;
mod radam;
mod rmsprop;
mod rmsprop_tf;
mod sgd;

use candle_core::{Result, Tensor, Var};

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use lamb::Lamb;
pub use lion::Lion;
pub use muon::{Fallback, LrAdjustment, Muon};
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rmsprop_tf::RmsPropTf;
pub use sgd::Sgd;

use super::number::{Number, Whole};
use super::update::Update;
use super::{composed, elements};
use crate::ops::composed::composes;

/// An update rule with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// SGD with momentum.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
    /// Adam with Nesterov momentum.
    NAdam(NAdam),
    /// Rectified Adam.
    RAdam(RAdam),
    /// Adam with the infinity norm.
    Adamax(Adamax),
    /// Adagrad.
    Adagrad(Adagrad),
    /// Adadelta.
    Adadelta(Adadelta),
    /// RMSprop as in PyTorch.
    RmsProp(RmsProp),
    /// RMSprop as in TensorFlow.
    RmsPropTf(RmsPropTf),
    /// Sign momentum.
    Lion(Lion),
    /// Adam with a trust ratio for each tensor.
    Lamb(Lamb),
    /// Orthogonalised momentum.
    Muon(Muon),
}

/// A tensor that a rule keeps for each parameter, in the parameter's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Buffer {
    /// PyTorch's or timm's name.
    pub name: &'static str,
    /// The value of all elements before the first step.
    pub initial: f64,
}

impl Buffer {
    pub(super) const fn zeros(name: &'static str) -> Self {
        Self { name, initial: 0.0 }
    }
}

/// What a rule knows about a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Now {
    pub lr: f64,
    /// The number of this step, counted from 1.
    pub step: u64,
    pub weight_decay: f64,
    /// Whether the weight decay is already applied to the weight.
    pub decoupled: bool,
}

/// A rule that updates each element alone.
pub(super) trait ElementRule {
    /// The rule with the constants of one step.
    type Step: ElementStep;

    /// At most three buffers.
    fn buffers(&self) -> Vec<Buffer>;

    fn at(&self, now: Now) -> Self::Step;
}

/// One step of an [`ElementRule`].
pub(super) trait ElementStep: Sync {
    /// Returns the new weight and updates the buffers, in the order of [`ElementRule::buffers`].
    fn update<N: Number>(&self, w: N, g: N, buffers: &mut [N]) -> N;
}

/// A rule that needs norms or products of whole tensors.
pub(super) trait TensorRule {
    fn buffers(&self) -> Vec<Buffer>;

    /// Returns the new weight and updates the buffers.
    fn update(&self, now: Now, w: Whole, g: Whole, buffers: &mut [Whole]) -> Result<Whole>;
}

impl Rule {
    /// The buffers of a parameter.
    pub fn buffers(&self) -> Vec<Buffer> {
        match self {
            Self::Sgd(rule) => rule.buffers(),
            Self::Adam(rule) => rule.buffers(),
            Self::NAdam(rule) => rule.buffers(),
            Self::RAdam(rule) => rule.buffers(),
            Self::Adamax(rule) => rule.buffers(),
            Self::Adagrad(rule) => rule.buffers(),
            Self::Adadelta(rule) => rule.buffers(),
            Self::RmsProp(rule) => rule.buffers(),
            Self::RmsPropTf(rule) => rule.buffers(),
            Self::Lion(rule) => rule.buffers(),
            Self::Lamb(rule) => rule.buffers(),
            Self::Muon(rule) => rule.buffers(),
        }
    }

    /// The rule for a parameter of this shape, and the factor of its learning rate.
    pub(super) fn for_parameter(&self, var: &Var) -> (Self, f64) {
        match self {
            Self::Muon(muon) if !Muon::suits(var) => {
                let rule = match muon.fallback {
                    Fallback::Adam(adam) => Self::Adam(adam),
                    Fallback::Sgd(sgd) => Self::Sgd(sgd),
                };
                (rule, muon.fallback_lr_scale)
            }
            rule => (*rule, 1.0),
        }
    }

    /// The joint norm that the rule itself clips gradients to.
    pub(super) fn max_grad_norm(&self) -> Option<f64> {
        match self {
            Self::Lamb(lamb) => lamb.max_grad_norm,
            _ => None,
        }
    }

    /// Whether weight decay that is not decoupled is part of the update, not of the gradient.
    pub(super) fn decays_update(&self) -> bool {
        matches!(self, Self::Lamb(_))
    }

    /// Updates a parameter and its buffers.
    pub(super) fn apply(
        &self,
        update: &Update,
        var: &Var,
        gradient: &Tensor,
        buffers: &mut [Tensor],
    ) -> Result<()> {
        match self {
            Self::Sgd(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::Adam(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::NAdam(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::RAdam(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::Adamax(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::Adagrad(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::Adadelta(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::RmsProp(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::RmsPropTf(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::Lion(rule) => by_elements(rule, update, var, gradient, buffers),
            Self::Lamb(rule) => by_tensors(rule, update, var, gradient, buffers),
            Self::Muon(rule) => by_tensors(rule, update, var, gradient, buffers),
        }
    }
}

fn by_elements(
    rule: &impl ElementRule,
    update: &Update,
    var: &Var,
    gradient: &Tensor,
    buffers: &mut [Tensor],
) -> Result<()> {
    let step = rule.at(update.now);
    if composes(var) {
        composed::apply(update, var, gradient, buffers, |w, g, buffers| {
            Ok(step.update(w, g, buffers))
        })
    } else {
        elements::apply(update, &step, var, gradient, buffers)
    }
}

fn by_tensors(
    rule: &impl TensorRule,
    update: &Update,
    var: &Var,
    gradient: &Tensor,
    buffers: &mut [Tensor],
) -> Result<()> {
    composed::apply(update, var, gradient, buffers, |w, g, buffers| {
        rule.update(update.now, w, g, buffers)
    })
}
