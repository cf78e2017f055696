//! SimpleNet: Hasanpour et al., "Lets keep it simple, Using simple architectures to outperform
//! deeper and more complex architectures" (2016, arXiv:1608.06037), the network of 5.48 million
//! parameters for 32x32 images.
//!
//! Thirteen convolutions with batch norm, 3x3 except the eleventh and twelfth, which are 1x1. Max
//! pooling follows the fourth, seventh, ninth and twelfth. The classifier takes the maximum of each
//! plane. The authors' first PyTorch port also pooled after the tenth, by mistake as they write.
//! Dropout follows every pooling. Its rate is 0 by default; the paper has 0.1 to 0.3.

use candle_core::{Result, Tensor};
use candle_mish::ops::{Pool2dParams, global_avg_pool2d, max_pool2d};

use crate::chain::{Chain, GROUPS, Stages};
use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::layers::Layers;
use crate::model::{Model, Taps};

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "simplenet",
    "simplenet",
    "arXiv:1608.06037",
    (5_521_508, 652_174_336),
    build,
)
.groups(GROUPS)];

const STAGES: [&[(usize, usize)]; 5] = [
    &[(64, 3), (128, 3), (128, 3), (128, 3)],
    &[(128, 3), (128, 3), (256, 3)],
    &[(256, 3), (256, 3)],
    &[(512, 3), (2048, 1), (256, 1)],
    &[(256, 3)],
];

struct SimpleNet {
    convs: Chain,
}

fn build(root: Layers) -> Result<Box<dyn Model>> {
    let layers = root.with_norm(1e-5, 0.05);
    let stages: &Stages = &STAGES;
    let convs = Chain::new(stages, &layers)?;
    let (info, channels) = (convs.info.clone(), convs.channels);
    Classifier::boxed(SimpleNet { convs }, info, channels, "classifier", &layers)
}

impl Backbone for SimpleNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let x = self.convs.forward(images, train, taps)?;
        let (_, _, height, width) = x.dims4()?;
        let maximum = max_pool2d(&x, &Pool2dParams::new((height, width)))?;
        // Removes the two axes: the mean of one value is the value.
        global_avg_pool2d(&maximum)
    }
}
