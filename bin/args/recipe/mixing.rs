//! Flags for mixed batches, erased images, and the order and size of training images.

use candle_mish::data::{EraseMode, FlipMode, ImageSizes, MixupMode};
use candle_mish::train::Recipe;
use clap::Args;

use crate::args::named::named;
use crate::args::range::{finite, whole};
use crate::args::set::{replace, set};

const AUGMENTATION: &str = "Augmentation";

/// Flags for mixed batches, erased images, and the order and size of training images.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Mixing and erasing")]
pub struct MixingArgs {
    /// How the images to flip are chosen: random, or alternating, where each image is flipped in every
    /// other epoch [default: random]
    #[arg(long, value_name = "MODE", help_heading = AUGMENTATION, value_parser = named::<FlipMode>)]
    pub flip_mode: Option<FlipMode>,
    /// Repeated augmentation: use each image N times in a row, augmented differently. An epoch
    /// keeps its length, so it sees 1/N of the images [default: 0, all images once]
    #[arg(long, value_name = "N", help_heading = AUGMENTATION, value_parser = whole)]
    pub aug_repeats: Option<usize>,
    /// Size of training images by epoch: 0:20,4:28,8:32 is 20 pixels in the first 4 epochs, 28 in the
    /// next 4, then 32. Evaluation uses the full size [default: the full size]
    #[arg(long, value_name = "EPOCH:PIXELS,..", help_heading = AUGMENTATION)]
    pub train_img_sizes: Option<ImageSizes>,
    /// Mixup: alpha of the Beta distribution, or 0 for no mixup [default: 0]
    #[arg(long, value_name = "ALPHA", value_parser = finite)]
    pub mixup: Option<f64>,
    /// CutMix: alpha of the Beta distribution, or 0 for no CutMix [default: 0]
    #[arg(long, value_name = "ALPHA", value_parser = finite)]
    pub cutmix: Option<f64>,
    /// CutMix: smallest and largest side of the rectangle, as shares of the image's, instead of alpha
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2, value_parser = finite)]
    pub cutmix_minmax: Option<Vec<f64>>,
    /// Probability of mixup or CutMix [default: 1]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub mixup_prob: Option<f64>,
    /// Probability of CutMix if mixup is on too [default: 0.5]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub mixup_switch_prob: Option<f64>,
    /// Images that share a draw of mixup or CutMix: batch, pair or elem [default: batch]
    #[arg(long, value_name = "MODE", value_parser = named::<MixupMode>)]
    pub mixup_mode: Option<MixupMode>,
    /// Turn off mixup and CutMix after N epochs, or 0 for never [default: 0]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub mixup_off_epoch: Option<usize>,
    /// Random erasing: probability that an image is erased [default: 0]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub reprob: Option<f64>,
    /// Values of erased pixels: const (the mean), rand (a random colour) or pixel (noise) [default:
    /// pixel]
    #[arg(long, value_name = "MODE", value_parser = named::<EraseMode>)]
    pub remode: Option<EraseMode>,
    /// Maximum number of erased rectangles per image [default: 1]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub recount: Option<usize>,
    /// Cutout: side of a square to erase with the mean in every image, or 0 for none [default: 0]
    #[arg(long, value_name = "PIXELS", value_parser = whole)]
    pub cutout: Option<usize>,
    /// Standard deviation of Gaussian noise on normalised training images [default: 0]
    #[arg(long, value_name = "SIGMA", help_heading = AUGMENTATION, value_parser = finite)]
    pub input_noise: Option<f64>,
}

impl MixingArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        let pair = |values: &Option<Vec<f64>>| values.as_deref()?.try_into().ok();
        set(&mut recipe.flip_mode, self.flip_mode);
        set(&mut recipe.aug_repeats, self.aug_repeats);
        replace(&mut recipe.train_img_sizes, &self.train_img_sizes);
        set(&mut recipe.mixup, self.mixup);
        set(&mut recipe.cutmix, self.cutmix);
        replace(&mut recipe.cutmix_minmax, &pair(&self.cutmix_minmax));
        replace(&mut recipe.mixup_prob, &self.mixup_prob);
        replace(&mut recipe.mixup_switch_prob, &self.mixup_switch_prob);
        replace(&mut recipe.mixup_mode, &self.mixup_mode);
        // As in timm, 0 is never.
        match self.mixup_off_epoch {
            Some(0) => recipe.mixup_off_epoch = None,
            given => replace(&mut recipe.mixup_off_epoch, &given),
        }
        set(&mut recipe.reprob, self.reprob);
        replace(&mut recipe.remode, &self.remode);
        replace(&mut recipe.recount, &self.recount);
        set(&mut recipe.cutout, self.cutout);
        set(&mut recipe.input_noise, self.input_noise);
    }
}
