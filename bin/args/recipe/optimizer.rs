//! Flags for the optimizer and its regularisation.

use candle_mish::train::{
    AdjustLr, ClipMode, MuonFallback, NsCoefficients, OptimizerName, Recipe, RecipeError,
};
use clap::Args;

use crate::args::range::{finite, whole};
use crate::args::set::{replace, set};

/// Flags for the optimizer and its regularisation.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Optimizer")]
pub struct OptimizerArgs {
    /// sgd, sgdw, momentum, adam, adamw, nadam, nadamw, radam, radamw, adamax, adagrad, adadelta,
    /// rmsprop, rmsproptf, rmsproptfw, lamb, lambc, lambw, lambcw, lion, muon or nmuon;
    /// lookahead_NAME adds Lookahead, as in lookahead_radam [default: sgd, or the
    /// network's own]
    #[arg(long, value_name = "NAME")]
    pub opt: Option<OptimizerName>,
    /// Peak learning rate [default: 0.3, or the network's own. --pretrained without
    /// --freeze-backbone divides it by 15]
    #[arg(long, value_name = "RATE", value_parser = finite)]
    pub lr: Option<f64>,
    /// Momentum of sgd, momentum, rmsprop and muon [default: 0.9]
    #[arg(long, value_name = "M", value_parser = finite)]
    pub momentum: Option<f64>,
    /// Weight decay, except on norms and biases. Decoupled for lion, muon and optimizers whose name
    /// ends in w [default: 0.0005, or the network's own]
    #[arg(long, value_name = "W", value_parser = finite)]
    pub weight_decay: Option<f64>,
    /// L1 penalty: adds L * sign(w) to the gradient, except for norms and biases [default: 0]
    #[arg(long, value_name = "L", value_parser = finite)]
    pub l1_penalty: Option<f64>,
    /// L2 penalty: adds L * w to the gradient, except for norms and biases. Unlike --weight-decay,
    /// never decoupled [default: 0]
    #[arg(long, value_name = "L", value_parser = finite)]
    pub l2_penalty: Option<f64>,
    /// Decay rates of running means in adam and its variants, lamb, lion and muon [default: 0.9
    /// 0.999; lion 0.9 0.99; muon 0.9 0.95]
    #[arg(long, value_names = ["BETA1", "BETA2"], num_args = 2, value_parser = finite)]
    pub opt_betas: Option<Vec<f64>>,
    /// Term added to the denominator, in all but sgd, momentum and lion [default: 1e-8; adadelta and
    /// lamb 1e-6; muon 1e-7; rmsproptf 1e-10]
    #[arg(long, value_name = "EPS", value_parser = finite)]
    pub opt_eps: Option<f64>,
    /// Decay rate of the running mean of squares in rmsprop and adadelta [default: rmsprop 0.99;
    /// rmsproptf and adadelta 0.9]
    #[arg(long, value_name = "ALPHA", value_parser = finite)]
    pub opt_alpha: Option<f64>,
    /// muon: optimizer of vectors, depthwise convolutions and thin matrices: adamw or sgd [default:
    /// adamw]
    #[arg(long, value_name = "NAME")]
    pub muon_fallback: Option<MuonFallback>,
    /// muon: factor of the learning rate of --muon-fallback [default: 1]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub fallback_lr_scale: Option<f64>,
    /// muon: momentum of --muon-fallback sgd [default: --momentum]
    #[arg(long, value_name = "M", value_parser = finite)]
    pub fallback_momentum: Option<f64>,
    /// muon: also use --muon-fallback for the parameters with these names, separated by commas, such as
    /// head.weight or 'head.*'
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    pub fallback_list: Vec<String>,
    /// muon: scale each matrix to the norm sqrt(rows) before its update
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub normalize_weights: Option<bool>,
    /// muon: coefficients of the Newton-Schulz iteration: quintic (timm's) or original (PyTorch's)
    /// [default: quintic]
    #[arg(long, value_name = "NAME")]
    pub ns_coefficients: Option<NsCoefficients>,
    /// muon: number of Newton-Schulz iterations [default: 5]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub ns_steps: Option<usize>,
    /// muon: how the learning rate depends on the shape: match_rms_adamw (timm's), original
    /// (PyTorch's) or rms_to_rms [default: match_rms_adamw]
    #[arg(long, value_name = "NAME")]
    pub adjust_lr_fn: Option<AdjustLr>,
    /// Clip gradients to this limit [default: no clipping]
    #[arg(long, value_name = "LIMIT", value_parser = finite)]
    pub clip_grad: Option<f64>,
    /// What --clip-grad limits: the joint norm, each value, or with agc the ratio of each unit's
    /// gradient to its weights, except in the classifier (usually 0.01) [default: norm]
    #[arg(long, value_name = "MODE")]
    pub clip_mode: Option<ClipMode>,
}

impl OptimizerArgs {
    /// Refuses constants that the optimizer of `recipe` does not use.
    ///
    /// # Errors
    /// Names the field and the optimizers that use it.
    pub fn check(&self, recipe: &Recipe) -> Result<(), RecipeError> {
        for (field, given) in [
            ("momentum", self.momentum.is_some()),
            ("opt_betas", self.opt_betas.is_some()),
            ("opt_eps", self.opt_eps.is_some()),
            ("opt_alpha", self.opt_alpha.is_some()),
        ] {
            if given {
                recipe.opt.kind.check_reads(field)?;
            }
        }
        Ok(())
    }

    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        let pair = |values: &Option<Vec<f64>>| values.as_deref()?.try_into().ok();
        set(&mut recipe.opt, self.opt);
        set(&mut recipe.lr, self.lr);
        set(&mut recipe.momentum, self.momentum);
        set(&mut recipe.weight_decay, self.weight_decay);
        set(&mut recipe.l1_penalty, self.l1_penalty);
        set(&mut recipe.l2_penalty, self.l2_penalty);
        replace(&mut recipe.opt_betas, &pair(&self.opt_betas));
        replace(&mut recipe.opt_eps, &self.opt_eps);
        replace(&mut recipe.opt_alpha, &self.opt_alpha);
        replace(&mut recipe.muon_fallback, &self.muon_fallback);
        replace(&mut recipe.fallback_lr_scale, &self.fallback_lr_scale);
        replace(&mut recipe.fallback_momentum, &self.fallback_momentum);
        if !self.fallback_list.is_empty() {
            recipe.fallback_list.clone_from(&self.fallback_list);
        }
        set(&mut recipe.normalize_weights, self.normalize_weights);
        replace(&mut recipe.ns_coefficients, &self.ns_coefficients);
        replace(&mut recipe.ns_steps, &self.ns_steps);
        replace(&mut recipe.adjust_lr_fn, &self.adjust_lr_fn);
        replace(&mut recipe.clip_grad, &self.clip_grad);
        set(&mut recipe.clip_mode, self.clip_mode);
    }
}
