//! Blends of activations, layer by layer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Blend;

/// The [`Blend`]s of the activation layers of a network by path. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LayerBlends(Arc<Mutex<Vec<(String, Blend)>>>);

impl LayerBlends {
    /// The blend of the layer at `path`. It starts with the old activation.
    pub fn at(&self, path: &str) -> Blend {
        let mut blends = self.lock();
        if let Some((_, blend)) = blends.iter().find(|(own, _)| own == path) {
            return blend.clone();
        }
        let blend = Blend::default();
        blends.push((path.to_string(), blend.clone()));
        blend
    }

    /// Sets the share of the new activation in all layers.
    pub fn set(&self, share: f64) {
        for (_, blend) in self.lock().iter() {
            blend.set(share);
        }
    }

    /// Changes the layers one after the other in the order of `paths`, each from the old to the new
    /// activation over the same part of `progress`, which goes from 0 to 1. Layers that are not in
    /// `paths` change over all of it.
    pub fn set_in_order(&self, paths: &[String], progress: f64) {
        for (path, blend) in self.lock().iter() {
            blend.set(match paths.iter().position(|own| own == path) {
                Some(index) => progress * paths.len() as f64 - index as f64,
                None => progress,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Blend)>> {
        // Each insertion is complete, so a panic leaves the list valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_change_together_or_one_after_the_other() {
        let blends = LayerBlends::default();
        let paths = ["a", "b"].map(String::from);
        let (a, b) = (blends.at("a"), blends.at("b"));
        assert_eq!((a.get(), b.get()), (0.0, 0.0));
        blends.set(0.25);
        assert_eq!((blends.at("a").get(), b.get()), (0.25, 0.25));
        blends.set_in_order(&paths, 0.25);
        assert_eq!((a.get(), b.get()), (0.5, 0.0));
        blends.set_in_order(&paths, 0.75);
        assert_eq!((a.get(), b.get()), (1.0, 0.5));
        blends.clone().set_in_order(&paths, 1.0);
        assert_eq!((a.get(), b.get()), (1.0, 1.0));
    }
}
