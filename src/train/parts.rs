//! The parts of a network that fine-tuning treats differently.

use std::collections::{BTreeMap, HashMap};

use candle_core::Var;
use candle_nn::ModuleT;

use super::optimizer::ParameterGroup;
use super::recipe::Recipe;
use crate::nn::ParamStore;

/// What fine-tuning has to know of a network.
pub struct Parts<'a> {
    /// The network, in training only as far as its head goes: the rest is as when it is evaluated,
    /// with the running statistics of its batch norms, and records no graph.
    pub head_only: &'a dyn ModuleT,
    /// The path of the head, such as `fc`.
    pub head: &'a str,
    /// The layer of each parameter by its name, 0 nearest to the images; the head's is the highest.
    pub layers: &'a HashMap<String, usize>,
}

impl Parts<'_> {
    /// The parameters that learn, with their rates; what is not of the head rests for
    /// `head_warmup` steps.
    pub(super) fn groups(
        &self,
        store: &ParamStore,
        recipe: &Recipe,
        head_warmup: u64,
    ) -> Vec<ParameterGroup> {
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
            let groups = ParameterGroup::split(params, recipe.weight_decay).into_iter();
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
