//! Gradient checkpointing: less memory for more time.

use candle_core::{Result, Tensor, Var};

use super::part::{Forward, Part};
use super::tape::{Application, is_recording, record, unrecorded};
use crate::rng::Generator;

/// Applies `forward` to `x`, a part of a network that draws its random numbers from `generator`, with
/// gradient checkpointing (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
///
/// Inside [`value_and_grad`](super::value_and_grad), only `x` and the result are kept. The backward
/// pass runs `forward` again, with the same random numbers, for the activations that its gradients
/// need. Meanwhile [`is_recomputing`](super::is_recomputing) is true. Loss and gradients are the same
/// as without, bit for bit. Outside of `value_and_grad`, this is `forward(x)`.
///
/// # Errors
/// The errors of `forward`. The backward pass fails if one of Candle's ops takes the result.
pub fn recompute(generator: &Generator, forward: Forward, x: &Tensor) -> Result<Tensor> {
    if !is_recording() {
        return forward(x);
    }
    let part = Part::new(generator, forward, x);
    let y = unrecorded(|| part.run())?;
    if !y.track_op() {
        return Ok(y);
    }
    // A variable without a graph: the activations are freed here, and ops on it are recorded.
    let result = Var::from_tensor(&y.detach())?.into_inner();
    drop(y);
    record(Application::Part(part), 0, &result);
    Ok(result)
}
