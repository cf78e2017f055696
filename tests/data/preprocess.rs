//! Preprocessing compared with timm and Pillow (tests/reference/preprocess.py).

use candle_mish::data::{DataError, Image, Interpolation, Preprocess};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    height: usize,
    width: usize,
    size: usize,
    crop_pct: f64,
    interpolation: Interpolation,
    crc32: u32,
    places: Vec<usize>,
    pixels: Vec<u8>,
    values: Vec<f32>,
}

/// The image of the reference script: slopes, edges and noise.
fn image(height: usize, width: usize) -> Image {
    let mut pixels = Vec::with_capacity(3 * height * width);
    for c in 0..3 {
        for y in 0..height {
            for x in 0..width {
                let slope = (7 * x + 5 * y + 60 * c) / 4 % 256;
                let mixed = (x * 73_856_093) ^ (y * 19_349_663) ^ (c * 83_492_791);
                let noise = (mixed >> 7) & 255;
                let edge = (x / 9 + y / 7) % 2 * 255;
                pixels.push([slope, noise, edge][(x / 23 + y / 19) % 3] as u8);
            }
        }
    }
    Image::new(pixels, height, width).unwrap()
}

#[test]
fn pixels_equal_those_of_timm() {
    let reference = include_str!("../reference/preprocess.json");
    let reference: Reference = serde_json::from_str(reference).unwrap();
    assert_eq!(reference.cases.len(), 32);
    for case in reference.cases {
        let preprocess = Preprocess {
            input_size: case.size,
            crop_pct: case.crop_pct,
            interpolation: case.interpolation,
            ..Preprocess::default()
        };
        preprocess.check().unwrap();
        let image = image(case.height, case.width);
        let pixels = preprocess.pixels(&image).unwrap();
        let what = format!("{}x{} to {preprocess:?}", case.height, case.width);
        let shown: Vec<u8> = case.places.iter().map(|i| pixels[*i]).collect();
        assert_eq!(shown, case.pixels, "{what}");
        let mut crc = flate2::Crc::new();
        crc.update(&pixels);
        assert_eq!(crc.sum(), case.crc32, "{what}");
        let values = preprocess.tensor(&image).unwrap();
        assert_eq!(values.dims(), [1, 3, case.size, case.size]);
        let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (place, want) in case.places.iter().zip(case.values) {
            assert_eq!(values[*place], want, "{what}, place {place}");
        }
    }
}

#[test]
fn a_very_long_image_needs_memory_only_for_its_crop() {
    // The whole scaled image would have 60,000 x 20 million pixels.
    let image = image(1, 60_000);
    let preprocess = Preprocess {
        input_size: 224,
        ..Preprocess::default()
    };
    assert_eq!(preprocess.pixels(&image).unwrap().len(), 3 * 224 * 224);
}

#[test]
fn values_out_of_range_are_refused() {
    let good = Preprocess::default();
    for (wrong, option) in [
        (
            Preprocess {
                input_size: 0,
                ..good
            },
            "img_size",
        ),
        (
            Preprocess {
                input_size: 1 << 40,
                ..good
            },
            "img_size",
        ),
        (
            Preprocess {
                crop_pct: 0.0,
                ..good
            },
            "crop_pct",
        ),
        (
            Preprocess {
                crop_pct: 1.5,
                ..good
            },
            "crop_pct",
        ),
        (
            Preprocess {
                crop_pct: f64::NAN,
                ..good
            },
            "crop_pct",
        ),
        (
            Preprocess {
                mean: [f32::NAN; 3],
                ..good
            },
            "mean",
        ),
        (
            Preprocess {
                std: [0.0; 3],
                ..good
            },
            "std",
        ),
    ] {
        let error = wrong.check().unwrap_err();
        assert!(
            matches!(error, DataError::Option { option: named, .. } if named == option),
            "{error}"
        );
    }
    assert!(Image::new(Vec::new(), 0, 0).is_err());
    assert!(Image::new(vec![0; 11], 2, 2).is_err());
    let error = "cubic".parse::<Interpolation>().unwrap_err();
    assert!(error.contains("expected bilinear or bicubic"), "{error}");
}
