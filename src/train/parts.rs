//! The parts of a network that fine-tuning treats differently.

use std::collections::{BTreeMap, HashMap};

use candle_core::Var;
use candle_nn::ModuleT;

use super::error::TrainError;
use super::optimizer::{ParameterGroup, RuleOptimizer};
use super::recipe::Recipe;
use crate::nn::ParamStore;

/// The head and the layers of a network, for fine-tuning.
pub struct Parts<'a> {
    /// The network with only its head in training mode. The rest is in evaluation mode, with the
    /// running statistics of its batch norms, and records no graph.
    pub head_only: &'a dyn ModuleT,
    /// The path of the head, such as `fc`.
    pub head: &'a str,
    /// The layer of each parameter by name. Layer 0 is the first, the head has the highest number.
    pub layers: &'a HashMap<String, usize>,
}

/// The optimizer of a run. Parameters outside the head start after `head_warmup` steps.
///
/// # Errors
/// If the recipe needs `parts` and there are none, its `fallback_list` names no parameter, or a buffer
/// cannot be allocated.
pub(super) fn optimizer(
    store: &ParamStore,
    recipe: &Recipe,
    parts: Option<&Parts<'_>>,
    head_warmup: u64,
) -> Result<RuleOptimizer, TrainError> {
    recipe.check_parameters(store)?;
    let groups = match parts {
        Some(parts) if recipe.tells_parts_apart() => parts.groups(store, recipe, head_warmup),
        None if recipe.tells_parts_apart() => return Err(TrainError::NoParts),
        _ => recipe.groups(store.params()),
    };
    let optimizer = RuleOptimizer::new(recipe.optimizer(), groups)?;
    Ok(match parts {
        Some(parts) => optimizer.with_head(parts.head),
        None => optimizer,
    })
}

impl Parts<'_> {
    /// Groups of the parameters to train, with their rates. Parameters outside the head start after
    /// `head_warmup` steps.
    fn groups(&self, store: &ParamStore, recipe: &Recipe, head_warmup: u64) -> Vec<ParameterGroup> {
        let highest = self.layers.values().copied().max().unwrap_or(0);
        let mut by_layer: BTreeMap<(usize, bool), Vec<(String, Var)>> = BTreeMap::new();
        for (name, var) in store.params() {
            let head = self.is_head(&name);
            if !head && recipe.freeze_backbone {
                continue;
            }
            let layer = match recipe.layer_decay {
                Some(_) => self.layers.get(&name).copied().unwrap_or(highest),
                None => highest,
            };
            by_layer.entry((layer, head)).or_default().push((name, var));
        }
        let groups = by_layer.into_iter().flat_map(|((layer, head), params)| {
            let below = i32::try_from(highest - layer).unwrap_or(i32::MAX);
            let scale = recipe.layer_decay.map_or(1.0, |decay| decay.powi(below));
            let groups = recipe.groups(params).into_iter();
            groups.map(move |group| ParameterGroup {
                lr_scale: scale,
                start: if head { 0 } else { head_warmup },
                ..group
            })
        });
        groups.collect()
    }

    fn is_head(&self, name: &str) -> bool {
        name.strip_prefix(self.head)
            .is_some_and(|rest| rest.starts_with('.'))
    }
}
