//! Labelled images, in memory or in files.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::DecodeOptions;
use super::error::DataError;
use super::image::{Image, luma};
use super::preprocess::Preprocess;
use super::resample::{Interpolation, resize};

/// Images of one size with their labels: RGB bytes `[N, 3, height, width]`, planar, in C order, or
/// [`grey`](Self::grey) bytes.
///
/// The pixels are in memory, in RGB or in grey, or each image is a file of any size that is decoded and resized on
/// each access. Clones and subsets share the pixels.
#[derive(Clone)]
pub struct ImageSet {
    source: Source,
    /// The position of each image in the source; `None` is 0, 1, 2, ...
    index: Option<Arc<[u32]>>,
    labels: Arc<[u32]>,
    coarse_labels: Option<Arc<[u32]>>,
    height: usize,
    width: usize,
    /// Whether images are converted to grey on access.
    grey: bool,
}

#[derive(Clone)]
enum Source {
    /// Pixels with this number of channels: 3 or 1.
    Memory(Arc<Vec<u8>>, usize),
    Files(Arc<[PathBuf]>, Preprocess, DecodeOptions),
}

impl ImageSet {
    /// A set of N = `labels.len()` images with `pixels` `[N, 3, height, width]`, planar, in RGB order.
    ///
    /// # Errors
    /// If the number of bytes or of coarse labels is wrong.
    pub fn new(
        pixels: Vec<u8>,
        height: usize,
        width: usize,
        labels: Vec<u32>,
        coarse_labels: Option<Vec<u32>>,
    ) -> Result<Self, DataError> {
        check(&pixels, [3, height, width], &labels, coarse_labels.as_ref())?;
        Ok(Self::from_parts(
            pixels,
            height,
            width,
            labels,
            coarse_labels,
        ))
    }

    /// A set of N = `labels.len()` [`grey`](Self::grey) images with `pixels` `[N, 1, height, width]`.
    ///
    /// # Errors
    /// If the number of bytes is wrong.
    pub fn new_grey(
        pixels: Vec<u8>,
        height: usize,
        width: usize,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        check(&pixels, [1, height, width], &labels, None)?;
        Ok(Self {
            source: Source::Memory(Arc::new(pixels), 1),
            grey: true,
            ..Self::from_parts(Vec::new(), height, width, labels, None)
        })
    }

    /// [`new`](Self::new) without checks.
    pub(super) fn from_parts(
        pixels: Vec<u8>,
        height: usize,
        width: usize,
        labels: Vec<u32>,
        coarse_labels: Option<Vec<u32>>,
    ) -> Self {
        Self {
            source: Source::Memory(Arc::new(pixels), 3),
            index: None,
            labels: labels.into(),
            coarse_labels: coarse_labels.map(Into::into),
            height,
            width,
            grey: false,
        }
    }

    /// A set of files, each with a label, that `preprocess` brings to one size.
    pub(super) fn from_files(
        files: Vec<PathBuf>,
        labels: Vec<u32>,
        preprocess: Preprocess,
        decode: DecodeOptions,
    ) -> Self {
        Self {
            source: Source::Files(files.into(), preprocess, decode),
            index: None,
            labels: labels.into(),
            coarse_labels: None,
            height: preprocess.input_size,
            width: preprocess.input_size,
            grey: false,
        }
    }

    /// The same images in grey, with one channel, as Pillow's `convert("L")` computes it.
    pub fn grey(&self) -> Self {
        Self {
            grey: true,
            ..self.clone()
        }
    }

    /// The same images with three channels. The channels of an image that is stored in grey are equal.
    pub fn colour(&self) -> Self {
        Self {
            grey: false,
            ..self.clone()
        }
    }

    /// 3, or 1 if the images are grey.
    pub fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The height of every image, in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The width of every image, in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes of one image, `[channels, height, width]`.
    ///
    /// # Errors
    /// If the file of the image cannot be read or decoded. The error names the file.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn image(&self, i: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let at = self.position(i);
        match &self.source {
            Source::Memory(pixels, channels) => {
                let bytes = channels * self.height * self.width;
                let image = &pixels[at * bytes..(at + 1) * bytes];
                Ok(match (channels, self.channels()) {
                    (3, 1) => Cow::Owned(luma(image)),
                    (1, 3) => Cow::Owned(image.repeat(3)),
                    _ => Cow::Borrowed(image),
                })
            }
            Source::Files(files, preprocess, decode) => {
                let image = self.read(&files[at], *decode)?;
                Ok(Cow::Owned(preprocess.pixels(&image)?))
            }
        }
    }

    /// The decoded file of an image and its preprocessing, if the set has files.
    ///
    /// # Errors
    /// As [`image`](Self::image).
    pub(super) fn decoded(&self, i: usize) -> Result<Option<(Image, &Preprocess)>, DataError> {
        match &self.source {
            Source::Memory(..) => Ok(None),
            Source::Files(files, preprocess, decode) => {
                let image = self.read(&files[self.position(i)], *decode)?;
                Ok(Some((image, preprocess)))
            }
        }
    }

    /// An image of the set, scaled down so that its sides have at most `most` pixels.
    ///
    /// # Errors
    /// As [`image`](Self::image).
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn thumbnail(&self, i: usize, most: usize) -> Result<Image, DataError> {
        let image = Image::from_parts(self.image(i)?.into_owned(), self.height, self.width);
        let longest = self.height.max(self.width);
        if longest <= most {
            return Ok(image);
        }
        let scaled = |side: usize| (side * most / longest).max(1);
        let (height, width) = (scaled(self.height), scaled(self.width));
        let whole = (0..height, 0..width);
        Ok(resize(
            &image,
            (height, width),
            whole,
            Interpolation::Bilinear,
        ))
    }

    /// The files of the images, if the set has files.
    pub fn files(&self) -> Option<Vec<&Path>> {
        match &self.source {
            Source::Memory(..) => None,
            Source::Files(files, ..) => {
                let files = (0..self.len()).map(|i| files[self.position(i)].as_path());
                Some(files.collect())
            }
        }
    }

    /// The preprocessing of the files, if the set has files.
    pub fn preprocess(&self) -> Option<&Preprocess> {
        match &self.source {
            Source::Memory(..) => None,
            Source::Files(_, preprocess, _) => Some(preprocess),
        }
    }

    fn position(&self, i: usize) -> usize {
        self.index.as_ref().map_or(i, |index| index[i] as usize)
    }

    fn read(&self, path: &Path, decode: DecodeOptions) -> Result<Image, DataError> {
        let image = Image::read_with(path, decode);
        let image = image.map_err(|error| DataError::BadImage {
            path: path.to_owned(),
            problem: error.problem(),
        })?;
        Ok(if self.grey { image.into_grey() } else { image })
    }

    /// The (fine) label of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The coarse label of each image, if the data set has coarse labels.
    pub fn coarse_labels(&self) -> Option<&[u32]> {
        self.coarse_labels.as_deref()
    }

    /// The first `n` images, or all if there are fewer.
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        Self {
            source: self.source.clone(),
            index: self.index.as_ref().map(|index| index[..n].into()),
            labels: self.labels[..n].into(),
            coarse_labels: self.coarse_labels.as_ref().map(|coarse| coarse[..n].into()),
            height: self.height,
            width: self.width,
            grey: self.grey,
        }
    }

    /// The images at `positions`, in that order.
    ///
    /// # Panics
    /// If a position is not below [`len`](Self::len).
    pub fn select(&self, positions: &[usize]) -> Self {
        let gather = |values: &[u32]| positions.iter().map(|&i| values[i]).collect();
        let index = match &self.index {
            Some(index) => gather(index),
            None => positions.iter().map(|&i| i as u32).collect(),
        };
        Self {
            source: self.source.clone(),
            index: Some(index),
            labels: gather(&self.labels),
            coarse_labels: self.coarse_labels.as_deref().map(gather),
            height: self.height,
            width: self.width,
            grey: self.grey,
        }
    }
}

impl ImageSet {
    /// The images to whose label `label` gives a new one, with that label. The others are left out.
    pub(super) fn relabelled(&self, label: impl Fn(u32) -> Option<u32>) -> Self {
        let new: Vec<Option<u32>> = self.labels.iter().map(|old| label(*old)).collect();
        let kept: Vec<usize> = (0..new.len()).filter(|&i| new[i].is_some()).collect();
        let set = if kept.len() == self.len() {
            self.clone()
        } else {
            self.select(&kept)
        };
        Self {
            labels: new.into_iter().flatten().collect(),
            ..set
        }
    }
}

/// Refuses pixels that do not make one image of `shape` for each label.
fn check(
    pixels: &[u8],
    shape: [usize; 3],
    labels: &[u32],
    coarse_labels: Option<&Vec<u32>>,
) -> Result<(), DataError> {
    let images = labels.len();
    let bytes = shape
        .iter()
        .try_fold(images, |product, size| product.checked_mul(*size));
    let coarse = coarse_labels.map_or(images, Vec::len);
    if bytes == Some(pixels.len()) && coarse == images && u32::try_from(images).is_ok() {
        return Ok(());
    }
    let [channels, height, width] = shape;
    Err(DataError::invalid(
        Path::new("image set"),
        format!(
            "{} bytes of pixels, {images} labels, {coarse} coarse labels",
            pixels.len()
        ),
        format!("{channels} x {height} x {width} bytes for each label"),
    ))
}

impl std::fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageSet")
            .field("len", &self.len())
            .field("height", &self.height)
            .field("width", &self.width)
            .field("coarse", &self.coarse_labels.is_some())
            .finish_non_exhaustive()
    }
}
