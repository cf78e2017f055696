//! [`from_file`]: a network rebuilt from a file in one call.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Module, Tensor};
#[cfg(feature = "data")]
use candle_mish::data::Preprocess;
use candle_mish::nn::{ParamStore, forward_in_parts, forward_in_pool};
use candle_mish::ops::MemoryFormat;

use crate::context::BuildContext;
use crate::error::ModelError;
use crate::model::Model;
use crate::registry::{create, create_with};
use crate::spec::{ModelArgs, ModelSpec};
use crate::transfer::Transfer;
use crate::weights::error::LoadError;
use crate::weights::file::Weights;
use crate::weights::note::Note;

/// A network with trained weights. [`Module::forward`] maps normalised images [N, C, H, W] to
/// logits [N, num_classes].
pub struct Loaded {
    /// The network for evaluation: it records no graph.
    pub model: Box<dyn Model>,
    /// Its weights and statistics.
    pub store: ParamStore,
    /// The network's name, activation, classes and so on.
    pub spec: ModelSpec,
    /// The names of its classes, if they are recorded.
    pub classes: Option<Vec<String>>,
    /// How to prepare images: [`Weights::preprocess`].
    #[cfg(feature = "data")]
    pub preprocess: Preprocess,
    /// Where the weights come from: the file, or their address on the Hub with the commit.
    pub origin: String,
    /// The header of the checkpoint, completed from timm's description.
    pub metadata: BTreeMap<String, String>,
    /// What happened to each tensor.
    pub transfer: Transfer,
    /// What was assumed or changed.
    pub notes: Vec<Note>,
    /// Whether the layers of `model` arrange their weights once.
    constant: bool,
}

impl Loaded {
    /// The network for training, on the same weights.
    ///
    /// # Errors
    /// As [`create_with`].
    pub fn trainable(&self, context: &BuildContext) -> Result<Box<dyn Model>, ModelError> {
        create_with(&self.spec, context, self.store.var_builder())
    }
}

impl Loaded {
    /// Builds [`Loaded::model`] again, for weights that do not change any more: its layers arrange
    /// their weights once, with the first batch, and not with every batch, and on the CPU they keep
    /// images channels-last. [`Module::forward`] divides batches
    /// ([`forward_in_parts`]). Images take less time and the network more memory; the logits change
    /// by rounding.
    ///
    /// Load the file again to change the weights. Updates through [`Loaded::store`] would not be
    /// seen.
    ///
    /// ```no_run
    /// use candle_core::Device;
    /// use candle_mish_models::from_file;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = from_file("runs/silu/best.safetensors", &Device::Cpu)?.for_inference()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`create_with`].
    pub fn for_inference(self) -> Result<Self, ModelError> {
        let context = BuildContext {
            constant: true,
            memory_format: MemoryFormat::ChannelsLast,
            ..BuildContext::default()
        };
        let model = create_with(&self.spec, &context, self.store.frozen().var_builder())?;
        Ok(Self {
            model,
            constant: true,
            ..self
        })
    }
}

impl Module for Loaded {
    fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        match self.constant {
            true => forward_in_parts(&*self.model, images, self.store.num_params()),
            false => forward_in_pool(&*self.model, images),
        }
    }
}

/// Rebuilds the network of a checkpoint on `device`, in f32: a safetensors file that candle-mish
/// wrote, or a file that timm wrote (safetensors, `.bin` or `.pth`) with its `config.json` in the
/// same folder.
///
/// ```no_run
/// use candle_core::{Device, Module};
/// use candle_mish_models::from_file;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let images = candle_core::Tensor::zeros((1, 3, 32, 32), candle_core::DType::F32, &Device::Cpu)?;
/// let model = from_file("runs/silu/best.safetensors", &Device::Cpu)?;
/// let logits = model.forward(&images)?;
/// println!("{} on {:?}", model.spec, model.classes);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the file cannot be read, does not name its network, or does not fit it.
pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Loaded, LoadError> {
    from_file_with(path, &ModelArgs::default(), device)
}

/// As [`from_file`], with arguments that supplement or override what the file records. A file
/// without a header needs at least the model's name.
///
/// ```no_run
/// use candle_core::Device;
/// use candle_mish_models::{ModelArgs, from_file_with};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = from_file_with("resnet50.pth", &ModelArgs::named("resnet50"), &Device::Cpu)?;
/// for note in &model.notes {
///     eprintln!("{note}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`from_file`], or if `args` name another network than the file.
pub fn from_file_with(
    path: impl AsRef<Path>,
    args: &ModelArgs,
    device: &Device,
) -> Result<Loaded, LoadError> {
    let mut weights = Weights::read(path.as_ref())?;
    weights.assume_model(args.model.as_deref());
    weights.build(args, device)
}

impl Weights {
    /// Builds the network of these weights on `device`, in f32, and loads it.
    ///
    /// # Errors
    /// If the network cannot be built or a tensor does not fit.
    pub fn build(self, args: &ModelArgs, device: &Device) -> Result<Loaded, LoadError> {
        let (spec, assumed) = self.spec(args)?;
        self.check_recorded_sizes(&spec)?;
        let store = ParamStore::zeros(DType::F32, device);
        let trainable = create(&spec, store.var_builder())?;
        let transfer = self.load(&*trainable, &spec, &store)?;
        let classes = self.classes()?;
        #[cfg(feature = "data")]
        let preprocess = self.preprocess(&spec)?;
        let mut notes = self.notes.clone();
        notes.extend(assumed);
        notes.extend(Note::transferred(&self.origin, &transfer));
        #[cfg(feature = "data")]
        if !self.records_preprocess()? {
            notes.push(Note::assumed_preprocess(&self.origin, &preprocess));
        }
        Ok(Loaded {
            model: create(&spec, store.frozen().var_builder())?,
            store,
            spec,
            classes,
            #[cfg(feature = "data")]
            preprocess,
            origin: self.origin,
            metadata: self.checkpoint.metadata,
            transfer,
            notes,
            constant: false,
        })
    }
}
