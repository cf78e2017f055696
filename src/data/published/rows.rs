//! The images and labels of a split, as the readers find them.

use super::spec::Spec;
use crate::data::error::DataError;
use crate::data::images::ImageSet;

/// Planar bytes `[N, channels, size, size]` with their labels. `coarse` is empty if the files have
/// no coarse labels.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub pixels: Vec<u8>,
    pub labels: Vec<u32>,
    pub coarse: Vec<u32>,
}

impl Rows {
    /// The images with `pad` pixels of black on each side.
    pub(super) fn into_images(self, spec: &Spec, pad: usize) -> Result<ImageSet, DataError> {
        let side = spec.size + 2 * pad;
        if spec.channels == 1 {
            let pixels = padded(self.pixels, spec.size, pad);
            return ImageSet::new_grey(pixels, side, side, self.labels);
        }
        let coarse = (!self.coarse.is_empty()).then_some(self.coarse);
        ImageSet::new(self.pixels, side, side, self.labels, coarse)
    }
}

/// Square planes of `size` with a black border of `pad`.
fn padded(pixels: Vec<u8>, size: usize, pad: usize) -> Vec<u8> {
    if pad == 0 {
        return pixels;
    }
    let side = size + 2 * pad;
    let planes = pixels.len() / (size * size);
    let mut padded = vec![0; planes * side * side];
    let targets = padded.chunks_exact_mut(side * side);
    for (source, target) in pixels.chunks_exact(size * size).zip(targets) {
        let rows = target.chunks_exact_mut(side).skip(pad);
        for (source, target) in source.chunks_exact(size).zip(rows) {
            target[pad..pad + size].copy_from_slice(source);
        }
    }
    padded
}
