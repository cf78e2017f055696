//! Folders of image files as they are found: foreign files, bad images, and numbers as classes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use candle_mish::data::{
    BadImages, CheckedSplits, ClassMap, ClassOrder, DataError, DataOptions, Dataset, DatasetKind,
    Preprocess, open, open_with,
};
use tempfile::TempDir;

use crate::fixture::png;

/// A folder of images and a cache folder.
struct Root {
    folder: TempDir,
    cache: TempDir,
}

impl Root {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// Two classes of four images in each of train and val.
    fn with_images() -> Self {
        let root = Self::new();
        for (i, split) in ["train", "val"].into_iter().enumerate() {
            for (j, class) in ["a", "b"].into_iter().enumerate() {
                for k in 0..4 {
                    let file = format!("{split}/{class}/{k}.png");
                    root.write(&file, &png(8 * i + 4 * j + k, 9, 7));
                }
            }
        }
        root
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn options(&self) -> DataOptions {
        DataOptions {
            dataset: DatasetKind::Folder,
            data_dir: Some(self.folder.path().to_owned()),
            cache_dir: Some(self.cache.path().to_owned()),
            preprocess: Some(Preprocess {
                input_size: 6,
                ..Preprocess::default()
            }),
            ..DataOptions::default()
        }
    }

    fn open(&self) -> Dataset {
        open(&self.options()).unwrap()
    }

    fn refusal(&self, options: &DataOptions) -> String {
        let message = open(options).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    }
}

fn note(data: &Dataset, says: &str) -> String {
    let notes = &data.source.notes;
    let mut found = notes.iter().filter(|note| note.contains(says));
    let note = found.next().unwrap_or_else(|| panic!("{says}: {notes:?}"));
    assert!(found.next().is_none(), "twice: {notes:?}");
    note.clone()
}

fn paths(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).collect()
}

#[test]
fn hidden_entries_are_neither_classes_nor_images() {
    let root = Root::with_images();
    for file in [
        "val/.ipynb_checkpoints/0.png",
        "val/__MACOSX/a/0.png",
        "val/@eaDir/0.png",
        "val/.DS_Store",
        "val/a/._0.png",
        "val/a/.DS_Store",
        "val/a/Thumbs.db",
        "val/a/desktop.ini",
        "val/b/.ipynb_checkpoints/0-checkpoint.png",
        "val/b/@eaDir/0.png/thumb.jpg",
        "train/.git/config",
    ] {
        root.write(file, b"not an image");
    }
    let data = root.open();
    assert_eq!(data.classes, ["a", "b"]);
    assert_eq!(data.test.labels(), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(data.source.notes, [""; 0]);
}

#[test]
fn all_extensions_of_images_are_read_and_other_files_are_counted() {
    let root = Root::with_images();
    let image = image::RgbImage::from_pixel(5, 4, image::Rgb([9, 8, 7]));
    for (extension, format) in [
        ("jfif", image::ImageFormat::Jpeg),
        ("jpe", image::ImageFormat::Jpeg),
        ("JPG", image::ImageFormat::Jpeg),
        ("Jpeg", image::ImageFormat::Jpeg),
        ("PNG", image::ImageFormat::Png),
        ("pbm", image::ImageFormat::Pnm),
        ("webp", image::ImageFormat::WebP),
        ("TIFF", image::ImageFormat::Tiff),
    ] {
        let file = root.folder.path().join(format!("val/a/x.{extension}"));
        image.save_with_format(file, format).unwrap();
    }
    for (file, count) in [("gif", 2), ("txt", 5), ("tar.gz", 1)] {
        for i in 0..count {
            root.write(&format!("val/b/{i}.{file}"), b"");
        }
    }
    root.write("train/b/README", b"");
    root.write("val/stray.jpg", b"");
    let data = root.open();
    assert_eq!(
        data.test.labels().iter().filter(|l| **l == 0).count(),
        4 + 8
    );
    for i in 0..data.test.len() {
        data.test.image(i).unwrap();
    }
    let note = note(&data, "without an image extension");
    let says = "skipped 9 files without an image extension: 5 .txt, 2 .gif, 1 without an \
                extension, 1 .gz";
    assert!(note.ends_with(says), "{note}");
    assert!(data.source.notes[1].contains("skipped 1 image outside"));
    assert_eq!(data.source.notes.len(), 2);
}

#[test]
fn bad_images_are_listed_before_the_first_batch() {
    let root = Root::with_images();
    let whole = png(3, 9, 7);
    root.write("train/a/1.png", b"");
    root.write("train/b/2.png", &whole[..whole.len() / 2]);
    root.write("val/a/0.png", b"<html>");
    root.write("val/b/3.png", b"not an image");
    let message = root.refusal(&root.options());
    for says in [
        "4 of 16 images",
        "train/a/1.png (the file is empty)",
        "train/b/2.png (the file is truncated)",
        "val/a/0.png (not a PNG, JPEG, WebP, TIFF, BMP or PNM image) and 1 more",
        "bad_images = skip",
    ] {
        assert!(message.contains(says), "{says}: {message}");
    }
    // A program that uses the test images only.
    let test = |options: &DataOptions| open_with(options, CheckedSplits::Test, &|_, _| {});
    match test(&root.options()).unwrap_err() {
        DataError::BadImages { bad, checked, .. } => assert_eq!((bad, checked), (2, 8)),
        other => panic!("{other}"),
    }
    // Only the images that are used are checked.
    let first = DataOptions {
        limit_train: Some(1),
        limit_test: Some(1),
        ..root.options()
    };
    let message = root.refusal(&first);
    assert!(message.contains("1 of 2 images"), "{message}");
}

#[test]
fn skipped_images_stay_out() {
    let root = Root::with_images();
    let mut damaged = png(3, 9, 7);
    let middle = damaged.len() / 2;
    // The header is intact.
    damaged[middle] ^= 0x55;
    root.write("train/b/2.png", &damaged);
    root.write("val/a/0.png", b"not an image");
    let skip = DataOptions {
        bad_images: BadImages::Skip,
        ..root.options()
    };
    let data = open(&skip).unwrap();
    assert_eq!(data.train.labels(), [0, 0, 0, 0, 1, 1, 1]);
    assert_eq!(data.test.labels(), [0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(
        data.source.skipped,
        paths(&["train/b/2.png", "val/a/0.png"])
    );
    let note = note(&data, "skipped 2 of 16 images");
    assert!(note.contains("val/a/0.png (not a PNG"), "{note}");
    for i in 0..data.train.len() {
        data.train.image(i).unwrap();
    }
    // A limit counts good images.
    let first = DataOptions {
        limit_train: Some(7),
        limit_test: Some(1),
        ..skip.clone()
    };
    let data = open(&first).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (7, 1));
    data.test.image(0).unwrap();

    // A resumed run leaves out the recorded images, although one is repaired, and no others.
    root.write("val/a/0.png", &png(1, 9, 7));
    let resumed = DataOptions {
        bad_images: BadImages::Error,
        skipped: paths(&["train/b/2.png", "val/a/0.png"]),
        ..skip.clone()
    };
    let again = open(&resumed).unwrap();
    assert_eq!(again.test.labels(), [0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(again.source.skipped, resumed.skipped);
    root.write("val/b/1.png", b"");
    let message = root.refusal(&resumed);
    assert!(message.contains("val/b/1.png"), "{message}");
}

/// Without `bad_images = skip`, only headers are checked. Later damage ends the epoch.
#[test]
fn damage_after_the_header_is_found_when_the_image_is_read() {
    let root = Root::with_images();
    let mut damaged = png(3, 9, 7);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    root.write("val/a/2.png", &damaged);
    let data = root.open();
    let message = data.test.image(2).unwrap_err().to_string();
    assert!(message.contains("val/a/2.png"), "{message}");
    assert!(message.contains("bad_images = skip"), "{message}");
}

#[test]
fn checked_images_are_remembered_until_they_change() {
    let root = Root::new();
    for class in ["a", "b"] {
        for i in 0..150 {
            root.write(&format!("{class}/{i}.png"), &png(i, 2, 2));
        }
    }
    // Reports the number of files whose content was read, as the time of access is not reliable.
    let checked = |options: &DataOptions| {
        let (calls, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let result = open_with(options, CheckedSplits::All, &|_, all| {
            calls.fetch_add(1, Ordering::Relaxed);
            total.store(all, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 300);
        assert_eq!(total.into_inner(), 300);
        result
    };
    checked(&root.options()).unwrap();
    let record = std::fs::read_dir(root.cache.path()).unwrap().next();
    let record = record.expect("a record").unwrap().path();
    let bytes = std::fs::read(&record).unwrap();
    assert_eq!(bytes.len(), 8 + 4 + 300 * 9);

    // A file with other content of the same length and time counts as the one that was checked.
    let file = root.folder.path().join("a/7.png");
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    let zeros = vec![0; std::fs::read(&file).unwrap().len()];
    std::fs::write(&file, &zeros).unwrap();
    let handle = std::fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(time).unwrap();
    checked(&root.options()).unwrap();
    // To decode an image, its header is not enough.
    let skip = DataOptions {
        bad_images: BadImages::Skip,
        ..root.options()
    };
    let data = checked(&skip).unwrap();
    assert_eq!(data.source.skipped, paths(&["a/7.png"]));
    // A damaged record is not used, nor one of another time.
    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    std::fs::write(&record, &damaged).unwrap();
    assert!(checked(&root.options()).is_err());
    std::fs::write(&record, &bytes).unwrap();
    assert!(checked(&root.options()).is_ok());
    handle
        .set_modified(time - std::time::Duration::from_secs(9))
        .unwrap();
    let message = checked(&root.options()).unwrap_err().to_string();
    assert!(message.contains("a/7.png"), "{message}");
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let root = Root::new();
    for i in 0..300 {
        root.write(&format!("a/{i}.png"), &png(i, 2, 2));
    }
    // A file where the folder should be.
    root.write("cache", b"");
    let options = DataOptions {
        cache_dir: Some(root.folder.path().join("cache")),
        ..root.options()
    };
    assert_eq!(open(&options).unwrap().test.len(), 300);
}

#[test]
fn orientation_and_16_bits_are_noted_once_or_applied() {
    let root = Root::with_images();
    let grey = image::ImageBuffer::from_fn(6, 6, |x, _| image::Luma([1000 * x as u16]));
    let path = |file: &str| root.folder.path().join(file);
    image::DynamicImage::ImageLuma16(grey)
        .save(path("val/a/grey.png"))
        .unwrap();
    // A JPEG whose left half is white, with orientation 6: the left is on top.
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let white = |x| image::Luma([if x < 8 { 255u8 } else { 0 }]);
    let pixels = image::GrayImage::from_fn(16, 16, |x, _| white(x));
    pixels
        .write_to(&mut jpeg, image::ImageFormat::Jpeg)
        .unwrap();
    let exif =
        b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut file = jpeg.into_inner();
    file.splice(2..2, exif.iter().copied());
    root.write("val/b/turned.jpg", &file);

    let data = root.open();
    let turned = note(&data, "EXIF orientation");
    assert!(turned.contains("1 of 18 images"), "{turned}");
    assert!(turned.contains("exif_transpose"), "{turned}");
    let grey = note(&data, "16-bit grey");
    assert!(
        grey.contains("1 of 18 images") && grey.contains("scale_16bit"),
        "{grey}"
    );

    let applied = DataOptions {
        exif_transpose: true,
        scale_16bit: true,
        ..root.options()
    };
    let other = open(&applied).unwrap();
    assert_eq!(other.source.notes, [""; 0]);
    let plane = |data: &Dataset, i: usize| data.test.image(i).unwrap()[..36].to_vec();
    let (before, after) = (plane(&data, 9), plane(&other, 9));
    assert!(
        before[0] > 200 && before[30] > 200 && before[5] < 50,
        "{before:?}"
    );
    assert!(
        after[0] > 200 && after[30] < 50 && after[5] > 200,
        "{after:?}"
    );
    let (clipped, scaled) = (plane(&data, 4), plane(&other, 4));
    assert!(clipped[5] > 200 && scaled[5] < 30, "{clipped:?} {scaled:?}");
    // The other images do not change.
    assert_eq!(plane(&data, 0), plane(&other, 0));
}

fn numbered(names: &[&str]) -> Root {
    let root = Root::new();
    for name in names {
        root.write(&format!("{name}/0.png"), &png(1, 2, 2));
    }
    root
}

#[test]
fn numbers_as_classes_have_a_stated_order() {
    let root = numbered(&["0", "1", "2", "10", "11"]);
    let data = root.open();
    assert_eq!(data.classes, ["0", "1", "10", "11", "2"]);
    let text = note(&data, "lexical order");
    assert!(text.contains("0, 1, 10, 11, 2") && text.contains("class_order = natural"));
    let natural = DataOptions {
        class_order: ClassOrder::Natural,
        ..root.options()
    };
    let data = open(&natural).unwrap();
    assert_eq!(data.classes, ["0", "1", "2", "10", "11"]);
    assert_eq!(data.source.notes, [""; 0]);
    // Where the orders agree, or not all names are numbers, there is nothing to say.
    for names in [
        &["0", "1", "2"][..],
        &["00", "01", "10"],
        &["a2", "a10"],
        &["1", "10", "2", "b"],
    ] {
        assert_eq!(numbered(names).open().source.notes, [""; 0], "{names:?}");
    }
}

/// timm's `natural_key`: lower case, and digits as numbers.
#[test]
fn natural_order_is_that_of_timm() {
    let mut names = [
        "b1",
        "A10",
        "a2",
        "a",
        "10",
        "9",
        "a2b10",
        "a2b9",
        "002",
        "_x",
        "99999999999999999999999",
        "100000000000000000000000",
        "Z",
        "é",
    ];
    names.sort_by(|a, b| ClassOrder::Natural.compare(a, b));
    assert_eq!(
        names,
        [
            "002",
            "9",
            "10",
            "99999999999999999999999",
            "100000000000000000000000",
            "_x",
            "a",
            "a2",
            "a2b9",
            "a2b10",
            "A10",
            "b1",
            "Z",
            "é"
        ]
    );
}

#[test]
fn a_class_map_decides_the_labels() {
    let root = numbered(&["cat", "dog", "bird"]);
    root.write("map.txt", b"dog\ncat\nbird\n");
    let map = |text: &str| {
        root.write("map.txt", text.as_bytes());
        ClassMap::read(&root.folder.path().join("map.txt")).unwrap()
    };
    let with = |text: &str| DataOptions {
        class_map: Some(map(text)),
        ..root.options()
    };
    let data = open(&with("dog\ncat\nbird\n")).unwrap();
    assert_eq!(data.classes, ["dog", "cat", "bird"]);
    // The files are in the order of the folders: bird, cat, dog.
    assert_eq!(data.test.labels(), [2, 1, 0]);
    assert!(data.source.class_map);
    let data = open(&with(r#"{"bird": 0, "cat": 1, "dog": 1}"#)).unwrap();
    assert_eq!(data.test.labels(), [0, 1, 1]);
    assert_eq!(data.classes, ["bird", "cat"]);
    let data = open(&with("bird,7\ncat,3\ndog,0\n")).unwrap();
    assert_eq!(data.test.labels(), [7, 3, 0]);
    assert_eq!(data.classes.len(), 8);
    assert_eq!(data.classes[1], "1");

    let message = root.refusal(&with("dog\nbird\n"));
    for says in [
        "1 of 3 class folders",
        "no class of the class map: cat",
        "ignore_unknown_classes",
    ] {
        assert!(message.contains(says), "{message}");
    }
    let ignoring = DataOptions {
        ignore_unknown_classes: true,
        ..with("dog\nbird\nfish\n")
    };
    let data = open(&ignoring).unwrap();
    assert_eq!(data.test.labels(), [1, 0]);
    note(
        &data,
        "left out 1 image of 1 class that the class map does not have: cat",
    );
    note(&data, "has 2 of the class map's 3 classes");
}

/// Runs record these options.
#[test]
fn options_of_folders_are_recorded() {
    let root = numbered(&["cat"]);
    let path = Path::new("map.json");
    root.write("map.json", br#"{"cat": 4}"#);
    let options = DataOptions {
        class_order: ClassOrder::Natural,
        class_map: Some(ClassMap::read(&root.folder.path().join(path)).unwrap()),
        bad_images: BadImages::Skip,
        skipped: paths(&["train/cat/2.png"]),
        exif_transpose: true,
        scale_16bit: true,
        ignore_unknown_classes: true,
        ..root.options()
    };
    let text = toml::to_string(&options).unwrap();
    assert!(text.contains("class_order = \"natural\""), "{text}");
    assert_eq!(toml::from_str::<DataOptions>(&text).unwrap(), options);
    // Runs of earlier versions have none of them.
    let old: DataOptions = toml::from_str("dataset = \"folder\"").unwrap();
    assert_eq!(old.bad_images, BadImages::Error);
}
