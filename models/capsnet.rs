//! CapsNet: Sabour et al., "Dynamic Routing Between Capsules" (2017, arXiv:1710.09829), section 4,
//! without the decoder that reconstructs the image.
//!
//! A 9x9 convolution to 256 channels, a second one of stride 2 whose channels are 32 kinds of
//! capsules of 8 values, squashed, and a capsule of 16 values for each class, to which they are
//! routed by agreement in three iterations. The logits are the lengths of these, from 0 to 1,
//! and are trained with the margin loss. The activation is that of the first convolution, ReLU
//! in the paper; the others squash.
//!
//! The paper's network takes 28x28 images, and 24x24 crops of CIFAR-10; for the whole 32x32 the
//! 6x6 capsules of each kind become 8x8. Dropout is of the first capsules, in front of the
//! routing.

use candle_core::{Module, Result, Tensor, bail};
use candle_mish::nn::{Act, Conv2d, Conv2dConfig, Dropout, record};
use candle_mish::ops::capsule::{dynamic_routing, length, squash};
use candle_mish::ops::{flatten_from, permute, reshape};
use candle_nn::{Init, ModuleT, VarBuilder};

use crate::layers::Layers;
use crate::registry::Entry;
use crate::{Model, Options};

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "capsnet",
    "capsnet",
    "arXiv:1710.09829",
    (31_585_536, 401_784_832),
    build,
)
.recipe(RECIPE)];

/// The paper's loss and optimizer.
const RECIPE: &str = "
loss = 'margin'
opt = 'adam'
lr = 0.001
weight_decay = 0.0
";

const CHANNELS: usize = 256;
const KERNEL: usize = 9;
/// Kinds of primary capsules, their values, and how many of a kind a 32x32 image has.
const KINDS: usize = 32;
const VALUES: usize = 8;
const PLACES: usize = 8 * 8;
const CAPSULES: usize = KINDS * PLACES;
/// Values of a class's capsule.
const CLASS_VALUES: usize = 16;
const ITERATIONS: usize = 3;
/// Where the matrices of the routing are.
const CLASSES: &str = "digit_caps";

/// A capsule for each class.
struct ClassCapsules {
    weight: Tensor,
    path: String,
}

impl ClassCapsules {
    fn new(classes: usize, vb: VarBuilder) -> Result<Self> {
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
        // Those of the predictions, once.
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

struct CapsNet {
    conv1: Conv2d,
    act1: Act,
    primary: Conv2d,
    dropout: Dropout,
    classes: ClassCapsules,
}

fn build(options: &Options, vb: VarBuilder) -> Result<Box<dyn Model>> {
    let layers = Layers::new(options, vb.clone());
    let conv = Conv2dConfig::same(KERNEL).padding(0).bias(true);
    let (conv1, primary) = (layers.pp("conv1"), layers.pp("primary_caps"));
    Ok(Box::new(CapsNet {
        conv1: conv1.conv(options.in_channels, CHANNELS, conv)?,
        act1: layers.pp("act1").act(CHANNELS)?,
        primary: primary.conv(CHANNELS, KINDS * VALUES, conv.stride(2))?,
        dropout: layers.dropout()?,
        classes: ClassCapsules::new(options.num_classes, vb.pp(CLASSES))?,
    }))
}

impl CapsNet {
    /// The primary capsules, [N, I, D].
    fn capsules(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.act1.forward_t(&self.conv1.forward(images)?, train)?;
        let x = self.primary.forward(&x)?;
        let (n, _, height, width) = x.dims4()?;
        if height * width != PLACES {
            let (_, _, height, width) = images.dims4()?;
            bail!("capsnet takes images of 32x32, no smaller or larger ones: {height}x{width}");
        }
        // The values of a capsule lie one behind the other in the channels.
        let x = reshape(&x, (n, KINDS, VALUES, PLACES))?;
        let x = permute(&x, &[0, 1, 3, 2])?;
        squash(&reshape(&x, (n, CAPSULES, VALUES))?)
    }
}

impl Model for CapsNet {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        flatten_from(&self.capsules(images, train)?, 1)
    }

    fn num_features(&self) -> usize {
        CAPSULES * VALUES
    }

    fn classifier(&self) -> &'static str {
        CLASSES
    }

    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()> {
        self.classes = ClassCapsules::new(num_classes, vb.pp(CLASSES))?;
        Ok(())
    }
}

impl ModuleT for CapsNet {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let capsules = self.capsules(images, train)?;
        let capsules = self.dropout.forward_t(&capsules, train)?;
        length(&self.classes.forward(&capsules)?)
    }
}
