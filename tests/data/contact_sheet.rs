//! Batches drawn as one image.

use candle_mish::data::{Batch, Image, ImageSet, Loader, LoaderConfig, contact_sheet};

use crate::fixture::planar;

const MEAN: [f32; 3] = [0.5, 0.4, 0.3];
const STD: [f32; 3] = [0.25, 0.2, 0.3];
/// The gap between images and its grey.
const GAP: usize = 2;
const GROUND: u8 = 128;

/// `count` images of 32 x 32 pixels in one batch.
fn batch(count: usize, grey: bool) -> (ImageSet, Batch) {
    let pixels = (0..count).flat_map(planar).collect();
    let set = ImageSet::new(pixels, 32, 32, (0..count as u32).collect(), None).unwrap();
    let set = if grey { set.grey() } else { set };
    let loader = Loader::new(set.clone(), LoaderConfig::in_order(count, MEAN, STD));
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    (set, batch)
}

/// The pixel of an RGB image.
fn at(image: &Image, channel: usize, row: usize, column: usize) -> u8 {
    image.pixels()[(channel * image.height() + row) * image.width() + column]
}

/// The bytes of the set come back at their places, with gaps around them.
#[test]
fn a_sheet_has_the_bytes_of_the_images() {
    for grey in [false, true] {
        let (set, batch) = batch(5, grey);
        let sheet = contact_sheet(&batch, MEAN, STD, 3).unwrap();
        assert_eq!(
            (sheet.height(), sheet.width()),
            (2 * 34 + GAP, 3 * 34 + GAP)
        );
        let mut seen = 0;
        for channel in 0..3 {
            for row in 0..sheet.height() {
                for column in 0..sheet.width() {
                    let (above, left) = (row % 34, column % 34);
                    let image = row / 34 * 3 + column / 34;
                    let pixel = at(&sheet, channel, row, column);
                    if above < GAP || left < GAP || image >= 5 {
                        assert_eq!(pixel, GROUND, "{row} {column}");
                        continue;
                    }
                    let bytes = set.image(image).unwrap();
                    let own = if grey { 0 } else { channel };
                    let place = (own * 32 + above - GAP) * 32 + left - GAP;
                    assert_eq!(pixel, bytes[place], "image {image}, {row} {column}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 5 * 3 * 32 * 32);
    }
}

#[test]
fn sheets_of_nothing_are_refused_and_values_are_clipped() {
    let (_, whole) = batch(4, false);
    let error = contact_sheet(&whole, MEAN, STD, 0).unwrap_err();
    assert!(error.to_string().contains("at least one column"), "{error}");
    let none = whole.take(0).unwrap();
    assert!(contact_sheet(&none, MEAN, STD, 2).is_err());
    let two = whole.take(2).unwrap();
    assert_eq!(two.labels.to_vec1::<u32>().unwrap(), [0, 1]);
    let bright = Batch {
        images: (two.images.ones_like().unwrap() * 100.0).unwrap(),
        ..two
    };
    let sheet = contact_sheet(&bright, MEAN, STD, 8).unwrap();
    assert_eq!(sheet.width(), 2 * 34 + GAP);
    assert_eq!(at(&sheet, 0, GAP, GAP), 255);
}

/// A PNG of a sheet decodes to the same pixels, enlarged ones to blocks of them.
#[test]
fn images_are_written_as_png() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sheet.png");
    let (_, batch) = batch(3, false);
    let sheet = contact_sheet(&batch, MEAN, STD, 2).unwrap();
    std::fs::write(&path, sheet.to_png().unwrap()).unwrap();
    assert_eq!(Image::read(&path).unwrap(), sheet);
    std::fs::write(&path, sheet.clone().into_grey().to_png().unwrap()).unwrap();
    let grey = Image::read(&path).unwrap().into_grey();
    assert_eq!(grey, sheet.clone().into_grey());
    let large = sheet.enlarged(3);
    assert_eq!(
        (large.height(), large.width()),
        (3 * sheet.height(), 3 * sheet.width())
    );
    for (channel, row, column) in [(0, 0, 0), (1, 50, 70), (2, 209, 209)] {
        let small = at(&sheet, channel, row / 3, column / 3);
        assert_eq!(at(&large, channel, row, column), small);
    }
}
