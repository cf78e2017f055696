//! Batches, prepared ahead by a thread.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use super::augment::{Augmentation, Normaliser, Placement, mean_colour};
use super::batch::Batch;
use super::erasing;
use super::error::DataError;
use super::flip::{FlipMode, alternates};
use super::image::Image;
use super::image_sizes::ImageSizes;
use super::images::ImageSet;
use super::input_noise::add_noise;
use super::mixup::Mixup;
use super::order::Order;
use super::preprocess::Preprocess;
use super::random::Draw;
use super::resample::{Interpolation, resize};
use super::shard::Shard;
use crate::rng::Generator;

/// Batches ready for the consumer: enough to hide a slow batch, with little memory.
const QUEUE: usize = 2;
/// The most values of a batch: 8 GiB.
const LARGEST_BATCH: usize = 1 << 31;

/// The configuration of a [`Loader`].
#[derive(Debug, Clone)]
pub struct LoaderConfig {
    /// Images in a batch; 0 counts as 1.
    pub batch_size: usize,
    /// Whether each epoch has a new random order. Otherwise the images keep the order of the set.
    pub shuffle: bool,
    /// Whether to drop the last batch if it is not full. A set that is smaller than one batch still
    /// makes one batch of all its images.
    pub drop_last: bool,
    /// Random changes to the images.
    pub augmentation: Augmentation,
    /// Mixup and CutMix of the batches.
    pub mixup: Option<Mixup>,
    /// Repeated augmentation (Hoffer et al., 2020), as timm's `RepeatAugSampler`: how often each image
    /// occurs in a row, augmented differently. An epoch keeps its number of images, and so has a part
    /// of the set only, rounded down to 256 images. 0 and 1 are each image once.
    pub aug_repeats: usize,
    /// The size of the images by epoch. If none, or in a set of another size, the images are scaled to
    /// it as by Pillow's bilinear filter; image files are decoded to it.
    pub train_img_sizes: Option<ImageSizes>,
    /// The mean of each channel, of pixels in [0, 1], to subtract. Grey images use the averages over
    /// the channels.
    pub mean: [f32; 3],
    /// The standard deviation of each channel, to divide by.
    pub std: [f32; 3],
    /// The seed of order and augmentation.
    pub seed: u64,
}

impl LoaderConfig {
    /// Batches for evaluation: every image in the order of the set, without augmentation.
    pub fn in_order(batch_size: usize, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self {
            batch_size,
            shuffle: false,
            drop_last: false,
            augmentation: Augmentation::none(),
            mixup: None,
            aug_repeats: 0,
            train_img_sizes: None,
            mean,
            std,
            seed: 0,
        }
    }

    /// A new random order in every epoch, and full batches only, or one smaller batch if the set is
    /// smaller than a batch.
    pub fn shuffled(self) -> Self {
        Self {
            shuffle: true,
            drop_last: true,
            ..self
        }
    }
}

/// Makes the batches of a data set, epoch by epoch.
///
/// Order and augmentation depend only on the seed, the epoch and the position in it. An epoch that
/// starts at a later batch therefore has exactly the same remaining batches.
#[derive(Debug, Clone)]
pub struct Loader {
    shared: Arc<Shared>,
    device: Device,
    shard: Shard,
}

#[derive(Debug)]
struct Shared {
    images: ImageSet,
    config: LoaderConfig,
    normaliser: Normaliser,
}

impl Loader {
    /// A loader of `images`.
    pub fn new(images: ImageSet, config: LoaderConfig) -> Self {
        let normaliser = Normaliser::new(config.mean, config.std, images.channels());
        Self {
            shared: Arc::new(Shared {
                images,
                config,
                normaliser,
            }),
            device: Device::Cpu,
            shard: Shard::WHOLE,
        }
    }

    /// The same loader with batches on `device`.
    pub fn on(self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            ..self
        }
    }

    /// The part of this loader for process `rank` of `ranks`: its batches are neighbouring images of each batch,
    /// as many for each rank if `ranks` divides the batch. The parts of all ranks are the batch, with
    /// the same order and augmentation. A part may be empty.
    pub fn shard(&self, rank: usize, ranks: usize) -> Self {
        Self {
            shard: self.shard.part(rank, ranks),
            ..self.clone()
        }
    }

    /// The images of the first batch of an epoch that `ranks` does not divide, if there is one.
    pub fn indivisible_batch(&self, ranks: usize) -> Option<usize> {
        let (batches, size) = (self.batches_per_epoch(), self.shared.batch_size());
        let last = self.images_per_epoch() - batches.saturating_sub(1) * size;
        let sizes = [(batches > 1).then_some(size), Some(last)];
        let mut sizes = sizes.into_iter().flatten();
        sizes.find(|size| !size.is_multiple_of(ranks))
    }

    /// The same loader for `count` images drawn at random, in the order of the set, or for all images
    /// if there are fewer.
    pub fn sample(&self, count: usize, seed: u64) -> Self {
        self.split(count, seed).0
    }

    /// [`Loader::sample`], and the same loader for the other images.
    pub fn split(&self, count: usize, seed: u64) -> (Self, Self) {
        let images = self.images();
        let select = |positions: &[usize]| {
            Self::new(images.select(positions), self.shared.config.clone()).on(&self.device)
        };
        if count >= images.len() {
            return (self.clone(), select(&[]));
        }
        let generator = Generator::named(seed, "sample");
        let drawn = rand::seq::index::sample(&mut *generator.lock(), images.len(), count);
        let mut positions = drawn.into_vec();
        positions.sort_unstable();
        let rest = (0..images.len()).filter(|i| positions.binary_search(i).is_err());
        (select(&positions), select(&rest.collect::<Vec<_>>()))
    }

    /// The number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.shared.batches()
    }

    /// The number of images that the batches of one epoch hold.
    pub fn images_per_epoch(&self) -> usize {
        let size = self.shared.batch_size();
        (self.shared.batches() * size).min(self.shared.order().len())
    }

    /// Height and width of the images of an epoch, counted from 0.
    pub fn image_size(&self, epoch: u64) -> (usize, usize) {
        self.shared.size(epoch)
    }

    /// The images.
    pub fn images(&self) -> &ImageSet {
        &self.shared.images
    }

    /// The batches of an epoch from `first_batch` on, prepared ahead on another thread. Dropping the
    /// iterator ends that thread.
    ///
    /// # Errors
    /// An item is an error if a batch is too large, a file cannot be decoded, a tensor cannot be made
    /// or the thread cannot start. It is then the last item.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::clone(&self.shared);
        let (batches, shard) = (shared.batches(), self.shard);
        let worker = std::thread::Builder::new()
            .name("data-loader".to_owned())
            .spawn(move || {
                let order = shared.order().of_epoch(shared.config.seed, epoch);
                for index in first_batch..batches {
                    let batch = shared.batch(&order, epoch, index, shard);
                    let failed = batch.is_err();
                    // The consumer has dropped the iterator.
                    if sender.send(batch).is_err() || failed {
                        break;
                    }
                }
            });
        let remaining = batches.saturating_sub(first_batch);
        match worker {
            Ok(worker) => Epoch {
                receiver: Some(receiver),
                worker: Some(worker),
                remaining,
                device: self.device.clone(),
                failure: None,
            },
            Err(error) => Epoch {
                receiver: None,
                worker: None,
                remaining,
                device: self.device.clone(),
                failure: Some(candle_core::Error::wrap(error)),
            },
        }
    }
}

impl Shared {
    fn batch_size(&self) -> usize {
        self.config.batch_size.max(1)
    }

    fn batches(&self) -> usize {
        let (images, size) = (self.order().len(), self.batch_size());
        if self.config.drop_last && images >= size {
            images / size
        } else {
            images.div_ceil(size)
        }
    }

    fn order(&self) -> Order {
        Order {
            images: self.images.len(),
            shuffle: self.config.shuffle,
            repeats: self.config.aug_repeats,
        }
    }

    /// Height and width of the images in the set.
    fn full_size(&self) -> (usize, usize) {
        (self.images.height(), self.images.width())
    }

    /// Height and width of the images of an epoch.
    fn size(&self, epoch: u64) -> (usize, usize) {
        let sizes = self.config.train_img_sizes.as_ref();
        sizes.map_or(self.full_size(), |sizes| (sizes.at(epoch), sizes.at(epoch)))
    }

    /// Whether an image takes long enough to prepare several at the same time.
    fn is_slow(&self, epoch: u64) -> bool {
        self.images.preprocess().is_some()
            || self.size(epoch) != self.full_size()
            || self.config.augmentation.pixels.is_active()
    }

    fn batch(&self, order: &[usize], epoch: u64, index: usize, shard: Shard) -> Result<Batch> {
        let size = self.batch_size();
        let first = index * size;
        let whole = &order[first..order.len().min(first.saturating_add(size))];
        let mixup = self.config.mixup.filter(|mixup| mixup.mixes(epoch));
        let part = shard.of(whole.len());
        // Mixup takes images from the whole batch.
        let made = match mixup {
            Some(_) => 0..whole.len(),
            None => part.clone(),
        };
        let (first, chosen) = (first + made.start, &whole[made]);
        let (height, width) = self.size(epoch);
        let channels = self.images.channels();
        let pixels = channels * height * width;
        let count = chosen.len().checked_mul(pixels);
        let Some(count) = count.filter(|count| *count <= LARGEST_BATCH) else {
            bail!(
                "batch_size is {}, too large for images of {channels} x {height} x {width}: a batch \
                 may take 8 GiB",
                chosen.len()
            );
        };
        let mut values = vec![0.0; count];
        let make = |(place, (&image, out)): (usize, (&usize, &mut [f32]))| {
            self.image(image, epoch, first + place, out)
        };
        let size = pixels.max(1);
        if self.is_slow(epoch) {
            let pairs = chosen.par_iter().zip(values.par_chunks_exact_mut(size));
            pairs.enumerate().try_for_each(make)
        } else {
            let pairs = chosen.iter().zip(values.chunks_exact_mut(size));
            pairs.enumerate().try_for_each(make)
        }
        .map_err(|error: DataError| candle_core::Error::msg(error.with_causes()))?;
        let labels: Vec<u32> = chosen.iter().map(|&i| self.images.labels()[i]).collect();
        let count = chosen.len();
        let targets = mixup.map(|mixup| {
            let draw = |place: usize| {
                let place = (first + place) as u64;
                Draw::named(&[self.config.seed, epoch, place], "mixup")
            };
            mixup.apply(&mut values, &labels, channels, (height, width), draw)
        });
        let targets = targets.transpose()?;
        let batch = Batch {
            images: Tensor::from_vec(values, (count, channels, height, width), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, count, &Device::Cpu)?,
            targets,
            index,
        };
        match mixup {
            Some(_) => batch.narrow(part),
            None => Ok(batch),
        }
    }
}

impl Shared {
    /// Writes an image `[channels, height, width]`, augmented by its position in the epoch.
    fn image(
        &self,
        image: usize,
        epoch: u64,
        place: usize,
        out: &mut [f32],
    ) -> std::result::Result<(), DataError> {
        let augmentation = &self.config.augmentation;
        let (size, channels) = (self.size(epoch), self.images.channels());
        let keys = [self.config.seed, epoch, place as u64];
        let mut bytes = self.placed(image, epoch, &mut Draw::new(&keys))?;
        if augmentation.pixels.is_active() {
            let mut image = Image::from_parts(bytes.into_owned(), size.0, size.1);
            let fill = mean_colour(self.config.mean, channels);
            let mut draw = Draw::named(&keys, "pixels");
            augmentation.pixels.apply(&mut image, fill, &mut draw);
            bytes = image.into_pixels().into();
        }
        self.normaliser.apply(&bytes, out);
        if augmentation.input_noise > 0.0 {
            let mut draw = Draw::named(&keys, "input_noise");
            add_noise(out, augmentation.input_noise, &mut draw);
        }
        if let Some(erasing) = &augmentation.erasing {
            erasing.apply(out, channels, size, &mut Draw::named(&keys, "erasing"));
        }
        if augmentation.cutout > 0 {
            let side = augmentation.cutout * size.0 / self.full_size().0.max(1);
            erasing::cutout(out, channels, size, side, &mut Draw::named(&keys, "cutout"));
        }
        Ok(())
    }

    /// The bytes of an image after the random crop and the flip, in the size of the epoch.
    fn placed(
        &self,
        image: usize,
        epoch: u64,
        draw: &mut Draw,
    ) -> std::result::Result<Cow<'_, [u8]>, DataError> {
        let augmentation = &self.config.augmentation;
        let (size, full) = (self.size(epoch), self.full_size());
        if let Some(crop) = &augmentation.resized_crop
            && let Some((decoded, preprocess)) = self.images.decoded(image)?
        {
            let preprocess = Preprocess {
                input_size: size.0,
                ..*preprocess
            };
            let bytes = preprocess.random_pixels(&decoded, crop, draw);
            let placement = self.placement(0, image, epoch, draw);
            return Ok(placement.apply(&bytes, size, augmentation.pad_mode).into());
        }
        let mut bytes = self.images.image(image)?;
        if augmentation.crop_padding > 0 || augmentation.hflip > 0.0 {
            let placement = self.placement(augmentation.crop_padding, image, epoch, draw);
            bytes = placement.apply(&bytes, full, augmentation.pad_mode).into();
        }
        if size != full {
            let image = Image::from_parts(bytes.into_owned(), full.0, full.1);
            let all = (0..size.0, 0..size.1);
            bytes = resize(&image, size, all, Interpolation::Bilinear)
                .into_pixels()
                .into();
        }
        Ok(bytes)
    }

    fn placement(&self, padding: usize, image: usize, epoch: u64, draw: &mut Draw) -> Placement {
        let augmentation = &self.config.augmentation;
        let placement = Placement::draw(padding, augmentation.hflip, draw);
        match augmentation.flip_mode {
            FlipMode::Alternating if augmentation.hflip > 0.0 => {
                placement.mirrored(alternates(self.config.seed, image, epoch))
            }
            _ => placement,
        }
    }
}

/// An iterator over the batches of an epoch; see [`Loader::epoch`].
#[derive(Debug)]
pub struct Epoch {
    receiver: Option<Receiver<Result<Batch>>>,
    worker: Option<JoinHandle<()>>,
    remaining: usize,
    device: Device,
    failure: Option<candle_core::Error>,
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let received = self.receiver.as_ref().and_then(|queue| queue.recv().ok());
        if let Some(Ok(batch)) = received {
            let batch = batch.on(&self.device);
            self.remaining = if batch.is_ok() { self.remaining - 1 } else { 0 };
            return Some(batch);
        }
        // The thread died with batches left. An error, so that the epoch does not look complete.
        self.remaining = 0;
        let failure = self.failure.take();
        Some(received.unwrap_or_else(|| {
            Err(failure.unwrap_or_else(|| {
                candle_core::Error::Msg("the data loader's thread ended early".to_owned())
            }))
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // Without a receiver, the next send of the thread fails and the thread ends.
        drop(self.receiver.take());
        if let Some(worker) = self.worker.take() {
            // A panic of the thread has already been reported.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::RandomErasing;

    /// Images are prepared on several threads, each with draws of its own place.
    #[test]
    fn batches_do_not_depend_on_the_number_of_threads() {
        let pixels = (0..40 * 3 * 64).map(|i| (i * i / 5) as u8).collect();
        let labels: Vec<u32> = (0..40).collect();
        let images = ImageSet::new(pixels, 8, 8, labels, None).expect("images");
        let config = LoaderConfig {
            augmentation: Augmentation {
                erasing: Some(RandomErasing {
                    prob: 0.5,
                    mode: Default::default(),
                    count: 2,
                }),
                ..Augmentation::default()
            },
            train_img_sizes: Some("0:5".parse().expect("sizes")),
            ..LoaderConfig::in_order(40, [0.5; 3], [0.2; 3]).shuffled()
        };
        let shared = Loader::new(images, config).shared;
        assert!(shared.is_slow(0));
        let order = shared.order().of_epoch(0, 0);
        let values = |threads| -> Vec<u32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().expect("threads");
            let batch = pool
                .install(|| shared.batch(&order, 0, 0, Shard::WHOLE))
                .expect("a batch");
            let values = batch.images.flatten_all().and_then(|v| v.to_vec1::<f32>());
            values
                .expect("values")
                .iter()
                .map(|v| v.to_bits())
                .collect()
        };
        let one = values(1);
        assert_eq!(one, values(2));
        assert_eq!(one, values(7));
    }
}
