//! The update rules as compositions of Candle's ops, for parameters on other devices than the CPU.

use candle_core::{DType, Result, Tensor, Var, bail};

use super::rules::{Rule, Update};

/// Applies `update` to a parameter and its buffers.
pub(super) fn apply(
    update: &Update<'_>,
    var: &Var,
    gradient: &Tensor,
    buffers: &mut [Tensor],
) -> Result<()> {
    let w = var.as_detached_tensor();
    match w.dtype() {
        DType::F32 | DType::F64 => {}
        dtype => bail!("the optimizers update f32 and f64 parameters, not {dtype:?}"),
    }
    if gradient.dtype() != w.dtype() {
        bail!("a gradient has another dtype than its parameter");
    }
    let gradient = gradient.detach();
    let clipped = match update.limit {
        Some(limit) => gradient.clamp(-limit, limit)?,
        None => (gradient * update.scale)?,
    };
    let decayed = |g: &Tensor| match update.weight_decay {
        0.0 => Ok(g.clone()),
        decay => g + (&w * decay)?,
    };
    let new = match (*update.rule, &mut *buffers) {
        (Rule::Sgd { momentum, nesterov }, [velocity, ..]) => {
            let g = decayed(&clipped)?;
            *velocity = ((&*velocity * momentum)? + &g)?;
            let direction = if nesterov {
                (g + (&*velocity * momentum)?)?
            } else {
                velocity.clone()
            };
            (&w - (direction * update.lr)?)?
        }
        (Rule::Sgd { .. }, []) => (&w - (decayed(&clipped)? * update.lr)?)?,
        (Rule::Adam { betas, eps }, [mean, square]) => {
            let g = decayed(&clipped)?;
            (&w - adam(update, betas, eps, &g, mean, square)?)?
        }
        (Rule::AdamW { betas, eps }, [mean, square]) => {
            let shrunk = (&w * (1.0 - update.lr * update.weight_decay))?;
            (shrunk - adam(update, betas, eps, &clipped, mean, square)?)?
        }
        (
            Rule::RmsProp {
                alpha,
                momentum,
                eps,
                centered,
            },
            [square, others @ ..],
        ) => {
            let g = decayed(&clipped)?;
            *square = ((&*square * alpha)? + (g.sqr()? * (1.0 - alpha))?)?;
            let mut variance = square.clone();
            if centered {
                let mean = &mut others[usize::from(momentum != 0.0)];
                *mean = (&*mean + ((&g - &*mean)? * (1.0 - alpha))?)?;
                variance = (variance - mean.sqr()?)?;
            }
            let mut direction = (g / (variance.sqrt()? + eps)?)?;
            if momentum != 0.0 {
                let velocity = &mut others[0];
                *velocity = ((&*velocity * momentum)? + direction)?;
                direction = velocity.clone();
            }
            (&w - (direction * update.lr)?)?
        }
        // Unreachable: `Rule::buffers` determines the number of buffers.
        (Rule::Adam { .. } | Rule::AdamW { .. } | Rule::RmsProp { .. }, _) => return Ok(()),
    };
    var.set(&new)
}

/// Updates Adam's moments and returns the amount to subtract from the weight.
fn adam(
    update: &Update<'_>,
    (beta1, beta2): (f64, f64),
    eps: f64,
    g: &Tensor,
    mean: &mut Tensor,
    square: &mut Tensor,
) -> Result<Tensor> {
    let steps = update.step as f64;
    *mean = (&*mean + ((g - &*mean)? * (1.0 - beta1))?)?;
    *square = ((&*square * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
    let correction = (1.0 - beta2.powf(steps)).sqrt();
    let denominator = ((square.sqrt()? / correction)? + eps)?;
    (&*mean / denominator)? * (update.lr / (1.0 - beta1.powf(steps)))
}
