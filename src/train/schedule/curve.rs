//! Any schedule.

use super::constant::Constant;
use super::cosine::Cosine;
use super::exponential::Exponential;
use super::multi_step::MultiStep;
use super::one_cycle::OneCycle;
use super::plateau::Plateau;
use super::poly::Poly;
use super::step::Step;
use super::tanh::Tanh;

/// The learning rate as a function of time, without the warm-up.
#[derive(Debug, Clone, PartialEq)]
pub enum Curve {
    /// The same rate in every step.
    Constant(Constant),
    /// A cosine with restarts.
    Cosine(Cosine),
    /// A hyperbolic tangent with restarts.
    Tanh(Tanh),
    /// A polynomial with restarts.
    Poly(Poly),
    /// One cycle up and down.
    OneCycle(OneCycle),
    /// Decays at equal intervals.
    Step(Step),
    /// Decays at given times.
    MultiStep(MultiStep),
    /// An exponential decay.
    Exponential(Exponential),
    /// Decays when the evaluation stops improving.
    Plateau(Plateau),
}

impl Curve {
    pub(super) fn lr(&self, t: f64) -> f64 {
        match self {
            Self::Constant(curve) => curve.lr,
            Self::Cosine(curve) => curve.lr(t),
            Self::Tanh(curve) => curve.lr(t),
            Self::Poly(curve) => curve.lr(t),
            Self::OneCycle(curve) => curve.lr(t),
            Self::Step(curve) => curve.lr(t),
            Self::MultiStep(curve) => curve.lr(t),
            Self::Exponential(curve) => curve.lr(t),
            Self::Plateau(curve) => curve.lr(t),
        }
    }

    /// The highest rate: the parameter `lr` of the curve.
    fn highest(&self) -> f64 {
        match self {
            Self::Constant(curve) => curve.lr,
            Self::Cosine(curve) => curve.lr,
            Self::Tanh(curve) => curve.lr,
            Self::Poly(curve) => curve.lr,
            Self::OneCycle(curve) => curve.max_lr,
            Self::Step(curve) => curve.lr,
            Self::MultiStep(curve) => curve.lr,
            Self::Exponential(curve) => curve.lr,
            Self::Plateau(curve) => curve.first(),
        }
    }

    /// The rate that a warm-up rises to, as in timm: the highest one, or for a tangent that the
    /// warm-up replaces the start of, its rate after the warm-up.
    pub(super) fn target(&self, warmup: f64, prefix: bool) -> f64 {
        match self {
            Self::Tanh(curve) if !prefix => curve.lr(warmup),
            curve => curve.highest(),
        }
    }

    pub(super) fn momentum(&self, t: f64) -> Option<f64> {
        match self {
            Self::OneCycle(curve) => curve.momentum(t),
            _ => None,
        }
    }
}
