//! Optimizers with PyTorch's arithmetic. An update is one pass over a tensor, in place on its
//! [`Var`], and is not part of any graph.

mod clip;
mod composed;
mod elements;
mod rules;
mod scalar;

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var, bail};

use crate::autograd::Gradients;
use crate::ops::composed::composes;
pub use clip::Clip;
pub use rules::Rule;

/// Updates parameters from their gradients.
pub trait Optimizer {
    /// Updates every parameter that has a gradient, at learning rate `lr`. With [`Clip::Norm`]
    /// returns the global norm of the gradients before clipping.
    ///
    /// # Errors
    /// A gradient with another shape or dtype than its parameter, or an unsupported dtype.
    fn step(&mut self, gradients: &Gradients, lr: f64, clip: Option<Clip>) -> Result<Option<f64>>;

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
    /// Multiplies the learning rate.
    pub lr_scale: f64,
    /// The number of steps before the first update of this group. The group counts its own steps
    /// from there.
    pub start: u64,
}

impl ParameterGroup {
    /// Splits parameters as timm does: biases and tensors of at most one dimension (scales and shifts
    /// of norms, slopes of activations) have no weight decay.
    pub fn split(parameters: Vec<(String, Var)>, weight_decay: f64) -> Vec<Self> {
        let (plain, decayed) = parameters
            .into_iter()
            .partition(|(name, var)| var.rank() <= 1 || name.ends_with(".bias"));
        [(decayed, weight_decay), (plain, 0.0)]
            .into_iter()
            .map(|(parameters, weight_decay)| Self {
                parameters,
                weight_decay,
                lr_scale: 1.0,
                start: 0,
            })
            .collect()
    }
}

/// An [`Optimizer`] with an elementwise [`Rule`]: SGD, Adam, AdamW, RMSprop.
#[derive(Debug)]
pub struct ElementwiseOptimizer {
    rule: Rule,
    groups: Vec<Group>,
    steps: u64,
}

#[derive(Debug)]
struct Group {
    parameters: Vec<Parameter>,
    weight_decay: f64,
    lr_scale: f64,
    start: u64,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    var: Var,
    /// One tensor for each of [`Rule::buffers`], in the shape of `var`.
    buffers: Vec<Tensor>,
}

impl ElementwiseOptimizer {
    /// An optimizer with zeroed buffers.
    ///
    /// # Errors
    /// A buffer cannot be allocated.
    pub fn new(rule: Rule, groups: Vec<ParameterGroup>) -> Result<Self> {
        let parameter = |(name, var): (String, Var)| {
            let buffers = rule.buffers().iter().map(|_| buffer(&var));
            let buffers = buffers.collect::<Result<_>>()?;
            Ok(Parameter { name, var, buffers })
        };
        let group = |group: ParameterGroup| {
            let parameters = group.parameters.into_iter().map(parameter);
            Ok(Group {
                parameters: parameters.collect::<Result<_>>()?,
                weight_decay: group.weight_decay,
                lr_scale: group.lr_scale,
                start: group.start,
            })
        };
        let groups = groups.into_iter().map(group).collect::<Result<_>>()?;
        Ok(Self {
            rule,
            groups,
            steps: 0,
        })
    }

    fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.groups.iter().flat_map(|group| &group.parameters)
    }
}

/// Zeros with memory of their own: updates write in place.
fn buffer(var: &Var) -> Result<Tensor> {
    Tensor::zeros(var.shape(), var.dtype(), var.device())
}

impl Optimizer for ElementwiseOptimizer {
    fn step(&mut self, gradients: &Gradients, lr: f64, clip: Option<Clip>) -> Result<Option<f64>> {
        let gradient = |p: &Parameter| gradients.get(p.var.as_tensor());
        let norm = match clip {
            Some(Clip::Norm(_)) => Some(clip::global_norm(self.parameters().filter_map(gradient))?),
            _ => None,
        };
        let (scale, limit) = match clip {
            // PyTorch's clip_grad_norm_ adds 1e-6 as well.
            Some(Clip::Norm(max)) => (norm.map_or(1.0, |n| (max / (n + 1e-6)).min(1.0)), None),
            Some(Clip::Value(limit)) => (1.0, Some(limit)),
            None => (1.0, None),
        };
        self.steps += 1;
        for group in &mut self.groups {
            if self.steps <= group.start {
                continue;
            }
            let update = rules::Update {
                rule: &self.rule,
                lr: lr * group.lr_scale,
                weight_decay: group.weight_decay,
                step: self.steps - group.start,
                scale,
                limit,
            };
            for parameter in &mut group.parameters {
                let Some(gradient) = gradient(parameter) else {
                    continue;
                };
                if gradient.shape() != parameter.var.shape() {
                    bail!(
                        "the gradient of {} is {:?}, the parameter {:?}",
                        parameter.name,
                        gradient.shape(),
                        parameter.var.shape()
                    )
                }
                if composes(&parameter.var) {
                    composed::apply(&update, &parameter.var, gradient, &mut parameter.buffers)?;
                } else {
                    elements::apply(&update, &parameter.var, gradient, &parameter.buffers)?;
                }
            }
        }
        Ok(norm)
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let named = |p: &Parameter| {
            let names = self.rule.buffers().iter();
            let tensors = names.zip(&p.buffers);
            tensors
                .map(|(buffer, tensor)| (format!("{}.{buffer}", p.name), tensor.clone()))
                .collect::<Vec<_>>()
        };
        self.parameters().flat_map(named).collect()
    }

    fn restore(&mut self, state: &HashMap<String, Tensor>, steps: u64) -> Result<()> {
        for parameter in self.groups.iter_mut().flat_map(|g| &mut g.parameters) {
            for (name, buffer) in self.rule.buffers().iter().zip(&mut parameter.buffers) {
                let key = format!("{}.{name}", parameter.name);
                let Some(saved) = state.get(&key) else {
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
        }
        self.steps = steps;
        Ok(())
    }
}
