//! The images of a batch as one image.

use candle_core::{Device, Result, bail};

use super::augment::channel_moments;
use super::batch::Batch;
use super::image::Image;

/// Pixels between two images, and around them.
const GAP: usize = 2;
/// The grey of the gaps.
const GROUND: u8 = 128;

/// The images of `batch` as the network sees them, in rows of `columns`: an RGB image. `mean` and
/// `std` are the loader's. Values outside [0, 1] are clipped, grey images are repeated for
/// each channel.
///
/// # Errors
/// If the batch has no images, or images that are neither grey nor RGB, or `columns` is 0.
pub fn contact_sheet(
    batch: &Batch,
    mean: [f32; 3],
    std: [f32; 3],
    columns: usize,
) -> Result<Image> {
    let (count, channels, height, width) = batch.images.dims4()?;
    if ![1, 3].contains(&channels) || count * height * width * columns == 0 {
        bail!(
            "a contact sheet takes grey or RGB images and at least one column, not {:?} in {columns} \
             columns",
            batch.images.dims()
        );
    }
    let values = batch.images.to_device(&Device::Cpu)?;
    let values = values.flatten_all()?.to_vec1::<f32>()?;
    let moments = channel_moments(mean, std, channels);
    let columns = columns.min(count);
    let (rows, plane) = (count.div_ceil(columns), height * width);
    let (sheet_height, sheet_width) = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP);
    let mut pixels = vec![GROUND; 3 * sheet_height * sheet_width];
    for (index, image) in values.chunks_exact(channels * plane).enumerate() {
        let top = index / columns * (height + GAP) + GAP;
        let left = index % columns * (width + GAP) + GAP;
        for (channel, sheet) in pixels
            .chunks_exact_mut(sheet_height * sheet_width)
            .enumerate()
        {
            let channel = channel.min(channels - 1);
            let (mean, std) = moments[channel];
            let byte = |value: &f32| ((value * std + mean) * 255.0).round() as u8;
            let source = &image[channel * plane..][..plane];
            for (row, line) in source.chunks_exact(width).enumerate() {
                let start = (top + row) * sheet_width + left;
                for (pixel, value) in sheet[start..start + width].iter_mut().zip(line) {
                    *pixel = byte(value);
                }
            }
        }
    }
    Ok(Image::from_parts(pixels, sheet_height, sheet_width))
}
