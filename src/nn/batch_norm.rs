//! Batch norm, alone or with the residual sum and the activation that follow it.

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::{Init, ModuleT, VarBuilder};

use super::Act;
use super::summary::record;
use crate::activation::Activation;
use crate::ops::norm_act::{Statistics, batch_norm_act};
use crate::ops::stack;

/// Normalises each channel over the batch and the image (Ioffe, Szegedy, 2015), with PyTorch's
/// keys, defaults and running statistics.
///
/// # Shapes
/// - input and output: [N, C, H, W] or [N, C]
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
    num_batches_tracked: Var,
    eps: f64,
    /// None averages all batches equally.
    momentum: Option<f64>,
    path: String,
}

impl BatchNorm2d {
    /// Takes `weight`, `bias`, `running_mean`, `running_var` `[C]` and `num_batches_tracked` from
    /// `vb`; eps is 1e-5 and the momentum of the running statistics 0.1.
    ///
    /// # Errors
    /// If `vb` has tensors of other shapes.
    pub fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        Self::starting_at(1.0, channels, vb)
    }

    fn starting_at(weight: f64, channels: usize, vb: VarBuilder) -> Result<Self> {
        let get = |name, value| vb.get_with_hints(channels, name, Init::Const(value));
        let count = "num_batches_tracked";
        let count = vb.get_with_hints_dtype((), count, Init::Const(0.0), DType::I64)?;
        Ok(Self {
            weight: get("weight", weight)?,
            bias: get("bias", 0.0)?,
            running_mean: Var::from_tensor(&get("running_mean", 0.0)?)?,
            running_var: Var::from_tensor(&get("running_var", 1.0)?)?,
            num_batches_tracked: Var::from_tensor(&count)?,
            eps: 1e-5,
            momentum: Some(0.1),
            path: vb.prefix(),
        })
    }

    /// As [`BatchNorm2d::new`], but `weight` starts at zero, and with it all that goes through: a
    /// residual branch that ends so begins as its shortcut alone (Goyal et al., "Accurate, Large
    /// Minibatch SGD", 2017, section 5.1).
    ///
    /// # Errors
    /// As [`BatchNorm2d::new`].
    pub fn zero(channels: usize, vb: VarBuilder) -> Result<Self> {
        Self::starting_at(0.0, channels, vb)
    }

    /// With another number added to the variance.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// With another weight of the newest batch in the running statistics.
    pub fn with_momentum(self, momentum: f64) -> Self {
        Self {
            momentum: Some(momentum),
            ..self
        }
    }

    /// With running statistics that are the mean over all batches since `num_batches_tracked`
    /// was zero, as PyTorch's with a momentum of None: for measuring them anew.
    pub fn with_cumulative_statistics(self) -> Self {
        Self {
            momentum: None,
            ..self
        }
    }

    /// act(norm(x) + residual), as one op where the activation has a fused kernel.
    ///
    /// # Errors
    /// If the channels differ, or in training if a channel has one value only.
    pub fn forward_act(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        act: &Act,
        train: bool,
    ) -> Result<Tensor> {
        match act.stateless() {
            Some(activation) => {
                let y = self.normalise(x, residual, activation, train)?;
                act.note(&y);
                Ok(y)
            }
            None => {
                let y = self.normalise(x, residual, &Activation::Identity, train)?;
                act.forward_t(&y, train)
            }
        }
    }

    fn normalise(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        activation: &Activation,
        train: bool,
    ) -> Result<Tensor> {
        let gamma_beta = stack(&[&self.weight, &self.bias])?;
        let (mean, variance) = (
            self.running_mean.as_detached_tensor(),
            self.running_var.as_detached_tensor(),
        );
        let statistics = if train {
            Statistics::Batch
        } else {
            Statistics::Running {
                mean: &mean,
                variance: &variance,
            }
        };
        let (y, batch) =
            batch_norm_act(x, &gamma_beta, residual, statistics, self.eps, activation)?;
        if let Some(batch) = batch {
            let count = (self.num_batches_tracked.as_detached_tensor() + 1.0)?;
            let weight = match self.momentum {
                Some(momentum) => momentum,
                None => 1.0 / count.to_scalar::<i64>()? as f64,
            };
            track(&self.running_mean, &mean, &batch.mean, weight)?;
            track(&self.running_var, &variance, &batch.variance, weight)?;
            self.num_batches_tracked.set(&count)?;
        }
        record(
            &self.path,
            "BatchNorm2d",
            &y,
            &[&self.weight, &self.bias],
            0,
        );
        Ok(y)
    }
}

/// Moves a running statistic towards that of the batch.
fn track(running: &Var, old: &Tensor, batch: &Tensor, weight: f64) -> Result<()> {
    let batch = batch.to_dtype(running.dtype())?;
    running.set(&((old * (1.0 - weight))? + (batch * weight)?)?)
}

impl ModuleT for BatchNorm2d {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.normalise(x, None, &Activation::Identity, train)
    }
}
