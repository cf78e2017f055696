//! Any update rule, and how it is applied to a parameter.

use candle_core::{Result, Tensor, Var};

use super::rules::{
    Adadelta, Adagrad, Adam, Adamax, Fallback, Lamb, Lion, Muon, NAdam, RAdam, RmsProp, RmsPropTf,
    Sgd,
};
use super::traits::{Buffer, ElementRule, ElementStep, TensorRule};
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
    pub(super) fn for_parameter(&self, var: &Var, use_fallback: bool) -> (Self, f64) {
        match self {
            Self::Muon(muon) if use_fallback || !Muon::suits(var) => {
                let rule = match muon.fallback {
                    Fallback::Adam(adam) => Self::Adam(adam),
                    Fallback::Sgd(sgd) => Self::Sgd(sgd),
                };
                (rule, muon.fallback_lr_scale)
            }
            rule => (*rule, 1.0),
        }
    }

    /// The same rule with another momentum, or another first beta if it has no momentum. Adagrad and
    /// Adadelta have neither. NAdam has its own schedule of the momentum, and `momentum` is its
    /// limit.
    pub fn with_momentum(self, momentum: f64) -> Self {
        match self {
            Self::Sgd(rule) => Self::Sgd(Sgd { momentum, ..rule }),
            Self::RmsProp(rule) => Self::RmsProp(RmsProp { momentum, ..rule }),
            Self::RmsPropTf(rule) => Self::RmsPropTf(RmsPropTf { momentum, ..rule }),
            Self::Muon(rule) => Self::Muon(Muon { momentum, ..rule }),
            Self::Adam(rule) => Self::Adam(Adam {
                betas: [momentum, rule.betas[1]],
                ..rule
            }),
            Self::NAdam(rule) => Self::NAdam(NAdam {
                betas: [momentum, rule.betas[1]],
                ..rule
            }),
            Self::RAdam(rule) => Self::RAdam(RAdam {
                betas: [momentum, rule.betas[1]],
                ..rule
            }),
            Self::Adamax(rule) => Self::Adamax(Adamax {
                betas: [momentum, rule.betas[1]],
                ..rule
            }),
            Self::Lion(rule) => Self::Lion(Lion {
                betas: [momentum, rule.betas[1]],
            }),
            Self::Lamb(rule) => Self::Lamb(Lamb {
                betas: [momentum, rule.betas[1]],
                ..rule
            }),
            Self::Adagrad(_) | Self::Adadelta(_) => self,
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
