//! Batches, prepared ahead by a thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use super::augment::{Augmentation, Normaliser, Placement};
use super::batch::Batch;
use super::error::DataError;
use super::images::ImageSet;
use super::random::Draw;
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
        }
    }

    /// The same loader with batches on `device`.
    pub fn on(self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            ..self
        }
    }

    /// The same loader for `count` images drawn at random, in the order of the set, or for all images
    /// if there are fewer.
    pub fn sample(&self, count: usize, seed: u64) -> Self {
        let images = self.images();
        if count >= images.len() {
            return self.clone();
        }
        let generator = Generator::named(seed, "sample");
        let drawn = rand::seq::index::sample(&mut *generator.lock(), images.len(), count);
        let mut positions = drawn.into_vec();
        positions.sort_unstable();
        Self::new(images.select(&positions), self.shared.config.clone()).on(&self.device)
    }

    /// The number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.shared.batches()
    }

    /// The number of images that the batches of one epoch hold.
    pub fn images_per_epoch(&self) -> usize {
        let size = self.shared.batch_size();
        (self.shared.batches() * size).min(self.shared.images.len())
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
        let batches = shared.batches();
        let worker = std::thread::Builder::new()
            .name("data-loader".to_owned())
            .spawn(move || {
                let order = shared.order(epoch);
                for index in first_batch..batches {
                    let batch = shared.batch(&order, epoch, index);
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
        let (images, size) = (self.images.len(), self.batch_size());
        if self.config.drop_last && images >= size {
            images / size
        } else {
            images.div_ceil(size)
        }
    }

    /// The order of the images in an epoch.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let images = self.images.len();
        if self.config.shuffle {
            Draw::new(&[self.config.seed, epoch]).permutation(images)
        } else {
            (0..images).collect()
        }
    }

    fn batch(&self, order: &[usize], epoch: u64, index: usize) -> Result<Batch> {
        let size = self.batch_size();
        let first = index * size;
        let chosen = &order[first..order.len().min(first.saturating_add(size))];
        let (height, width) = (self.images.height(), self.images.width());
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
        if self.images.preprocess().is_some() {
            // Decoding is slow enough for parallel work.
            let pairs = chosen.par_iter().zip(values.par_chunks_exact_mut(size));
            pairs.enumerate().try_for_each(make)
        } else {
            let pairs = chosen.iter().zip(values.chunks_exact_mut(size));
            pairs.enumerate().try_for_each(make)
        }
        .map_err(|error: DataError| candle_core::Error::msg(error.with_causes()))?;
        let labels: Vec<u32> = chosen.iter().map(|&i| self.images.labels()[i]).collect();
        let count = chosen.len();
        Ok(Batch {
            images: Tensor::from_vec(values, (count, channels, height, width), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, count, &Device::Cpu)?,
            targets: None,
            index,
        })
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
        let size = (self.images.height(), self.images.width());
        let augmentation = &self.config.augmentation;
        let mut draw = Draw::new(&[self.config.seed, epoch, place as u64]);
        if let Some(crop) = &augmentation.resized_crop
            && let Some((decoded, preprocess)) = self.images.decoded(image)?
        {
            let bytes = preprocess.random_pixels(&decoded, crop, &mut draw);
            let flip = Augmentation {
                crop_padding: 0,
                ..augmentation.clone()
            };
            let placement = Placement::draw(&flip, &mut draw);
            self.normaliser
                .augmented(&bytes, size, &flip, placement, out);
            return Ok(());
        }
        let bytes = self.images.image(image)?;
        if augmentation.crop_padding == 0 && augmentation.hflip <= 0.0 {
            self.normaliser.plain(&bytes, out);
        } else {
            let placement = Placement::draw(augmentation, &mut draw);
            self.normaliser
                .augmented(&bytes, size, augmentation, placement, out);
        }
        Ok(())
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
