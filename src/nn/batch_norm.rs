//! Batch normalisation, alone or fused with the residual sum and the activation after it.

use std::sync::Arc;

use candle_core::{DType, Module as _, Result, Tensor, Var};
use candle_nn::{Init, ModuleT, VarBuilder};

use super::layer_input::{ObservedLayer, observe, observes, observes_activations};
use super::summary::{record, records};
use super::{Act, Conv2d};
use crate::activation::Activation;
use crate::autograd::is_recomputing;
use crate::ops::norm_act::{Statistics, batch_norm_act};
use crate::ops::{AllReduce, RunningNorm, RunningScales, conv2d_norm_act, stack};

/// Normalises each channel over the batch and the image (Ioffe, Szegedy, "Batch Normalization",
/// 2015), with PyTorch's keys, defaults and running statistics.
///
/// In training the layer uses the statistics of the batch and updates its running statistics; in
/// evaluation it uses the running statistics. [`batch_norm2d`] builds it from a [`VarBuilder`].
///
/// # Shapes
/// - weight, bias, running mean, running variance: `[C]`
/// - input and output: [N, C, H, W] or [N, C]
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
    num_batches_tracked: Var,
    eps: f64,
    /// `None` weights all batches equally.
    momentum: Option<f64>,
    /// The processes whose statistics are joined in training.
    processes: Option<Arc<dyn AllReduce>>,
    scales: Option<RunningScales>,
    path: String,
}

impl BatchNorm2d {
    /// A layer with the given parameters and running statistics; eps is 1e-5, the momentum of the
    /// running statistics 0.1.
    ///
    /// # Errors
    /// If the tensors are not vectors of one length.
    pub fn new(
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
    ) -> Result<Self> {
        let channels = weight.dims1()?;
        for (name, tensor) in [
            ("bias", &bias),
            ("running_mean", &running_mean),
            ("running_var", &running_var),
        ] {
            if tensor.dims() != [channels] {
                candle_core::bail!(
                    "batch_norm2d: {name} has the shape {:?}, must be [{channels}] like weight",
                    tensor.dims()
                );
            }
        }
        let count = Tensor::zeros((), DType::I64, weight.device())?;
        Ok(Self {
            weight,
            bias,
            running_mean: Var::from_tensor(&running_mean)?,
            running_var: Var::from_tensor(&running_var)?,
            num_batches_tracked: Var::from_tensor(&count)?,
            eps: 1e-5,
            momentum: Some(0.1),
            processes: None,
            scales: None,
            path: String::new(),
        })
    }

    /// Sets the number that is added to the variance.
    pub fn with_eps(self, eps: f64) -> Self {
        Self {
            eps,
            // Kept scales contain the eps.
            scales: self.scales.map(|_| RunningScales::default()),
            ..self
        }
    }

    /// Sets the weight of the newest batch in the running statistics.
    pub fn with_momentum(self, momentum: f64) -> Self {
        Self {
            momentum: Some(momentum),
            ..self
        }
    }

    /// Makes the running statistics the mean over all batches since `num_batches_tracked` was 0,
    /// as PyTorch does with a momentum of None. Use it to re-estimate the statistics.
    pub fn with_cumulative_statistics(self) -> Self {
        Self {
            momentum: None,
            ..self
        }
    }

    /// Takes the statistics in training over the batches of all `processes`, as PyTorch's
    /// `SyncBatchNorm` does. All processes must run the layer, forward and backward.
    pub fn with_processes(self, processes: Arc<dyn AllReduce>) -> Self {
        Self {
            processes: Some(processes),
            ..self
        }
    }

    /// Promises that parameters and running statistics do not change from the first evaluation on.
    /// Then evaluation after a convolution computes the factors of the channels once: see
    /// [`RunningScales`].
    pub fn with_constant_statistics(self) -> Self {
        Self {
            scales: Some(RunningScales::default()),
            ..self
        }
    }

    /// Leaves the weight out of training: it gets no gradient. The bias still does.
    pub fn with_fixed_weight(self) -> Self {
        Self {
            weight: self.weight.detach(),
            ..self
        }
    }

    /// Sets the path that summaries and exported graphs show for this layer.
    pub fn with_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The factor of each channel, `[C]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias of each channel, `[C]`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// The running mean, `[C]`. Training updates it in place.
    pub fn running_mean(&self) -> &Tensor {
        self.running_mean.as_tensor()
    }

    /// The running variance (unbiased), `[C]`. Training updates it in place.
    pub fn running_var(&self) -> &Tensor {
        self.running_var.as_tensor()
    }

    /// The number that is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// act(norm(x) + residual), as one op where the activation has a fused kernel.
    ///
    /// # Shapes
    /// - x and residual: [N, C, H, W] or [N, C]
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
            Some(activation) if !observes_activations() => {
                let y = self.normalise(x, residual, activation, train)?;
                act.note(&y);
                Ok(y)
            }
            _ => {
                let y = self.normalise(x, residual, &Activation::Identity, train)?;
                act.forward_t(&y, train)
            }
        }
    }

    /// act(norm(conv(x)) + residual). In evaluation this is one op where the activation has a fused
    /// kernel, with the values of the separate layers.
    ///
    /// # Shapes
    /// - residual: the shape of the output of `conv`
    ///
    /// # Errors
    /// As [`Conv2d`]'s and [`Self::forward_act`].
    pub fn forward_conv(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        residual: Option<&Tensor>,
        act: &Act,
        train: bool,
    ) -> Result<Tensor> {
        let fused = act
            .stateless()
            .filter(|_| !train && !observes() && !records());
        let Some(activation) = fused else {
            return self.forward_act(&conv.forward(x)?, residual, act, train);
        };
        let norm = RunningNorm {
            weight: &self.weight,
            bias: &self.bias,
            mean: &self.running_mean.as_detached_tensor(),
            variance: &self.running_var.as_detached_tensor(),
            eps: self.eps,
            scales: self.scales.as_ref(),
        };
        conv2d_norm_act(x, conv.kernel(), norm, residual, activation)
    }

    fn normalise(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        activation: &Activation,
        train: bool,
    ) -> Result<Tensor> {
        observe(ObservedLayer::BatchNorm, &self.path, self, x)?;
        let gamma_beta = stack(&[&self.weight, &self.bias])?;
        let (mean, variance) = (
            self.running_mean.as_detached_tensor(),
            self.running_var.as_detached_tensor(),
        );
        let statistics = match (train, &self.processes) {
            (true, None) => Statistics::Batch,
            (true, Some(processes)) => Statistics::Synchronised(processes),
            (false, _) => Statistics::Running {
                mean: &mean,
                variance: &variance,
            },
        };
        let (y, batch) =
            batch_norm_act(x, &gamma_beta, residual, statistics, self.eps, activation)?;
        // A part of a network that runs again has updated them.
        if let Some(batch) = batch.filter(|_| !is_recomputing()) {
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

/// A [`BatchNorm2d`] layer: takes `weight`, `bias`, `running_mean` and `running_var`, `[C]` each,
/// and the scalar `num_batches_tracked` from `vb`. It starts as the identity on normalised values.
///
/// # Errors
/// If a tensor in `vb` has another shape.
pub fn batch_norm2d(channels: usize, vb: VarBuilder) -> Result<BatchNorm2d> {
    starting_at(1.0, channels, vb)
}

/// As [`batch_norm2d`], but `weight` starts at zero. At the end of a residual branch, the block
/// then starts as its shortcut alone (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section
/// 5.1).
///
/// # Errors
/// As [`batch_norm2d`].
pub fn batch_norm2d_zero(channels: usize, vb: VarBuilder) -> Result<BatchNorm2d> {
    starting_at(0.0, channels, vb)
}

fn starting_at(weight: f64, channels: usize, vb: VarBuilder) -> Result<BatchNorm2d> {
    let get = |name, value| vb.get_with_hints(channels, name, Init::Const(value));
    let count = "num_batches_tracked";
    let count = vb.get_with_hints_dtype((), count, Init::Const(0.0), DType::I64)?;
    let norm = BatchNorm2d::new(
        get("weight", weight)?,
        get("bias", 0.0)?,
        get("running_mean", 0.0)?,
        get("running_var", 1.0)?,
    )?;
    Ok(BatchNorm2d {
        num_batches_tracked: Var::from_tensor(&count)?,
        path: vb.prefix(),
        ..norm
    })
}

/// Moves a running statistic towards the statistic of the batch.
fn track(running: &Var, old: &Tensor, batch: &Tensor, weight: f64) -> Result<()> {
    let batch = batch.to_dtype(running.dtype())?;
    running.set(&((old * (1.0 - weight))? + (batch * weight)?)?)
}

impl ModuleT for BatchNorm2d {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.normalise(x, None, &Activation::Identity, train)
    }
}
