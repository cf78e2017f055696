//! Evaluations at points around the weights.

use candle_core::{Result, Tensor, Var};
use serde::Serialize;

use super::direction::Direction;

/// An evaluation at a point: the steps along the directions, 0 for one that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point<T> {
    /// The step along the first direction.
    pub x: f64,
    /// The step along the second direction.
    pub y: f64,
    /// The result there.
    pub value: T,
}

/// `points` steps from `low` to `high`, at least 2.
pub fn grid((low, high): (f64, f64), points: usize) -> Vec<f64> {
    let last = points.max(2) - 1;
    let step = |i: usize| low + (high - low) * i as f64 / last as f64;
    (0..=last).map(step).collect()
}

/// Evaluates at `weights + x * first + y * second` for each step x of `steps` along the first of
/// `directions`, and each step y along the second if there is one: rows of y, each from the first x on.
/// The parameters have their values again afterwards, also if an evaluation fails.
///
/// # Errors
/// The errors of `evaluate`, or if a direction does not fit the parameters.
pub fn scan<T>(
    params: &[(String, Var)],
    directions: &[Direction],
    steps: &[f64],
    mut evaluate: impl FnMut() -> Result<T>,
) -> Result<Vec<Point<T>>> {
    let weights: Vec<Tensor> = params
        .iter()
        .map(|(_, param)| param.as_detached_tensor().copy())
        .collect::<Result<_>>()?;
    let ys: &[f64] = if directions.len() > 1 { steps } else { &[0.0] };
    let mut at = |x: f64, y: f64| {
        for (i, (_, param)) in params.iter().enumerate() {
            let mut moved = weights[i].clone();
            for (direction, step) in directions.iter().zip([x, y]) {
                moved = (moved + (&direction.tensors()[i] * step)?)?;
            }
            param.set(&moved)?;
        }
        let value = evaluate()?;
        Ok(Point { x, y, value })
    };
    let points = ys.iter().flat_map(|y| steps.iter().map(move |x| (*x, *y)));
    let points: Result<Vec<Point<T>>> = points.map(|(x, y)| at(x, y)).collect();
    for ((_, param), weight) in params.iter().zip(&weights) {
        param.set(weight)?;
    }
    points
}
