//! CapsNet: Sabour et al., "Dynamic Routing Between Capsules" (2017, arXiv:1710.09829), section 4.
//!
//! A 9x9 convolution to 256 channels; a second one with stride 2, whose channels are 32 kinds of
//! capsules with 8 values, squashed; and a capsule with 16 values for each class. Routing by
//! agreement connects them in three iterations. The logits are the lengths of the class capsules,
//! from 0 to 1, and are trained with the margin loss. Only the first convolution has an activation,
//! ReLU in the paper.
//!
//! `capsnet_reconstruction` adds the decoder of section 4.1: three linear layers reconstruct the
//! image from the capsule of its class, and the loss gains 0.0005 of their squared error. Images
//! are normalised here and not in [0, 1], so the last layer is linear and has no sigmoid.
//! Evaluation does not run the decoder.
//!
//! The paper's network takes 28x28 images, and 24x24 crops of CIFAR-10. For 32x32 images there are
//! 8x8 capsules of each kind instead of 6x6. Dropout applies to the first capsules, before the
//! routing.

use candle_core::{Module, Result, Tensor, bail};
use candle_mish::nn::{Act, AuxiliaryLoss, Conv2d, Conv2dConfig, Dropout, Linear, record};
use candle_mish::ops::capsule::{dynamic_routing, length, squash};
use candle_mish::ops::{flatten_from, permute, reshape, scale_channels, squared_error};
use candle_nn::{Init, ModuleT, VarBuilder};

use crate::context::BuildContext;
use crate::entry::Entry;
use crate::groups::{GroupMatcher, Place};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Mode, Model, Taps};
use crate::spec::ModelSpec;

const FAMILY: &str = "capsnet";
const PAPER: &str = "arXiv:1710.09829";

pub(crate) const ENTRIES: [Entry; 2] = [
    Entry::new(FAMILY, FAMILY, PAPER, (31_585_536, 401_784_832), plain)
        .groups(GROUPS)
        .with_own_initialisation(OWN_INITIALISATION)
        .recipe(RECIPE),
    Entry::new(
        "capsnet_reconstruction",
        FAMILY,
        PAPER,
        (36_079_360, 401_784_832),
        reconstructing,
    )
    .groups(GROUPS)
    .with_own_initialisation(OWN_INITIALISATION)
    .recipe(RECIPE),
];

/// Each module is a layer.
const GROUPS: GroupMatcher = &[
    ("conv1.", &[Place::At(0)]),
    ("act1.", &[Place::At(1)]),
    ("primary_caps.", &[Place::At(2)]),
];

/// The routing weights: a matrix for each pair of capsules, not one weight of a convolution.
const OWN_INITIALISATION: &[&str] = &["digit_caps.weight"];

/// The paper's loss and optimizer.
const RECIPE: &str = "
loss = 'margin'
opt = 'adam'
lr = 0.001
weight_decay = 0.0
";

const CHANNELS: usize = 256;
const KERNEL: usize = 9;
/// The kinds of primary capsules, the values of a capsule, and the capsules of a kind for a 32x32
/// image.
const KINDS: usize = 32;
const VALUES: usize = 8;
const PLACES: usize = 8 * 8;
const CAPSULES: usize = KINDS * PLACES;
/// Values of a class capsule.
const CLASS_VALUES: usize = 16;
const ITERATIONS: usize = 3;
/// The limit of the number of classes. Each has 262,144 weights and 32,768 predictions per image.
const MOST_CLASSES: usize = 4000;
/// The path of the routing weights, and of the decoder, whose shape also depends on the classes.
const CLASSES: &str = "digit_caps";
/// Height and width of the images.
const SIDE: usize = 32;
/// Hidden values of the decoder.
const DECODER: [usize; 2] = [512, 1024];
/// The weight of the reconstruction's error in the loss.
const RECONSTRUCTION: f64 = 0.0005;

/// A capsule for each class.
struct ClassCapsules {
    weight: Tensor,
    path: String,
}

impl ClassCapsules {
    fn new(classes: usize, vb: VarBuilder) -> Result<Self> {
        if classes > MOST_CLASSES {
            bail!("capsnet has at most {MOST_CLASSES} classes, not {classes}");
        }
        let init = Init::Randn {
            mean: 0.0,
            stdev: 0.1,
        };
        let shape = (CAPSULES, VALUES, classes, CLASS_VALUES);
        Ok(Self {
            weight: vb.get_with_hints(shape, "weight", init)?,
            path: vb.prefix(),
        })
    }
}

impl Module for ClassCapsules {
    fn forward(&self, capsules: &Tensor) -> Result<Tensor> {
        let y = dynamic_routing(capsules, &self.weight, ITERATIONS)?;
        // The multiply-adds of the predictions, once.
        let multiply_adds = capsules.dim(0)? * self.weight.elem_count();
        record(
            &self.path,
            "ClassCapsules",
            &y,
            &[&self.weight],
            multiply_adds,
        );
        Ok(y)
    }
}

/// Reconstructs an image from the capsule of its class.
struct Decoder {
    hidden: [(Linear, Act); 2],
    last: Linear,
    classes: usize,
}

impl Decoder {
    fn new(classes: usize, root: &Layers) -> Result<Self> {
        let layers = root.pp(CLASSES).pp("decoder");
        let hidden = |index: usize, inputs: usize| {
            let outputs = DECODER[index];
            let linear = layers.pp(format!("fc{}", index + 1));
            let act = layers.pp(format!("act{}", index + 1));
            Ok::<_, candle_core::Error>((linear.linear(inputs, outputs)?, act.act(outputs)?))
        };
        let pixels = root.spec.in_chans * SIDE * SIDE;
        Ok(Self {
            hidden: [hidden(0, classes * CLASS_VALUES)?, hidden(1, DECODER[0])?],
            last: layers.pp("fc3").linear(DECODER[1], pixels)?,
            classes,
        })
    }

    /// The pixels [N, C H W] of the images whose classes are `labels` [N].
    fn decode(&self, capsules: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let (images, _, values) = capsules.dims3()?;
        let (dtype, device) = (capsules.dtype(), capsules.device());
        let on = Tensor::ones((images, 1), dtype, device)?;
        let mask = Tensor::zeros((images, self.classes), dtype, device)?;
        let mask = mask.scatter_add(&labels.unsqueeze(1)?, &on, 1)?;
        let capsules = reshape(capsules, (images, self.classes, values, 1))?;
        let mut x = flatten_from(&scale_channels(&capsules, &mask)?, 1)?;
        for (linear, act) in &self.hidden {
            x = act.forward_t(&linear.forward(&x)?, true)?;
        }
        self.last.forward(&x)
    }
}

struct CapsNet {
    spec: ModelSpec,
    context: BuildContext,
    info: [FeatureInfo; 2],
    conv1: Conv2d,
    act1: Act,
    primary: Conv2d,
    dropout: Dropout,
    classes: ClassCapsules,
    decoder: Option<Decoder>,
}

fn plain(root: Layers) -> Result<Box<dyn Model>> {
    Ok(Box::new(CapsNet::new(&root)?))
}

fn reconstructing(root: Layers) -> Result<Box<dyn Model>> {
    Ok(Box::new(CapsNet {
        decoder: Some(Decoder::new(root.spec.num_classes, &root)?),
        ..CapsNet::new(&root)?
    }))
}

impl CapsNet {
    /// Without a decoder.
    fn new(layers: &Layers) -> Result<Self> {
        let spec = layers.spec;
        let conv = Conv2dConfig::same(KERNEL).padding(0).bias(true);
        let (conv1, primary) = (layers.pp("conv1"), layers.pp("primary_caps"));
        Ok(Self {
            spec: spec.clone(),
            context: layers.context.clone(),
            info: [
                FeatureInfo::new(CHANNELS, 1, "act1"),
                FeatureInfo::new(KINDS * VALUES, 2, "primary_caps"),
            ],
            conv1: conv1.conv(spec.in_chans, CHANNELS, conv)?,
            act1: layers.pp("act1").act(CHANNELS)?,
            primary: primary.conv(CHANNELS, KINDS * VALUES, conv.stride(2))?,
            dropout: layers.dropout()?,
            classes: ClassCapsules::new(spec.num_classes, layers.vb.pp(CLASSES))?,
            decoder: None,
        })
    }

    /// The primary capsules, [N, I, D].
    fn capsules(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let x = self.act1.forward_t(&self.conv1.forward(images)?, train)?;
        taps.offer(&x);
        let x = self.primary.forward(&x)?;
        taps.offer(&x);
        let (n, _, height, width) = x.dims4()?;
        if height * width != PLACES {
            let (_, _, height, width) = images.dims4()?;
            bail!("capsnet takes 32x32 images only, not {height}x{width}");
        }
        // The values of a capsule are consecutive channels.
        let x = reshape(&x, (n, KINDS, VALUES, PLACES))?;
        let x = permute(&x, &[0, 1, 3, 2])?;
        squash(&reshape(&x, (n, CAPSULES, VALUES))?)
    }

    /// The capsules of the classes, [N, K, 16].
    fn class_capsules(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let capsules = self.capsules(images, mode.trains_backbone(), &mut Taps::none())?;
        let capsules = self
            .dropout
            .forward_t(&capsules, mode.trains_classifier())?;
        self.classes.forward(&capsules)
    }
}

impl Model for CapsNet {
    fn features(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let train = mode.trains_backbone();
        flatten_from(&self.capsules(images, train, &mut Taps::none())?, 1)
    }

    fn num_features(&self) -> usize {
        CAPSULES * VALUES
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
        self.capsules(images, mode.trains_backbone(), &mut taps)?;
        taps.into_maps()
    }

    fn classifier(&self) -> &'static str {
        CLASSES
    }

    fn forward_mode(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        length(&self.class_capsules(images, mode)?)
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        let root = Layers::new(&self.spec, &self.context, vb);
        let decoder = self.decoder.as_ref();
        let decoder = decoder.map(|_| Decoder::new(num_classes, &root));
        self.decoder = decoder.transpose()?;
        self.classes = ClassCapsules::new(num_classes, root.vb.pp(CLASSES))?;
        Ok(())
    }

    fn auxiliary(&self) -> Option<&dyn AuxiliaryLoss> {
        self.decoder.as_ref().map(|_| self as &dyn AuxiliaryLoss)
    }
}

impl ModuleT for CapsNet {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_mode(images, Mode::from_train(train))
    }
}

impl AuxiliaryLoss for CapsNet {
    fn forward_with_loss(&self, images: &Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some(decoder) = &self.decoder else {
            bail!("this capsnet has no decoder")
        };
        let capsules = self.class_capsules(images, Mode::Train)?;
        let reconstruction = decoder.decode(&capsules, labels)?;
        let error = squared_error(&reconstruction, &images.flatten_from(1)?, RECONSTRUCTION)?;
        Ok((length(&capsules)?, error))
    }
}
