//! A backbone with a linear classifier: what most networks are.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Dropout, Linear, LinearConfig, linear_with};
use candle_nn::{Module, ModuleT, VarBuilder};

use crate::Model;
use crate::layers::Layers;

/// What comes before the classifier.
pub(crate) trait Backbone: Send + Sync {
    /// The pooled features [N, C] of images.
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor>;
}

/// A backbone, dropout, and a linear classifier.
pub(crate) struct Classifier<B> {
    backbone: B,
    dropout: Dropout,
    fc: Linear,
    path: &'static str,
    num_features: usize,
    bias: bool,
}

impl<B: Backbone + 'static> Classifier<B> {
    /// Puts a classifier over `num_features` features at `path` below `layers`, the network's
    /// root.
    pub fn boxed(
        backbone: B,
        num_features: usize,
        path: &'static str,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        Self::over(backbone, num_features, path, true, layers)
    }

    /// As [`Classifier::boxed`], but the logits are linear in the features.
    pub fn without_bias(
        backbone: B,
        num_features: usize,
        path: &'static str,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        Self::over(backbone, num_features, path, false, layers)
    }

    fn over(
        backbone: B,
        num_features: usize,
        path: &'static str,
        bias: bool,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        Ok(Box::new(Self {
            backbone,
            dropout: layers.dropout()?,
            fc: layers.pp(path).classifier(num_features, bias)?,
            path,
            num_features,
            bias,
        }))
    }
}

impl<B: Backbone> Model for Classifier<B> {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.backbone.features(images, train)
    }

    fn num_features(&self) -> usize {
        self.num_features
    }

    fn classifier(&self) -> &'static str {
        self.path
    }

    fn forward_parts(&self, images: &Tensor, backbone: bool, classifier: bool) -> Result<Tensor> {
        let features = self.backbone.features(images, backbone)?;
        self.fc
            .forward(&self.dropout.forward_t(&features, classifier)?)
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        let config = LinearConfig {
            bias: self.bias,
            ..LinearConfig::default()
        };
        self.fc = linear_with(self.num_features, num_classes, config, vb.pp(self.path))?;
        Ok(())
    }
}

impl<B: Backbone> ModuleT for Classifier<B> {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_parts(images, train, train)
    }
}
