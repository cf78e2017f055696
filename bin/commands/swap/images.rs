//! Images without labels for calibration and distillation.

use std::path::Path;

use anyhow::bail;
use candle_mish::data::{Dataset, DecodeOptions, ImageSet, Preprocess, image_files};

/// The images in `folder` and its subfolders, in the form of `dataset`'s images.
///
/// # Errors
/// If the folder cannot be read or has no image files.
pub fn read(folder: &Path, dataset: &Dataset) -> anyhow::Result<ImageSet> {
    let (files, notes) = image_files(folder)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    if files.is_empty() {
        bail!("--images {}: no image files", folder.display());
    }
    let preprocess = match dataset.test.preprocess() {
        Some(preprocess) => *preprocess,
        // Small images show the whole scene.
        None => Preprocess {
            input_size: dataset.test.height(),
            crop_pct: 1.0,
            mean: dataset.mean,
            std: dataset.std,
            ..Preprocess::default()
        },
    };
    let images = ImageSet::unlabelled(files, preprocess, DecodeOptions::default());
    Ok(match dataset.test.channels() {
        1 => images.grey(),
        _ => images,
    })
}
