//! Histograms of pre-activations by layer.

use candle_core::{DType, ModuleT, Result, Tensor};
use serde::Serialize;

use super::lines::{Line, LinePlot, line_plots};
use crate::nn::map_pre_activations;

/// About the number of values of a layer that are kept, evenly spaced.
const KEPT: usize = 20_000;
/// Bins of a histogram.
const BINS: usize = 60;
/// Share of the values beyond each end of the bins.
const TAIL: f64 = 0.001;

/// Pre-activations of a layer, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerValues {
    /// The path of the activation layer.
    pub layer: String,
    values: Vec<f32>,
}

/// The inputs of all activation layers of `network` on `batches` of images, `[N, C, H, W]`, in evaluation
/// mode: about 20,000 evenly spaced values of each layer.
///
/// # Errors
/// The errors of the network, or values that are not a number.
pub fn pre_activations(network: &dyn ModuleT, batches: &[&Tensor]) -> Result<Vec<LayerValues>> {
    let kept = KEPT.div_ceil(batches.len().max(1));
    let mut layers: Vec<LayerValues> = Vec::new();
    for (i, images) in batches.iter().enumerate() {
        let run = || network.forward_t(images, false);
        let (_, sampled) = map_pre_activations(move |x| sample(x, kept), run)?;
        for (place, (layer, values)) in sampled.into_iter().enumerate() {
            match layers.get_mut(place) {
                Some(layer) => layer.values.extend(values),
                None if i == 0 => layers.push(LayerValues { layer, values }),
                None => candle_core::bail!("{layer} was not applied to the first batch"),
            }
        }
    }
    for layer in &mut layers {
        layer.values.sort_by(f32::total_cmp);
    }
    Ok(layers)
}

/// Evenly spaced values of `x`, at most `kept`.
fn sample(x: &Tensor, kept: usize) -> Result<Vec<f32>> {
    let values = x.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let stride = values.len().div_ceil(kept).max(1);
    let values: Vec<f32> = values.into_iter().step_by(stride).collect();
    if values.iter().any(|value| value.is_nan()) {
        candle_core::bail!("a pre-activation is not a number");
    }
    Ok(values)
}

/// The distribution of the pre-activations of a layer in several states of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerHistogram {
    /// The path of the activation layer.
    pub layer: String,
    /// The centres of the bins.
    pub centres: Vec<f64>,
    /// For each state, the density in each bin.
    pub densities: Vec<Vec<f64>>,
    /// For each state, the mean.
    pub means: Vec<f64>,
    /// For each state, the standard deviation.
    pub stds: Vec<f64>,
}

impl LayerHistogram {
    /// The histograms of a layer in `states`, with the same bins. They cover all values but the outer
    /// 0.1 % of the state that is wider on that side. None if a state has no values.
    pub fn new(states: &[&LayerValues]) -> Option<Self> {
        let quantile = |values: &[f32], share: f64| {
            let place = (share * (values.len().checked_sub(1)? as f64)).round() as usize;
            values.get(place).map(|value| f64::from(*value))
        };
        let ends = |share: f64| -> Option<Vec<f64>> {
            states
                .iter()
                .map(|state| quantile(&state.values, share))
                .collect()
        };
        let low = ends(TAIL)?.into_iter().fold(f64::INFINITY, f64::min);
        let high = ends(1.0 - TAIL)?
            .into_iter()
            .fold(f64::NEG_INFINITY, f64::max);
        // All values may be equal.
        let width = ((high - low) / BINS as f64).max(1e-6);
        let density = |state: &&LayerValues| {
            let mut counts = vec![0usize; BINS];
            for value in &state.values {
                let place = (f64::from(*value) - low) / width;
                // The largest value belongs to the last bin.
                let bin = if f64::from(*value) == high {
                    BINS as f64 - 1.0
                } else {
                    place
                };
                if (0.0..BINS as f64).contains(&bin) {
                    counts[bin as usize] += 1;
                }
            }
            let scale = 1.0 / (state.values.len() as f64 * width);
            counts
                .into_iter()
                .map(|count| count as f64 * scale)
                .collect()
        };
        let moments = |state: &&LayerValues| {
            let n = state.values.len() as f64;
            let mean = state.values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
            let squares = state.values.iter().map(|x| (f64::from(*x) - mean).powi(2));
            (mean, (squares.sum::<f64>() / n).sqrt())
        };
        let (means, stds) = states.iter().map(moments).unzip();
        Some(Self {
            layer: states.first()?.layer.clone(),
            centres: (0..BINS).map(|i| low + width * (i as f64 + 0.5)).collect(),
            densities: states.iter().map(density).collect(),
            means,
            stds,
        })
    }
}

/// Histograms as one SVG file, a plot for each layer. `states` are the names of the states.
pub fn histogram_plots(title: &str, states: &[&str], layers: &[LayerHistogram]) -> String {
    let plot = |layer: &LayerHistogram| LinePlot {
        title: layer.layer.clone(),
        x: "pre-activation",
        lines: states
            .iter()
            .zip(&layer.densities)
            .map(|(name, densities)| Line {
                name: (*name).to_string(),
                points: layer
                    .centres
                    .iter()
                    .copied()
                    .zip(densities.iter().copied())
                    .collect(),
            })
            .collect(),
    };
    let plots: Vec<LinePlot> = layers.iter().map(plot).collect();
    line_plots(title, &plots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(values: Vec<f32>) -> LayerValues {
        LayerValues {
            layer: "act".to_string(),
            values,
        }
    }

    #[test]
    fn densities_integrate_to_one() {
        let uniform = layer((0..1000).map(|i| i as f32 / 999.0).collect());
        let wide = layer((0..1000).map(|i| i as f32 / 333.0 - 1.0).collect());
        let histogram = LayerHistogram::new(&[&uniform, &wide]).expect("values");
        let width = histogram.centres[1] - histogram.centres[0];
        for densities in &histogram.densities {
            let mass = densities.iter().sum::<f64>() * width;
            assert!((mass - 1.0).abs() < 0.004, "{mass}");
        }
        assert!((histogram.means[0] - 0.5).abs() < 1e-6);
        assert!((histogram.stds[0] - (1.0f64 / 12.0).sqrt()).abs() < 1e-3);
        // A third of the range, three times the density.
        let inside = histogram.densities[0][30];
        assert!((inside - 1.0).abs() < 0.05, "{inside}");
        let svg = histogram_plots("title", &["initial", "trained"], &[histogram]);
        assert!(svg.contains("initial") && svg.contains("trained"));
    }

    #[test]
    fn a_constant_layer_has_one_bin() {
        let histogram = LayerHistogram::new(&[&layer(vec![2.0; 5])]).expect("values");
        assert_eq!(
            histogram.densities[0].iter().filter(|d| **d > 0.0).count(),
            1
        );
        assert_eq!(LayerHistogram::new(&[&layer(Vec::new())]), None);
    }
}
