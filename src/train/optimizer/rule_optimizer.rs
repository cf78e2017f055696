//! Groups of parameters with their buffers: the part that all rules share.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var, bail};

use super::clip::{Clip, Clipped};
use super::config::{OptimizerConfig, WeightDecay};
use super::lookahead::{Lookahead, SLOW};
use super::rates::Rates;
use super::rule::Rule;
use super::traits::{Buffer, Now};
use super::update::Update;
use super::{Optimizer, ParameterGroup};
use crate::autograd::Gradients;

/// An [`Optimizer`] that applies a [`Rule`] to each parameter.
#[derive(Debug)]
pub struct RuleOptimizer {
    config: OptimizerConfig,
    groups: Vec<Group>,
    steps: u64,
}

#[derive(Debug)]
struct Group {
    parameters: Vec<Parameter>,
    settings: Settings,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    weight_decay: f64,
    l1: f64,
    l2: f64,
    lr_scale: f64,
    start: u64,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    var: Var,
    rule: Rule,
    lr_scale: f64,
    /// Adaptive clipping leaves the head out.
    head: bool,
    /// The buffers of `rule`, then [`SLOW`] with Lookahead.
    kinds: Vec<Buffer>,
    /// One tensor for each of `kinds`, in the shape of `var`.
    buffers: Vec<Tensor>,
    /// Whether Lookahead has moved the slow weights.
    slow_moved: bool,
}

impl Parameter {
    fn new(
        config: &OptimizerConfig,
        use_fallback: bool,
        (name, var): (String, Var),
    ) -> Result<Self> {
        let (rule, lr_scale) = config.rule.for_parameter(&var, use_fallback);
        let mut kinds = rule.buffers();
        kinds.extend(config.lookahead.map(|_| SLOW));
        let buffers = kinds.iter().map(|kind| {
            // Memory of its own: updates write in place.
            let zeros = Tensor::zeros(var.shape(), var.dtype(), var.device())?;
            if kind.initial == 0.0 {
                Ok(zeros)
            } else {
                zeros + kind.initial
            }
        });
        let buffers = buffers.collect::<Result<_>>()?;
        Ok(Self {
            name,
            var,
            rule,
            lr_scale,
            head: false,
            kinds,
            buffers,
            slow_moved: false,
        })
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        let kinds = self.kinds.iter();
        kinds.map(|kind| format!("{}.{}", self.name, kind.name))
    }

    fn apply(&mut self, rule: Rule, update: &Update, gradient: &Tensor) -> Result<()> {
        let of_rule = self
            .kinds
            .iter()
            .filter(|kind| kind.name != SLOW.name)
            .count();
        let buffers = &mut self.buffers[..of_rule];
        rule.apply(update, &self.var, gradient, buffers)
    }

    /// Moves the slow weights of Lookahead.
    fn follow(&mut self, lookahead: Lookahead) -> Result<()> {
        if let Some(slow) = self.buffers.last_mut() {
            lookahead.follow(&self.var, slow, self.slow_moved)?;
            self.slow_moved = true;
        }
        Ok(())
    }

    fn restore(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let keys = self.keys().collect::<Vec<_>>();
        for (key, buffer) in keys.iter().zip(&mut self.buffers) {
            let Some(saved) = state.get(key) else {
                bail!("the optimizer state has no '{key}'")
            };
            if saved.shape() != buffer.shape() || saved.dtype() != buffer.dtype() {
                bail!(
                    "the optimizer state '{key}' is {:?} {:?}, expected {:?} {:?}",
                    saved.dtype(),
                    saved.shape(),
                    buffer.dtype(),
                    buffer.shape()
                )
            }
            // A copy, because updates write in place.
            *buffer = saved.to_device(buffer.device())?.force_contiguous()?;
        }
        for (kind, buffer) in self.kinds.iter().zip(&self.buffers) {
            if kind.name == SLOW.name && buffer.elem_count() > 0 {
                let first = buffer.flatten_all()?.get(0)?.to_dtype(DType::F32)?;
                self.slow_moved = !first.to_scalar::<f32>()?.is_nan();
            }
        }
        Ok(())
    }

    fn gradient(&self, gradients: &Gradients) -> Result<Option<Tensor>> {
        let Some(gradient) = gradients.get(self.var.as_tensor()) else {
            return Ok(None);
        };
        if gradient.shape() != self.var.shape() {
            bail!(
                "the gradient of {} is {:?}, the parameter {:?}",
                self.name,
                gradient.shape(),
                self.var.shape()
            )
        }
        Ok(Some(gradient.clone()))
    }
}

impl Settings {
    fn new(config: &OptimizerConfig, group: &ParameterGroup) -> Self {
        let (l1, l2) = if group.regularised {
            (config.l1_penalty, config.l2_penalty)
        } else {
            (0.0, 0.0)
        };
        Self {
            weight_decay: group.weight_decay,
            l1,
            l2,
            lr_scale: group.lr_scale,
            start: group.start,
        }
    }

    /// The update of `parameter` in step `step` of its group.
    fn update(
        &self,
        step: u64,
        lr: f64,
        decay: WeightDecay,
        parameter: &Parameter,
        clipped: &Clipped,
    ) -> Update {
        let lr = lr * self.lr_scale * parameter.lr_scale;
        let decoupled = decay == WeightDecay::Decoupled;
        let (added, keep) = if decoupled {
            (0.0, 1.0 - lr * self.weight_decay)
        } else if parameter.rule.decays_update() {
            (0.0, 1.0)
        } else {
            (self.weight_decay, 1.0)
        };
        Update {
            now: Now {
                lr,
                step,
                weight_decay: self.weight_decay,
                decoupled,
            },
            scale: clipped.scale,
            limit: clipped.limit,
            l1: self.l1,
            l2: self.l2 + added,
            keep,
        }
    }
}

impl RuleOptimizer {
    /// An optimizer with buffers as before the first step.
    ///
    /// # Errors
    /// A buffer cannot be allocated.
    pub fn new(config: impl Into<OptimizerConfig>, groups: Vec<ParameterGroup>) -> Result<Self> {
        let config = config.into();
        let group = |group: ParameterGroup| {
            let settings = Settings::new(&config, &group);
            let parameters = group.parameters.into_iter();
            let parameters = parameters.map(|p| Parameter::new(&config, group.use_fallback, p));
            Ok(Group {
                parameters: parameters.collect::<Result<_>>()?,
                settings,
            })
        };
        let groups = groups.into_iter().map(group).collect::<Result<_>>()?;
        Ok(Self {
            config,
            groups,
            steps: 0,
        })
    }

    /// The same optimizer, whose adaptive clipping leaves out the parameters of the layer `head`,
    /// such as `fc`.
    pub fn with_head(mut self, head: &str) -> Self {
        let groups = self.groups.iter_mut();
        for parameter in groups.flat_map(|group| &mut group.parameters) {
            let rest = parameter.name.strip_prefix(head);
            parameter.head = rest.is_some_and(|rest| rest.starts_with('.'));
        }
        self
    }

    fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.groups.iter().flat_map(|group| &group.parameters)
    }

    fn clip(&self, gradients: &Gradients, clip: Option<Clip>) -> Result<Clipped> {
        let found = self.parameters().map(|p| p.gradient(gradients));
        let found = found.collect::<Result<Vec<_>>>()?;
        let weights = self.parameters().map(|p| (p.var.as_tensor(), p.head));
        let clipped = Clipped::new(clip, weights, found)?;
        match self.config.rule.max_grad_norm() {
            Some(max) => clipped.scaled_to_norm(max),
            None => Ok(clipped),
        }
    }
}

impl Optimizer for RuleOptimizer {
    fn step(
        &mut self,
        gradients: &Gradients,
        rates: Rates,
        clip: Option<Clip>,
    ) -> Result<Option<f64>> {
        let clipped = self.clip(gradients, clip)?;
        let mut gradients = clipped.gradients.iter();
        self.steps += 1;
        let OptimizerConfig {
            weight_decay,
            lookahead,
            ..
        } = self.config;
        for Group {
            parameters,
            settings,
        } in &mut self.groups
        {
            let step = self.steps.saturating_sub(settings.start);
            for (parameter, gradient) in parameters.iter_mut().zip(&mut gradients) {
                if step == 0 {
                    continue;
                }
                if let Some(gradient) = gradient {
                    let update = settings.update(step, rates.lr, weight_decay, parameter, &clipped);
                    let rule = rates
                        .momentum
                        .map_or(parameter.rule, |m| parameter.rule.with_momentum(m));
                    parameter.apply(rule, &update, gradient)?;
                }
                if let Some(lookahead) = lookahead
                    && step.is_multiple_of(lookahead.k)
                {
                    parameter.follow(lookahead)?;
                }
            }
        }
        Ok(clipped.norm)
    }

    fn end_epoch(&mut self) -> Result<()> {
        let Some(lookahead) = self.config.lookahead else {
            return Ok(());
        };
        let steps = self.steps;
        let started = self
            .groups
            .iter_mut()
            .filter(|group| group.settings.start < steps);
        for parameter in started.flat_map(|group| &mut group.parameters) {
            parameter.follow(lookahead)?;
        }
        Ok(())
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let named = |p: &Parameter| p.keys().zip(p.buffers.clone()).collect::<Vec<_>>();
        self.parameters().flat_map(named).collect()
    }

    fn restore(&mut self, state: &HashMap<String, Tensor>, steps: u64) -> Result<()> {
        for parameter in self.groups.iter_mut().flat_map(|g| &mut g.parameters) {
            parameter.restore(state)?;
        }
        self.steps = steps;
        Ok(())
    }
}
