//! Fine-tuning of only the classifier.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

use crate::model::{Mode, Model};

/// Trains only the classifier: the backbone runs in evaluation mode. Build the network on
/// [`ParamStore::frozen_except`](candle_mish::nn::ParamStore::frozen_except) the classifier, so
/// that the backbone records no graph.
pub struct HeadOnly(pub Box<dyn Model>);

impl ModuleT for HeadOnly {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let mode = if train {
            Mode::TrainClassifier
        } else {
            Mode::Eval
        };
        self.0.forward_mode(images, mode)
    }
}
