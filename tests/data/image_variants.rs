//! Unusual and damaged image files, compared with Pillow (tests/reference/image_variants.py).

use std::path::PathBuf;

use candle_mish::data::{DataError, DecodeOptions, Image};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    variants: Vec<Variant>,
    cuts: Vec<Cut>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Variant {
    name: String,
    file: String,
    plain: Pixels,
    /// After `ImageOps.exif_transpose`, if that changes the image.
    transposed: Option<Pixels>,
}

#[derive(Deserialize)]
struct Pixels {
    height: usize,
    width: usize,
    rgb: String,
}

#[derive(Deserialize)]
struct Cut {
    name: String,
    file: String,
    lengths: Vec<usize>,
    read: Vec<usize>,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    file: String,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/image_variants.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

/// A folder for image files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, name: &str, bytes: &[u8], options: DecodeOptions) -> Result<Image, DataError> {
        Image::read_with(&self.write(name, bytes), options)
    }

    /// The message of a file that must be refused.
    fn refusal(&self, name: &str, bytes: &[u8]) -> String {
        match self.read(name, bytes, DecodeOptions::default()) {
            Ok(_) => panic!("{name} of {} bytes is read", bytes.len()),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains(name), "{message}");
                assert_eq!(message.lines().count(), 1, "{message}");
                message
            }
        }
    }
}

const TRANSPOSED: DecodeOptions = DecodeOptions {
    exif_transpose: true,
    scale_16bit: false,
};

/// Checks an image: lossless formats exactly, lossy ones as far as decoders round differently.
fn assert_is(name: &str, image: &Image, want: &Pixels) {
    let size = (image.height(), image.width());
    assert_eq!(size, (want.height, want.width), "{name}");
    let tolerance = match name.rsplit_once('.') {
        Some((_, "jpg")) => 3,
        // Inks are converted with other rounding.
        _ if name == "cmyk.tif" => 1,
        _ => 0,
    };
    let pairs = image.pixels().iter().zip(bytes(&want.rgb));
    let largest = pairs.map(|(got, want)| got.abs_diff(want)).max().unwrap();
    assert!(largest <= tolerance, "{name}: {largest}");
}

#[test]
fn variants_are_read_as_by_pillow() {
    let (files, reference) = (Files::new(), reference());
    assert_eq!(reference.variants.len(), 22 + 4 * 8);
    for variant in reference.variants {
        let (name, file) = (&variant.name, bytes(&variant.file));
        let plain = files.read(name, &file, DecodeOptions::default()).unwrap();
        assert_is(name, &plain, &variant.plain);
        let transposed = files.read(name, &file, TRANSPOSED).unwrap();
        let want = variant.transposed.as_ref().unwrap_or(&variant.plain);
        assert_is(name, &transposed, want);
    }
}

/// Pillow reads TIFF transposed already, and all others only after `exif_transpose`.
#[test]
fn the_reference_has_all_orientations() {
    let changed = |variant: &Variant| variant.transposed.is_some();
    let changed = reference().variants.iter().filter(|v| changed(v)).count();
    // Seven orientations other than 1 in three formats, and two in XMP.
    assert_eq!(changed, 3 * 7 + 2);
}

#[test]
fn grey_values_of_16_bits_are_clipped_or_scaled() {
    let (files, scaled) = (
        Files::new(),
        DecodeOptions {
            scale_16bit: true,
            ..DecodeOptions::default()
        },
    );
    let file = b"P5\n4 1\n65535\n\x00\x07\x00\xff\x01\x00\xff\xfe";
    let clipped = files.read("a.pgm", file, DecodeOptions::default()).unwrap();
    assert_eq!(clipped.into_grey().pixels(), [7, 255, 255, 255]);
    let scaled = files.read("a.pgm", file, scaled).unwrap();
    assert_eq!(scaled.into_grey().pixels(), [0, 0, 1, 255]);
}

/// Ours may refuse more: Pillow reads PNG files without their last chunk, which is damage too.
#[test]
fn files_cut_short_are_refused_wherever_pillow_refuses_them() {
    let (files, reference) = (Files::new(), reference());
    assert_eq!(reference.cuts.len(), 15);
    for cut in reference.cuts {
        let whole = bytes(&cut.file);
        let read = files.read(&cut.name, &whole, DecodeOptions::default());
        assert!(read.is_ok(), "{}", cut.name);
        let refused = cut.lengths.iter().filter(|n| !cut.read.contains(n));
        for &length in refused {
            files.refusal(&cut.name, &whole[..length]);
        }
    }
}

#[test]
fn damaged_files_are_refused_with_their_problem() {
    let (files, reference) = (Files::new(), reference());
    for refused in &reference.refused {
        let message = files.refusal(&refused.name, &bytes(&refused.file));
        let says = match refused.name.as_str() {
            "no_end.jpg" => "its end marker is missing",
            "unknown_marker.jpg" => "marker 0x4a in its data",
            "header_alone.jpg" => "ends within its header",
            "empty.jpg" => "the file is empty",
            "text.png" => "not a PNG, JPEG, WebP, TIFF, BMP or PNM image",
            "bad_header_checksum.png" => "CRC",
            // Its strips do not fit the size, which is noticed first.
            "too_large.tif" => "inconsistent sizes",
            name if name.starts_with("too_large") => "pixels are too many",
            name => panic!("{name} has no expected message"),
        };
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(reference.refused.len(), 12);
    // A download that reserved the space and stopped. Pillow reads the zeros as image data.
    let whole = reference.cuts.iter().find(|cut| cut.name == "444.jpg");
    let mut file = bytes(&whole.unwrap().file);
    let middle = 3 * file.len() / 4;
    file[middle..].fill(0);
    let message = files.refusal("reserved.jpg", &file);
    assert!(message.contains("its end marker is missing"), "{message}");
}

/// For any wrong byte in a file: an image or an error, never a panic.
#[test]
fn files_with_a_wrong_byte_do_not_panic() {
    let files = Files::new();
    for cut in reference().cuts {
        let whole = bytes(&cut.file);
        for at in (0..whole.len()).step_by(3) {
            let mut file = whole.clone();
            file[at] ^= 0x55;
            let _ = files.read(&cut.name, &file, TRANSPOSED);
        }
    }
}
