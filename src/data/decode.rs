//! Decoding of image files, and what their headers say.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::image::Image;
use super::jpeg::Frame;
use super::metadata;

/// The most pixels of an image: Pillow's limit against files whose headers promise too many.
const MOST_PIXELS: u64 = 178_956_970;
const EXPECTED: &str = "an intact image";

/// How image files become RGB. The default is what Pillow's `convert("RGB")` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DecodeOptions {
    /// Whether to transpose the image by the orientation in its metadata, as Pillow's
    /// `ImageOps.exif_transpose`. Pillow always transposes TIFF files, and so does this crate.
    pub exif_transpose: bool,
    /// Whether to take the upper byte of 16-bit grey values. Otherwise values above 255 are white.
    pub scale_16bit: bool,
}

/// What the header of an image file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether its metadata has an orientation that only `exif_transpose` applies.
    pub(super) oriented: bool,
    /// Whether it is grey with 16 bits, which only `scale_16bit` scales.
    pub(super) grey_16bit: bool,
}

impl Header {
    /// Reads the header of a file, and checks that the file is complete if its format tells.
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let mut opened = Opened::new(path)?;
        let wrong = |problem: String| DataError::invalid(path, problem, EXPECTED);
        if opened.format == ImageFormat::Jpeg {
            let frame = Frame::read(&mut opened.file).map_err(wrong)?;
            check_size((frame.width, frame.height)).map_err(wrong)?;
            frame.check_end(&mut opened.file).map_err(wrong)?;
            return Ok(Self {
                oriented: metadata::from_value(frame.orientation).is_some(),
                grey_16bit: false,
            });
        }
        opened.check_end().map_err(wrong)?;
        let format = opened.format;
        let reader = ImageReader::with_format(opened.file, format);
        let mut decoder = reader.into_decoder().map_err(|e| wrong(text(&e)))?;
        check_size(decoder.dimensions()).map_err(wrong)?;
        let orientation = metadata::orientation(&mut decoder, format);
        Ok(Self {
            oriented: orientation.is_some() && format != ImageFormat::Tiff,
            grey_16bit: decoder.color_type() == ColorType::L16,
        })
    }
}

impl Image {
    /// Decodes a PNG, JPEG, WebP, TIFF, BMP or PNM file to RGB. The content decides the format, not
    /// the name. Like Pillow's `convert("RGB")` it drops the alpha channel and repeats grey for each
    /// channel, and like Pillow it applies the orientation in the metadata of TIFF files only.
    ///
    /// The bytes of PNG files equal Pillow's, also for 16 bits: the upper byte of a colour, but for
    /// grey without alpha the value itself, at most 255. The bytes of 8-bit lossless files in the
    /// other formats equal Pillow's too. JPEG decoders differ in rounding and in chroma upsampling:
    /// without chroma subsampling the bytes are within 2 of Pillow's; with subsampling they differ
    /// by half a level on average and by up to 24 at hard edges (measured in
    /// `tests/data/images.rs`).
    ///
    /// # Errors
    /// If the file cannot be read, has another format, is cut short or damaged, or has more than
    /// 178,956,970 pixels, which is Pillow's limit. The error names the file.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::read_with(path, DecodeOptions::default())
    }

    /// [`read`](Self::read) with other options than Pillow's defaults.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(path: &Path, options: DecodeOptions) -> Result<Self, DataError> {
        Opened::new(path)?.decode(path, options)
    }

    /// Decodes the content of an image file to RGB, as [`read`](Self::read) does. Errors name `path`.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        Opened::of(path, Cursor::new(bytes))?.decode(path, DecodeOptions::default())
    }
}

/// Decodes the pixels and transposes them.
fn pixels(
    mut decoder: impl ImageDecoder,
    orientation: Option<Orientation>,
) -> Result<DynamicImage, ImageError> {
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(image)
}

/// The RGB bytes of a decoded image.
fn rgb(image: DynamicImage, options: DecodeOptions) -> Result<Image, DataError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let upper = |value: u16| (value >> 8) as u8;
    let pixels = match image {
        DynamicImage::ImageLuma16(grey) => {
            let clipped = |value: u16| value.min(255) as u8;
            let byte: fn(u16) -> u8 = if options.scale_16bit { upper } else { clipped };
            let plane: Vec<u8> = grey.iter().map(|value| byte(*value)).collect();
            plane.repeat(3)
        }
        DynamicImage::ImageLumaA16(grey) => {
            let plane: Vec<u8> = grey.pixels().map(|pixel| upper(pixel.0[0])).collect();
            plane.repeat(3)
        }
        DynamicImage::ImageRgb16(image) => planar(&image, 3, upper),
        DynamicImage::ImageRgba16(image) => planar(&image, 4, upper),
        image => planar(&image.into_rgb8(), 3, |value| value),
    };
    Image::new(pixels, height, width)
}

/// Converts the first three of `channels` interleaved channels to planes of bytes.
fn planar<T: Copy>(values: &[T], channels: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
    let plane = |channel| values.iter().skip(channel).step_by(channels);
    (0..3).flat_map(plane).map(|value| byte(*value)).collect()
}

/// An image file, at its start, and the format that its content has.
struct Opened<R> {
    file: R,
    format: ImageFormat,
}

impl Opened<BufReader<File>> {
    fn new(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        Self::of(path, BufReader::new(file))
    }
}

impl<R: BufRead + Seek> Opened<R> {
    fn of(path: &Path, mut file: R) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        if file.fill_buf().map_err(io)?.is_empty() {
            return Err(DataError::invalid(path, "the file is empty", EXPECTED));
        }
        let reader = ImageReader::new(file).with_guessed_format().map_err(io)?;
        // The content of a BigTIFF file is not recognised.
        let format = match reader.format() {
            None => ImageFormat::from_path(path)
                .ok()
                .filter(|f| *f == ImageFormat::Tiff),
            known => known.filter(ImageFormat::reading_enabled),
        };
        match format {
            Some(format) => Ok(Self {
                file: reader.into_inner(),
                format,
            }),
            None => Err(DataError::invalid(
                path,
                "not a PNG, JPEG, WebP, TIFF, BMP or PNM image",
                EXPECTED,
            )),
        }
    }

    /// Decodes the image. Errors name `path`.
    fn decode(mut self, path: &Path, options: DecodeOptions) -> Result<Image, DataError> {
        let wrong = |problem: String| DataError::invalid(path, problem, EXPECTED);
        let format = self.format;
        let decoded = if format == ImageFormat::Jpeg {
            let mut bytes = Vec::new();
            let whole = self.file.read_to_end(&mut bytes);
            whole.map_err(|error| DataError::io(path, error))?;
            let frame = Frame::read(&mut Cursor::new(&bytes)).map_err(wrong)?;
            check_size((frame.width, frame.height)).map_err(wrong)?;
            frame.check_data(&bytes).map_err(wrong)?;
            frame.normalise_transform(&mut bytes);
            let orientation = metadata::from_value(frame.orientation);
            let reader = ImageReader::with_format(Cursor::new(bytes), format);
            let decoder = reader.into_decoder().map_err(|e| wrong(text(&e)))?;
            pixels(decoder, orientation.filter(|_| options.exif_transpose))
        } else {
            self.check_end().map_err(wrong)?;
            let reader = ImageReader::with_format(self.file, format);
            let mut decoder = reader.into_decoder().map_err(|e| wrong(text(&e)))?;
            check_size(decoder.dimensions()).map_err(wrong)?;
            let orientation = if options.exif_transpose || format == ImageFormat::Tiff {
                metadata::orientation(&mut decoder, format)
            } else {
                None
            };
            pixels(decoder, orientation)
        };
        let image = decoded.map_err(|error| wrong(text(&error)))?;
        rgb(image, options)
            .map_err(|_| DataError::invalid(path, "an image without pixels", "at least one"))
    }

    /// Refuses a WebP or PNG file that is cut short, and returns to the start.
    fn check_end(&mut self) -> Result<(), String> {
        let complete = match self.format {
            ImageFormat::WebP => riff_is_complete(&mut self.file),
            ImageFormat::Png => png_is_complete(&mut self.file),
            _ => Ok(true),
        };
        match complete.and_then(|complete| self.file.rewind().map(|()| complete)) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the file is truncated".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether a RIFF file has the length in its header, and its chunks end within it.
fn riff_is_complete<R: Read + Seek>(file: &mut R) -> std::io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut start = [0; 12];
    file.read_exact(&mut start)?;
    let size =
        |chunk: &[u8]| u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
    let end = 8 + size(&start);
    if end > length {
        return Ok(false);
    }
    let mut at = start.len() as u64;
    while at + 8 <= end {
        file.seek(SeekFrom::Start(at))?;
        let mut chunk = [0; 8];
        file.read_exact(&mut chunk)?;
        at += 8 + size(&chunk);
        if at > end {
            return Ok(false);
        }
        // Chunks start at even positions.
        at += at % 2;
    }
    Ok(true)
}

/// Whether a PNG file has its last chunk.
fn png_is_complete<R: Read + Seek>(file: &mut R) -> std::io::Result<bool> {
    const SIGNATURE: u64 = 8;
    /// Length and name of the last chunk, which a checksum follows.
    const LAST: [u8; 8] = *b"\0\0\0\0IEND";
    let length = file.seek(SeekFrom::End(0))?;
    let mut chunk = [0; 8];
    if let Some(last) = length.checked_sub(LAST.len() as u64 + 4) {
        file.seek(SeekFrom::Start(last))?;
        file.read_exact(&mut chunk)?;
        if chunk == LAST {
            return Ok(true);
        }
    }
    // Something follows the last chunk, or it is missing.
    let mut at = SIGNATURE;
    while at + 8 <= length {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut chunk)?;
        let [a, b, c, d, kind @ ..] = chunk;
        if &kind == b"IEND" {
            return Ok(true);
        }
        at += 12 + u64::from(u32::from_be_bytes([a, b, c, d]));
    }
    Ok(false)
}

fn check_size((width, height): (u32, u32)) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MOST_PIXELS {
        return Err(format!(
            "{width} x {height} pixels are too many; at most {MOST_PIXELS} are decoded"
        ));
    }
    if pixels == 0 {
        return Err("an image without pixels".to_owned());
    }
    Ok(())
}

/// The message of an error without the format's name, which the decoders repeat.
fn text(error: &ImageError) -> String {
    error.to_string().replace('\n', " ")
}
