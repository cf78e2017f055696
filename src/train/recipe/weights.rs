//! The averages and the initial weights of a recipe: defaults, and what needs what.

use super::error::RecipeError;
use super::fields::Recipe;
use super::ranges::{needed, positive, share, whole};
use crate::activation::Activation;
use crate::nn::{Initialisation, gain};

/// More epochs than any run has.
const MAX_ANNEAL_EPOCHS: usize = 1_000_000;

impl Recipe {
    /// timm's decay of the exponential moving average.
    pub const EMA_DECAY: f64 = 0.9998;
    /// The epochs of PyTorch's `SWALR`.
    pub const SWA_ANNEAL_EPOCHS: usize = 10;

    /// The same recipe, with the default of each constant that its averages use.
    pub fn with_average_defaults(mut self) -> Self {
        if self.model_ema {
            self.model_ema_decay.get_or_insert(Self::EMA_DECAY);
        }
        if self.swa_lr.is_some() {
            self.swa_anneal_epochs
                .get_or_insert(Self::SWA_ANNEAL_EPOCHS);
        }
        self
    }

    /// The initialisation of all weights of a network with this activation, if the recipe has one.
    pub fn initialisation(&self, activation: &Activation) -> Option<Initialisation> {
        let initialiser = self.init?;
        let default = if initialiser.is_he() {
            gain(activation)
        } else {
            1.0
        };
        Some(Initialisation {
            initialiser,
            gain: self.init_gain.unwrap_or(default),
        })
    }

    pub(super) fn validate_weights(&self) -> Result<(), RecipeError> {
        for (field, given) in [
            ("model_ema_decay", self.model_ema_decay.is_some()),
            ("model_ema_warmup", self.model_ema_warmup),
        ] {
            needed(field, self.model_ema || !given, "model_ema")?;
        }
        if let Some(decay) = self.model_ema_decay {
            share("model_ema_decay", decay)?;
        }
        match self.swa_start {
            None => needed("swa_lr", self.swa_lr.is_none(), "swa_start")?,
            Some(start) => whole("swa_start", start, 1..=self.epochs)?,
        }
        match self.swa_lr {
            None => needed(
                "swa_anneal_epochs",
                self.swa_anneal_epochs.is_none(),
                "swa_lr",
            )?,
            Some(lr) => positive("swa_lr", lr)?,
        }
        if let Some(epochs) = self.swa_anneal_epochs {
            whole("swa_anneal_epochs", epochs, 0..=MAX_ANNEAL_EPOCHS)?;
        }
        let Some(init_gain) = self.init_gain else {
            return Ok(());
        };
        positive("init_gain", init_gain)?;
        let takes_gain = self.init.is_some_and(|init| init.takes_gain());
        needed(
            "init_gain",
            takes_gain,
            "init orthogonal, lecun_*, glorot_*, he_*, xavier_* or kaiming_*",
        )
    }
}
