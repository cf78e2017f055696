//! The interface of every network.

use candle_core::{Result, Tensor, bail};
use candle_mish::nn::{AuxiliaryLoss, ParamStore};
use candle_nn::{ModuleT, VarBuilder};

/// An image classifier.
///
/// [`ModuleT::forward_t`] maps normalised images [N, C, H, W] to logits [N, num_classes]. In
/// training it normalises with batch statistics and applies the random layers.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_mish::nn::ParamStore;
/// use candle_mish_models::{Mode, Model, ModelSpec, create};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
/// let model = create(&ModelSpec::new("resnet20"), store.var_builder())?;
/// let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.features(&images, Mode::Eval)?.dims(), [2, 64]);
/// let maps = model.feature_maps(&images, &[1, 3], Mode::Eval)?;
/// assert_eq!(maps[1].dims(), [2, 64, 8, 8]);
/// # Ok(())
/// # }
/// ```
pub trait Model: ModuleT + Send + Sync {
    /// The pooled features [N, [`Model::num_features`]], the input of the classifier.
    ///
    /// # Errors
    /// If the images have the wrong number of channels or are too small.
    fn features(&self, images: &Tensor, mode: Mode) -> Result<Tensor>;

    /// The number of pooled features.
    fn num_features(&self) -> usize;

    /// The feature maps that [`Model::feature_maps`] can return, from the images to the classifier:
    /// timm's `feature_info`. Empty for a network without feature maps, such as a perceptron.
    fn feature_info(&self) -> &[FeatureInfo];

    /// Intermediate feature maps [N, channels, H / reduction, W / reduction], one for each index
    /// into [`Model::feature_info`]: timm's `features_only` with `out_indices`. The whole backbone
    /// runs.
    ///
    /// # Errors
    /// If an index is out of range, or as [`Model::features`].
    fn feature_maps(
        &self,
        images: &Tensor,
        out_indices: &[usize],
        mode: Mode,
    ) -> Result<Vec<Tensor>>;

    /// The path of the classifier in a checkpoint, such as `fc`.
    fn classifier(&self) -> &'static str;

    /// The logits [N, num_classes], as [`ModuleT::forward_t`] in any [`Mode`].
    ///
    /// # Errors
    /// As [`Model::features`].
    fn forward_mode(&self, images: &Tensor, mode: Mode) -> Result<Tensor>;

    /// Builds a new classifier for `num_classes` classes from `vb`, the root of the network's
    /// variables, as construction does. Call [`reset_classifier`] instead for a network on a
    /// [`ParamStore`].
    ///
    /// # Errors
    /// If `vb` holds tensors of other shapes, such as the present classifier's.
    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()>;

    /// Completes the initial weights of a network that does not only draw them, such as `airbench94`, whose
    /// first filters follow the training images. `store` has the network's weights. `images` reads some
    /// thousand normalised training images [N, C, H, W]; most networks do not call it.
    ///
    /// # Errors
    /// If the images cannot be read or have the wrong shape.
    fn prepare(&self, _store: &ParamStore, _images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        Ok(())
    }

    /// The loss that the network adds to the loss of its logits in training, if it has one.
    fn auxiliary(&self) -> Option<&dyn AuxiliaryLoss> {
        None
    }
}

/// Which parts of a network run in training mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// No part: evaluation.
    Eval,
    /// All parts.
    Train,
    /// The classifier. The backbone runs in evaluation mode.
    TrainClassifier,
}

impl Mode {
    /// [`Mode::Train`] if `train`, else [`Mode::Eval`]: the flag of [`ModuleT::forward_t`].
    pub fn from_train(train: bool) -> Self {
        if train { Self::Train } else { Self::Eval }
    }

    /// Whether the backbone runs in training mode.
    pub fn trains_backbone(self) -> bool {
        self == Self::Train
    }

    /// Whether the classifier runs in training mode.
    pub fn trains_classifier(self) -> bool {
        self != Self::Eval
    }
}

/// An intermediate feature map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureInfo {
    /// The number of channels.
    pub channels: usize,
    /// The image's height divided by the map's, without rounding.
    pub reduction: usize,
    /// The path of the module whose output it is.
    pub module: String,
}

impl FeatureInfo {
    pub(crate) fn new(channels: usize, reduction: usize, module: impl Into<String>) -> Self {
        Self {
            channels,
            reduction,
            module: module.into(),
        }
    }
}

/// Collects the maps that a call of [`Model::feature_maps`] asks for while the backbone runs.
pub(crate) struct Taps<'a> {
    wanted: &'a [usize],
    maps: Vec<Option<Tensor>>,
    next: usize,
}

impl<'a> Taps<'a> {
    /// Collects nothing.
    pub fn none() -> Self {
        Self {
            wanted: &[],
            maps: Vec::new(),
            next: 0,
        }
    }

    /// Collects the maps at these indices into `info`.
    ///
    /// # Errors
    /// If an index is out of range.
    pub fn of(wanted: &'a [usize], info: &[FeatureInfo]) -> Result<Self> {
        if let Some(index) = wanted.iter().find(|index| **index >= info.len()) {
            bail!(
                "out_indices: {index} is out of range, there are {} maps",
                info.len()
            );
        }
        Ok(Self {
            wanted,
            maps: vec![None; wanted.len()],
            next: 0,
        })
    }

    /// Whether no map is wanted.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Takes the next map of the backbone, and keeps it if it is wanted.
    pub fn offer(&mut self, map: &Tensor) {
        for (slot, wanted) in self.maps.iter_mut().zip(self.wanted) {
            if *wanted == self.next {
                *slot = Some(map.clone());
            }
        }
        self.next += 1;
    }

    /// The maps in the order asked for.
    ///
    /// # Errors
    /// If the backbone offered fewer than it has.
    pub fn into_maps(self) -> Result<Vec<Tensor>> {
        let maps: Option<Vec<Tensor>> = self.maps.into_iter().collect();
        maps.ok_or_else(|| candle_core::Error::Msg("a feature map was not computed".to_string()))
    }
}

/// Replaces the classifier of a network that was built on `store`, as for fine-tuning on other
/// classes: timm's `reset_classifier`. Its initial weights are those that construction draws;
/// everything else keeps its values.
///
/// # Errors
/// If `num_classes` is 0.
pub fn reset_classifier(
    model: &mut dyn Model,
    num_classes: usize,
    store: &ParamStore,
) -> Result<()> {
    if num_classes == 0 {
        bail!("num_classes must be at least 1");
    }
    store.remove(model.classifier());
    model.replace_classifier(num_classes, store.var_builder())
}
