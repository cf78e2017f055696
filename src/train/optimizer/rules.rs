//! The update rules, element by element, in PyTorch's order of operations.

use super::scalar::Scalar;

/// An update rule with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `torch.optim.SGD`, with weight decay added to the gradient.
    Sgd {
        /// The decay rate of the running sum of gradients; 0 for no momentum.
        momentum: f64,
        /// Uses Nesterov momentum.
        nesterov: bool,
    },
    /// `torch.optim.Adam`, with weight decay added to the gradient.
    Adam {
        /// Decay rates of the running means of the gradient and its square.
        betas: (f64, f64),
        /// Added to the denominator.
        eps: f64,
    },
    /// `torch.optim.AdamW`, with weight decay applied to the weight.
    AdamW {
        /// Decay rates of the running means of the gradient and its square.
        betas: (f64, f64),
        /// Added to the denominator.
        eps: f64,
    },
    /// `torch.optim.RMSprop`.
    RmsProp {
        /// The decay rate of the running mean of the squared gradient.
        alpha: f64,
        /// The decay rate of the running sum of updates; 0 for no momentum.
        momentum: f64,
        /// Added to the denominator.
        eps: f64,
        /// Divides by the standard deviation of the gradient, not by its root mean square.
        centered: bool,
    },
}

impl Rule {
    /// PyTorch's names of the buffers of a parameter.
    pub fn buffers(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Self::Sgd { .. } => &["momentum_buffer"],
            Self::Adam { .. } | Self::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
            Self::RmsProp {
                momentum, centered, ..
            } => match (*momentum != 0.0, centered) {
                (false, false) => &["square_avg"],
                (true, false) => &["square_avg", "momentum_buffer"],
                (false, true) => &["square_avg", "grad_avg"],
                (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
            },
        }
    }
}

/// One step of a rule over one group of parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    pub rule: &'a Rule,
    pub lr: f64,
    pub weight_decay: f64,
    /// The number of this step, counted from 1.
    pub step: u64,
    /// Multiplies the gradient, for clipping by norm.
    pub scale: f64,
    /// Bounds each element of the gradient, for clipping by value.
    pub limit: Option<f64>,
}

impl Update<'_> {
    /// Updates `weights` and `buffers` from `gradient`. All have the same length.
    #[inline(always)]
    pub fn run<T: Scalar>(&self, weights: &mut [T], gradient: &[T], buffers: &mut [&mut [T]]) {
        let scale = T::of(self.scale);
        let limit = self.limit.map(T::of);
        let clipped = |g: T| match limit {
            Some(limit) => g.clamp(limit),
            None => g * scale,
        };
        let decay = T::of(self.weight_decay);
        let lr = T::of(self.lr);
        match (*self.rule, buffers) {
            (Rule::Sgd { momentum, nesterov }, [velocity, ..]) => {
                let momentum = T::of(momentum);
                for ((w, g), v) in weights.iter_mut().zip(gradient).zip(velocity.iter_mut()) {
                    let g = clipped(*g) + decay * *w;
                    *v = momentum * *v + g;
                    let direction = if nesterov { g + momentum * *v } else { *v };
                    *w = *w - lr * direction;
                }
            }
            (Rule::Sgd { .. }, []) => {
                for (w, g) in weights.iter_mut().zip(gradient) {
                    let g = clipped(*g) + decay * *w;
                    *w = *w - lr * g;
                }
            }
            (Rule::Adam { betas, eps }, [mean, square]) => {
                let adam = Moments::new(self, betas, eps);
                let elements = mean.iter_mut().zip(square.iter_mut());
                for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(elements) {
                    let g = clipped(*g) + decay * *w;
                    *w = *w - adam.step(g, m, v);
                }
            }
            (Rule::AdamW { betas, eps }, [mean, square]) => {
                let adam = Moments::new(self, betas, eps);
                let shrink = T::of(1.0 - self.lr * self.weight_decay);
                let elements = mean.iter_mut().zip(square.iter_mut());
                for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(elements) {
                    *w = *w * shrink - adam.step(clipped(*g), m, v);
                }
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
                let (alpha, rest) = (T::of(alpha), T::of(1.0 - alpha));
                let (momentum, eps, moving) = (T::of(momentum), T::of(eps), momentum != 0.0);
                for (i, (w, g)) in weights.iter_mut().zip(gradient).enumerate() {
                    let g = clipped(*g) + decay * *w;
                    square[i] = alpha * square[i] + rest * g * g;
                    let mut variance = square[i];
                    if centered {
                        let mean = &mut others[usize::from(moving)][i];
                        *mean = *mean + rest * (g - *mean);
                        variance = variance - *mean * *mean;
                    }
                    let direction = g / (variance.sqrt() + eps);
                    if moving {
                        let velocity = &mut others[0][i];
                        *velocity = momentum * *velocity + direction;
                        *w = *w - lr * *velocity;
                    } else {
                        *w = *w - lr * direction;
                    }
                }
            }
            // Unreachable: `Rule::buffers` determines the number of buffers.
            (Rule::Adam { .. } | Rule::AdamW { .. } | Rule::RmsProp { .. }, _) => {}
        }
    }
}

/// Adam's running moments with their bias correction.
struct Moments<T> {
    toward_gradient: T,
    keep_square: T,
    toward_square: T,
    step_size: T,
    sqrt_correction: T,
    eps: T,
}

impl<T: Scalar> Moments<T> {
    fn new(update: &Update<'_>, (beta1, beta2): (f64, f64), eps: f64) -> Self {
        let steps = update.step as f64;
        Self {
            toward_gradient: T::of(1.0 - beta1),
            keep_square: T::of(beta2),
            toward_square: T::of(1.0 - beta2),
            step_size: T::of(update.lr / (1.0 - beta1.powf(steps))),
            sqrt_correction: T::of((1.0 - beta2.powf(steps)).sqrt()),
            eps: T::of(eps),
        }
    }

    /// Updates the moments and returns the amount to subtract from the weight.
    #[inline(always)]
    fn step(&self, g: T, mean: &mut T, square: &mut T) -> T {
        *mean = *mean + self.toward_gradient * (g - *mean);
        *square = self.keep_square * *square + self.toward_square * g * g;
        let denominator = square.sqrt() / self.sqrt_correction + self.eps;
        self.step_size * (*mean / denominator)
    }
}
