//! A backbone with a linear classifier: most networks.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Dropout, Linear, LinearConfig, ParamStore, linear_with};
use candle_nn::{Module, ModuleT, VarBuilder};

use crate::layers::Layers;
use crate::model::{FeatureInfo, Mode, Model, Taps};

/// Everything before the classifier.
pub(crate) trait Backbone: Send + Sync {
    /// The pooled features [N, F] of images [N, C, H, W]. Offers the maps of the network's
    /// [`FeatureInfo`] to `taps`, in order.
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor>;

    /// As [`Model::prepare`].
    fn prepare(&self, _store: &ParamStore, _images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        Ok(())
    }
}

/// How to build the classifier: its path, the number of its inputs, its bias and initialisation.
struct Head {
    path: &'static str,
    num_features: usize,
    config: LinearConfig,
}

impl Head {
    /// Builds the layer below `root`, in construction and in [`Model::replace_classifier`].
    fn build(&self, num_classes: usize, root: &VarBuilder) -> Result<Linear> {
        linear_with(
            self.num_features,
            num_classes,
            self.config,
            root.pp(self.path),
        )
    }
}

/// A backbone, dropout, and a linear classifier.
pub(crate) struct Classifier<B> {
    backbone: B,
    info: Vec<FeatureInfo>,
    dropout: Dropout,
    fc: Linear,
    head: Head,
}

impl<B: Backbone + 'static> Classifier<B> {
    /// Adds a classifier over `num_features` features at `path` below `layers`, the network's
    /// root. `info` describes the maps that the backbone offers.
    pub fn boxed(
        backbone: B,
        info: Vec<FeatureInfo>,
        num_features: usize,
        path: &'static str,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        let head = Head {
            path,
            num_features,
            config: LinearConfig {
                bias: true,
                init: layers.head_init,
            },
        };
        Self::with_head(backbone, info, head, layers)
    }

    /// As [`Classifier::boxed`], with a classifier that has no bias.
    pub fn without_bias(
        backbone: B,
        info: Vec<FeatureInfo>,
        num_features: usize,
        path: &'static str,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        let head = Head {
            path,
            num_features,
            config: LinearConfig {
                bias: false,
                init: layers.head_init,
            },
        };
        Self::with_head(backbone, info, head, layers)
    }

    fn with_head(
        backbone: B,
        info: Vec<FeatureInfo>,
        head: Head,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        Ok(Box::new(Self {
            backbone,
            info,
            dropout: layers.dropout()?,
            fc: head.build(layers.spec.num_classes, &layers.vb)?,
            head,
        }))
    }
}

impl<B: Backbone> Model for Classifier<B> {
    fn features(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let train = mode.trains_backbone();
        self.backbone.features(images, train, &mut Taps::none())
    }

    fn num_features(&self) -> usize {
        self.head.num_features
    }

    fn feature_info(&self) -> &[FeatureInfo] {
        &self.info
    }

    fn feature_maps(
        &self,
        images: &Tensor,
        out_indices: &[usize],
        mode: Mode,
    ) -> Result<Vec<Tensor>> {
        let mut taps = Taps::of(out_indices, &self.info)?;
        self.backbone
            .features(images, mode.trains_backbone(), &mut taps)?;
        taps.into_maps()
    }

    fn classifier(&self) -> &'static str {
        self.head.path
    }

    fn forward_mode(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let features = self.features(images, mode)?;
        let features = self
            .dropout
            .forward_t(&features, mode.trains_classifier())?;
        self.fc.forward(&features)
    }

    fn prepare(&self, store: &ParamStore, images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        self.backbone.prepare(store, images)
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        self.fc = self.head.build(num_classes, &vb)?;
        Ok(())
    }
}

impl<B: Backbone> ModuleT for Classifier<B> {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(images, Mode::from_train(train))
    }
}
