//! The constants of a norm with running statistics.

use super::kernels::Affine;
use super::moment::Moment;
use crate::ops::conv2d::PADDING;

/// [`Affine`] of each channel, as vectors. [`PADDING`] zeros follow.
#[derive(Debug, Default)]
pub(super) struct Channels {
    pub center: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl Channels {
    /// The values of gain, bias and statistics, `[C]` each.
    pub(super) fn new([gamma, beta, mean, variance]: [&[f64]; 4], eps: f64) -> Self {
        let mut channels = Self::default();
        let moments = mean.iter().zip(variance);
        for ((&mean, &variance), (gamma, beta)) in moments.zip(gamma.iter().zip(beta)) {
            let moment = Moment { mean, variance };
            let affine = Affine::new(mean, gamma * moment.inverse_deviation(eps), *beta);
            channels.center.push(affine.center);
            channels.scale.push(affine.scale);
            channels.shift.push(affine.shift);
        }
        for values in [
            &mut channels.center,
            &mut channels.scale,
            &mut channels.shift,
        ] {
            values.extend([0.0; PADDING]);
        }
        channels
    }

    pub(super) fn len(&self) -> usize {
        self.center.len() - PADDING
    }

    pub(super) fn affine(&self, channel: usize) -> Affine<f32> {
        Affine {
            center: self.center[channel],
            scale: self.scale[channel],
            shift: self.shift[channel],
        }
    }
}
