//! The optimizer of a recipe: its defaults and its constants.

use candle_core::Var;

use super::error::RecipeError;
use super::fields::Recipe;
use super::kinds::{AdjustLr, MuonFallback, NsCoefficients, OptimizerKind};
use super::ranges::check;
use crate::nn::ParamStore;
use crate::pattern::matches;
use crate::train::optimizer::{
    Adadelta, Adagrad, Adam, Adamax, Fallback, Lamb, Lion, Lookahead, LrAdjustment, Muon, NAdam,
    OptimizerConfig, ParameterGroup, RAdam, RmsProp, RmsPropTf, Rule, Sgd, WeightDecay,
};

/// A field, whether an optimizer reads it, and the optimizers in words.
type Field = (&'static str, fn(OptimizerKind) -> bool, &'static str);

const MUON: &str = "the optimizer muon or nmuon";

/// Newton-Schulz iterations by default.
const NS_STEPS: usize = 5;

/// The fields that not all optimizers read.
const FIELDS: &[Field] = &[
    (
        "momentum",
        OptimizerKind::reads_momentum,
        "an optimizer with momentum: sgd, momentum, rmsprop, rmsproptf or muon",
    ),
    (
        "opt_betas",
        |kind| kind.betas().is_some(),
        "an optimizer with betas: adam and its variants, lamb, lion or muon",
    ),
    (
        "opt_eps",
        |kind| kind.eps().is_some(),
        "another optimizer than sgd, momentum and lion",
    ),
    (
        "opt_alpha",
        |kind| kind.alpha().is_some(),
        "the optimizer rmsprop, rmsproptf or adadelta",
    ),
    ("muon_fallback", OptimizerKind::is_muon, MUON),
    ("fallback_lr_scale", OptimizerKind::is_muon, MUON),
    ("fallback_momentum", OptimizerKind::is_muon, MUON),
    ("fallback_list", OptimizerKind::is_muon, MUON),
    ("normalize_weights", OptimizerKind::is_muon, MUON),
    ("ns_coefficients", OptimizerKind::is_muon, MUON),
    ("ns_steps", OptimizerKind::is_muon, MUON),
    ("adjust_lr_fn", OptimizerKind::is_muon, MUON),
];

impl OptimizerKind {
    fn betas(self) -> Option<[f64; 2]> {
        match self {
            Self::Adam
            | Self::AdamW
            | Self::NAdam
            | Self::NAdamW
            | Self::RAdam
            | Self::RAdamW
            | Self::Adamax
            | Self::Lamb
            | Self::LambC
            | Self::LambW
            | Self::LambCW => Some([0.9, 0.999]),
            Self::Lion => Some([0.9, 0.99]),
            Self::Muon | Self::NMuon => Some([0.9, 0.95]),
            _ => None,
        }
    }

    fn eps(self) -> Option<f64> {
        match self {
            Self::Sgd | Self::SgdW | Self::Momentum | Self::Lion => None,
            Self::Muon | Self::NMuon => Some(1e-7),
            Self::Adadelta | Self::Lamb | Self::LambC | Self::LambW | Self::LambCW => Some(1e-6),
            Self::RmsPropTf | Self::RmsPropTfW => Some(1e-10),
            _ => Some(1e-8),
        }
    }

    fn alpha(self) -> Option<f64> {
        match self {
            Self::RmsProp => Some(0.99),
            Self::RmsPropTf | Self::RmsPropTfW | Self::Adadelta => Some(0.9),
            _ => None,
        }
    }

    /// Checks that the optimizer reads `field`, if it is a field of some optimizers only.
    ///
    /// # Errors
    /// [`RecipeError::Needs`] with the optimizers that read it.
    pub fn check_reads(self, field: &str) -> Result<(), RecipeError> {
        let found = FIELDS.iter().find(|(name, ..)| *name == field);
        match found {
            Some((field, reads, needs)) if !reads(self) => Err(RecipeError::Needs { field, needs }),
            _ => Ok(()),
        }
    }

    /// Whether Muon updates the matrices.
    fn is_muon(self) -> bool {
        matches!(self, Self::Muon | Self::NMuon)
    }

    fn reads_momentum(self) -> bool {
        matches!(
            self,
            Self::Sgd
                | Self::SgdW
                | Self::Momentum
                | Self::RmsProp
                | Self::RmsPropTf
                | Self::RmsPropTfW
                | Self::Muon
                | Self::NMuon
        )
    }

    /// Whether a schedule can move the momentum or the first beta. The momentum of NAdam has a
    /// schedule of its own.
    pub(super) fn has_momentum(self) -> bool {
        !matches!(self, Self::Adagrad | Self::Adadelta | Self::NAdam)
    }

    fn weight_decay(self) -> WeightDecay {
        match self {
            Self::SgdW
            | Self::AdamW
            | Self::NAdamW
            | Self::RAdamW
            | Self::RmsPropTfW
            | Self::LambW
            | Self::LambCW
            | Self::Lion
            | Self::Muon
            | Self::NMuon => WeightDecay::Decoupled,
            _ => WeightDecay::L2,
        }
    }
}

impl Recipe {
    /// The same recipe, with the default of each constant that its optimizer uses.
    pub fn with_optimizer_defaults(mut self) -> Self {
        let kind = self.opt.kind;
        self.opt_betas = self.opt_betas.or(kind.betas());
        self.opt_eps = self.opt_eps.or(kind.eps());
        self.opt_alpha = self.opt_alpha.or(kind.alpha());
        if kind.is_muon() {
            self.muon_fallback.get_or_insert(MuonFallback::AdamW);
            self.fallback_lr_scale.get_or_insert(1.0);
            self.ns_coefficients.get_or_insert(NsCoefficients::Quintic);
            self.ns_steps.get_or_insert(NS_STEPS);
            self.adjust_lr_fn.get_or_insert(AdjustLr::MatchRmsAdamW);
        }
        self
    }

    /// Checks that each pattern of `fallback_list` names a parameter of `store`.
    ///
    /// # Errors
    /// [`RecipeError::OutOfRange`] with the pattern that names none.
    pub fn check_parameters(&self, store: &ParamStore) -> Result<(), RecipeError> {
        let params = store.params();
        for pattern in &self.fallback_list {
            let fits = params.iter().any(|(name, _)| matches(pattern, name));
            let expected = "the name of a parameter of the network, or a pattern such as *.weight";
            check(fits, "fallback_list", pattern, expected)?;
        }
        Ok(())
    }

    /// The groups of these parameters, without layer-wise rates.
    pub fn groups(&self, parameters: Vec<(String, Var)>) -> Vec<ParameterGroup> {
        let groups = ParameterGroup::split(parameters, self.weight_decay);
        ParameterGroup::with_fallback_list(groups, &self.fallback_list)
    }

    /// The optimizer, without its parameters.
    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig {
            rule: self.rule(),
            weight_decay: self.opt.kind.weight_decay(),
            l1_penalty: self.l1_penalty,
            l2_penalty: self.l2_penalty,
            lookahead: self.opt.lookahead.then(Lookahead::default),
        }
    }

    fn rule(&self) -> Rule {
        let kind = self.opt.kind;
        // A cycle starts at its highest momentum.
        let momentum = if self.cycle_momentum {
            self.momenta()[1]
        } else {
            self.momentum
        };
        // Optimizers without a default do not use the value.
        let betas = self.opt_betas.or(kind.betas()).unwrap_or_default();
        let eps = self.opt_eps.or(kind.eps()).unwrap_or_default();
        let alpha = self.opt_alpha.or(kind.alpha()).unwrap_or_default();
        let sgd = |nesterov| Sgd { momentum, nesterov };
        let adam = |nesterov| Adam {
            betas,
            eps,
            nesterov,
        };
        let lamb = |trust_clip| Lamb {
            betas,
            eps,
            max_grad_norm: Some(1.0),
            trust_clip,
        };
        match kind {
            OptimizerKind::Sgd | OptimizerKind::SgdW => Rule::Sgd(sgd(true)),
            OptimizerKind::Momentum => Rule::Sgd(sgd(false)),
            OptimizerKind::Adam | OptimizerKind::AdamW => Rule::Adam(adam(false)),
            OptimizerKind::NAdam => Rule::NAdam(NAdam { betas, eps }),
            OptimizerKind::NAdamW => Rule::Adam(adam(true)),
            OptimizerKind::RAdam | OptimizerKind::RAdamW => Rule::RAdam(RAdam { betas, eps }),
            OptimizerKind::Adamax => Rule::Adamax(Adamax { betas, eps }),
            OptimizerKind::Adagrad => Rule::Adagrad(Adagrad { eps }),
            OptimizerKind::Adadelta => Rule::Adadelta(Adadelta { rho: alpha, eps }),
            OptimizerKind::RmsProp => Rule::RmsProp(RmsProp {
                alpha,
                momentum,
                eps,
                centered: false,
            }),
            OptimizerKind::RmsPropTf | OptimizerKind::RmsPropTfW => Rule::RmsPropTf(RmsPropTf {
                alpha,
                momentum,
                eps,
            }),
            OptimizerKind::Lamb | OptimizerKind::LambW => Rule::Lamb(lamb(false)),
            OptimizerKind::LambC | OptimizerKind::LambCW => Rule::Lamb(lamb(true)),
            OptimizerKind::Lion => Rule::Lion(Lion { betas }),
            OptimizerKind::Muon | OptimizerKind::NMuon => {
                let nesterov = kind == OptimizerKind::NMuon;
                let fallback = match self.muon_fallback.unwrap_or(MuonFallback::AdamW) {
                    MuonFallback::AdamW => Fallback::Adam(adam(nesterov)),
                    MuonFallback::Sgd => Fallback::Sgd(Sgd {
                        momentum: self.fallback_momentum.unwrap_or(momentum),
                        nesterov,
                    }),
                };
                Rule::Muon(self.muon(momentum, eps, nesterov, fallback))
            }
        }
    }

    fn muon(&self, momentum: f64, eps: f64, nesterov: bool, fallback: Fallback) -> Muon {
        let coefficients = match self.ns_coefficients.unwrap_or(NsCoefficients::Quintic) {
            NsCoefficients::Quintic => &Muon::QUINTIC,
            NsCoefficients::Original => &Muon::ORIGINAL,
        };
        let adjust_lr = match self.adjust_lr_fn.unwrap_or(AdjustLr::MatchRmsAdamW) {
            AdjustLr::MatchRmsAdamW => LrAdjustment::MatchRmsAdamW,
            AdjustLr::Original => LrAdjustment::Original,
            AdjustLr::RmsToRms => LrAdjustment::RmsToRms,
        };
        Muon {
            momentum,
            nesterov,
            eps,
            coefficients,
            ns_steps: self.ns_steps.unwrap_or(NS_STEPS),
            adjust_lr,
            normalize_weights: self.normalize_weights,
            fallback,
            fallback_lr_scale: self.fallback_lr_scale.unwrap_or(1.0),
        }
    }
}
