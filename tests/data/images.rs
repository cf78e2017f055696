//! Decoding compared with Pillow (tests/reference/pictures.py).

use candle_mish::data::Image;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    file: String,
    height: usize,
    width: usize,
    rgb: String,
    grey: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn cases() -> Vec<(Case, Image)> {
    let reference = include_str!("../reference/pictures.json");
    let reference: Reference = serde_json::from_str(reference).unwrap();
    assert_eq!(reference.cases.len(), 28);
    let folder = tempfile::tempdir().unwrap();
    let read = |case: Case| {
        let path = folder.path().join(&case.name);
        std::fs::write(&path, bytes(&case.file)).unwrap();
        let image = Image::read(&path).unwrap();
        assert_eq!(
            (image.height(), image.width()),
            (case.height, case.width),
            "{}",
            case.name
        );
        (case, image)
    };
    reference.cases.into_iter().map(read).collect()
}

#[test]
fn lossless_files_are_decoded_as_by_pillow() {
    for (case, image) in cases() {
        if LOSSY.iter().all(|(name, ..)| *name != case.name) {
            assert_eq!(image.pixels(), bytes(&case.rgb), "{}", case.name);
            let grey = image.into_grey();
            assert_eq!(grey.channels(), 1);
            assert_eq!(grey.pixels(), bytes(&case.grey), "{}", case.name);
        }
    }
}

/// The largest difference of a byte, and the mean difference in hundredths.
const LOSSY: [(&str, u8, u32); 9] = [
    ("grey.jpg", 1, 2),
    ("444.jpg", 2, 3),
    ("rotated.jpg", 2, 2),
    ("cmyk.jpg", 1, 1),
    // Chroma with half or a quarter of the pixels.
    ("422.jpg", 24, 30),
    ("420.jpg", 10, 37),
    ("420_smooth.jpg", 3, 49),
    ("420_progressive.jpg", 16, 47),
    ("lossy.webp", 9, 99),
];

#[test]
fn lossy_files_are_decoded_nearly_as_by_pillow() {
    let cases = cases();
    for (name, largest, mean) in LOSSY {
        let (case, image) = cases.iter().find(|(case, _)| case.name == name).unwrap();
        let want = bytes(&case.rgb);
        let pairs = image.pixels().iter().zip(&want);
        let differences: Vec<u8> = pairs.map(|(got, want)| got.abs_diff(*want)).collect();
        let sum: u32 = differences.iter().map(|d| u32::from(*d)).sum();
        let found = (
            differences.iter().copied().max().unwrap(),
            100 * sum / differences.len() as u32,
        );
        println!("{name}: {found:?}");
        assert!(found.0 <= largest && found.1 <= mean, "{name}: {found:?}");
    }
}
