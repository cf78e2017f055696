//! Trees of image files.

use std::path::Path;

use candle_mish::data::{
    Augmentation, BadImages, Batch, DataOptions, Dataset, DatasetKind, Image, Loader, LoaderConfig,
    Preprocess, open,
};

use crate::fixture::png;

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn options(root: &Path) -> DataOptions {
    DataOptions {
        dataset: DatasetKind::Folder,
        data_dir: Some(root.to_owned()),
        preprocess: Some(Preprocess {
            input_size: 12,
            ..Preprocess::default()
        }),
        ..DataOptions::default()
    }
}

fn refusal(root: &Path) -> String {
    open(&options(root)).unwrap_err().to_string()
}

fn batches(set: &candle_mish::data::ImageSet, augmentation: Augmentation) -> Vec<Batch> {
    let config = LoaderConfig {
        augmentation,
        seed: 5,
        ..LoaderConfig::in_order(4, [0.0; 3], [1.0; 3])
    };
    let epoch = Loader::new(set.clone(), config).epoch(0, 0);
    epoch.map(|batch| batch.unwrap()).collect()
}

/// Three classes with two to four images each in `train` and in `val`.
fn tree(root: &Path) -> Dataset {
    let mut i = 0;
    for (split, extra) in [("train", 2), ("val", 1)] {
        // In the order of code points: upper case first, 10 before 9.
        for (class, name) in ["Zebra", "class10", "class9"].iter().enumerate() {
            for image in 0..class + extra {
                let file = root.join(split).join(name).join(format!("{image}.png"));
                write(&file, &png(i, 20 + 3 * image as u32, 31));
                i += 1;
            }
        }
    }
    open(&options(root)).unwrap()
}

#[test]
fn classes_and_files_are_in_the_order_of_torchvision() {
    let root = tempfile::tempdir().unwrap();
    let data = tree(root.path());
    assert_eq!(data.classes, ["Zebra", "class10", "class9"]);
    assert_eq!(data.train.labels(), [0, 0, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(data.test.labels(), [0, 1, 1, 2, 2, 2]);
    assert_eq!((data.test.height(), data.test.width()), (12, 12));
    assert!(data.name.parse::<DatasetKind>().unwrap() == DatasetKind::Folder);
    let file = root.path().join("val/class9/1.png");
    let preprocess = data.test.preprocess().unwrap();
    let want = preprocess.pixels(&Image::read(&file).unwrap()).unwrap();
    assert_eq!(data.test.image(4).unwrap(), want);
    // Files in a subfolder come after the files of the class itself. Other files do not count.
    write(&root.path().join("val/Zebra/a/0.PNG"), &png(7, 9, 9));
    write(&root.path().join("val/Zebra/b.jpeg"), &png(8, 9, 9));
    write(&root.path().join("val/Zebra/notes.txt"), b"no image");
    write(&root.path().join("val/notes.txt"), b"no class");
    write(&root.path().join("val/Zebra/c.gif"), b"not read");
    let data = open(&options(root.path())).unwrap();
    assert_eq!(data.test.labels(), [0, 0, 0, 1, 1, 2, 2, 2]);
    let [note] = &data.source.notes[..] else {
        panic!("{:?}", data.source.notes);
    };
    let says = "skipped 2 files without an image extension: 1 .gif, 1 .txt";
    assert!(note.ends_with(says), "{note}");
    let nested = Image::read(&root.path().join("val/Zebra/a/0.PNG")).unwrap();
    assert_eq!(
        data.test.image(2).unwrap(),
        preprocess.pixels(&nested).unwrap()
    );
    let taken = data.test.select(&[3, 2]).take(1);
    assert_eq!((taken.len(), taken.labels()), (1, &[1][..]));
}

/// torchvision counts such a class too: without it all later labels would differ.
#[test]
#[cfg(target_os = "linux")]
fn a_class_whose_name_is_not_utf8_is_not_passed_over() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = tempfile::tempdir().unwrap();
    tree(root.path());
    let name = OsStr::from_bytes(b"caf\xe9");
    write(
        &root.path().join("val").join(name).join("0.png"),
        &png(0, 8, 8),
    );
    let message = refusal(root.path());
    assert!(message.contains("not UTF-8"), "{message}");
}

#[test]
fn grey_images_have_one_channel() {
    let root = tempfile::tempdir().unwrap();
    let data = tree(root.path()).grey();
    let preprocess = *data.test.preprocess().unwrap();
    let decoded = Image::read(&root.path().join("val/class9/1.png")).unwrap();
    let want = preprocess.pixels(&decoded.into_grey()).unwrap();
    assert_eq!(want.len(), 12 * 12);
    assert_eq!(data.test.image(4).unwrap(), want);
    for (augmentation, set) in [
        (Augmentation::none(), &data.test),
        (Augmentation::default(), &data.train),
    ] {
        for batch in batches(set, augmentation) {
            assert_eq!(&batch.images.dims()[1..], [1, 12, 12]);
        }
    }
}

#[test]
fn batches_hold_the_preprocessed_images() {
    let root = tempfile::tempdir().unwrap();
    let data = tree(root.path());
    let found = batches(&data.test, Augmentation::none());
    let sizes: Vec<_> = found.iter().map(|batch| batch.images.dims()[0]).collect();
    assert_eq!(sizes, [4, 2]);
    let values = found[1]
        .images
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    for (i, image) in values.chunks(3 * 12 * 12).enumerate() {
        let want = data.test.image(4 + i).unwrap();
        let bytes: Vec<u8> = image.iter().map(|v| (v * 255.0).round() as u8).collect();
        assert_eq!(bytes, want.as_ref());
    }
}

#[test]
fn training_sees_random_parts_that_repeat_with_the_seed() {
    let root = tempfile::tempdir().unwrap();
    let data = tree(root.path());
    let values = |augmentation: Augmentation| -> Vec<f32> {
        let found = batches(&data.train, augmentation);
        let images = found
            .iter()
            .map(|batch| batch.images.flatten_all().unwrap());
        images
            .flat_map(|image| image.to_vec1::<f32>().unwrap())
            .collect()
    };
    let random = values(Augmentation::default());
    assert_eq!(random, values(Augmentation::default()));
    let plain = values(Augmentation::none());
    let image = 3 * 12 * 12;
    let pairs = random.chunks(image).zip(plain.chunks(image));
    assert_eq!(pairs.filter(|(a, b)| a == b).count(), 0);
    assert!(random.iter().all(|v| (0.0..=1.0).contains(v)));
    // The padding for crops of small images has no effect.
    let padded = Augmentation {
        crop_padding: 9,
        ..Augmentation::default()
    };
    assert_eq!(random, values(padded));
}

#[test]
fn a_single_tree_is_the_test_set() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("b/x.png"), &png(1, 8, 8));
    write(&root.path().join("a/x.png"), &png(2, 8, 8));
    let data = open(&options(root.path())).unwrap();
    assert_eq!(data.classes, ["a", "b"]);
    assert!(data.train.is_empty());
    assert_eq!(data.test.labels(), [0, 1]);
    assert_eq!(data.train.height(), 12);
}

#[test]
fn errors_name_the_problem_of_a_tree() {
    let root = tempfile::tempdir().unwrap();
    let message = refusal(&root.path().join("absent"));
    assert!(message.contains("absent"), "{message}");
    let message = refusal(root.path());
    assert!(message.contains("no class folders"), "{message}");
    write(&root.path().join("train/a/x.png"), &png(1, 8, 8));
    let message = refusal(root.path());
    assert!(message.contains("no val, validation or test"), "{message}");
    write(&root.path().join("test/b/x.png"), &png(1, 8, 8));
    let message = refusal(root.path());
    for says in [
        "train/a has 1 image, test/a does not exist",
        "train/b does not exist, test/b has 1 image",
    ] {
        assert!(message.contains(says), "{message}");
    }
    write(&root.path().join("train/b/notes.txt"), b"");
    let message = refusal(root.path());
    let says = "train/b has no images, test/b has 1 image";
    assert!(message.contains(says), "{message}");
    std::fs::create_dir(root.path().join("single")).unwrap();
    std::fs::create_dir(root.path().join("single/c")).unwrap();
    let message = refusal(&root.path().join("single"));
    assert!(message.contains("class c has no images"), "{message}");
    let nowhere = DataOptions {
        data_dir: None,
        ..options(root.path())
    };
    let message = open(&nowhere).unwrap_err().to_string();
    assert!(
        message.contains("data_dir must name the folder"),
        "{message}"
    );
}

#[test]
fn a_damaged_file_ends_the_epoch_with_its_name() {
    let root = tempfile::tempdir().unwrap();
    let data = tree(root.path());
    let damaged = root.path().join("val/class10/1.png");
    let whole = std::fs::read(&damaged).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"", b"not an image"] {
        write(&damaged, bytes);
        let config = LoaderConfig::in_order(2, [0.0; 3], [1.0; 3]);
        let mut epoch = Loader::new(data.test.clone(), config).epoch(0, 0);
        assert!(epoch.next().unwrap().is_ok());
        let message = epoch.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("class10/1.png"), "{message}");
        assert!(message.contains("bad_images = skip"), "{message}");
        assert!(epoch.next().is_none());
    }
}

#[test]
fn classes_take_turns_under_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let whole = tree(folder.path());
    let limited = open(&DataOptions {
        limit_train: Some(7),
        limit_test: Some(2),
        ..options(folder.path())
    })
    .unwrap();
    // The classes have two, three and four training images.
    assert_eq!(limited.train.labels(), [0, 1, 2, 0, 1, 2, 1]);
    assert_eq!(limited.test.labels(), [0, 1]);
    let image = |set: &candle_mish::data::ImageSet, i: usize| set.image(i).unwrap().to_vec();
    assert_eq!(image(&limited.train, 2), image(&whole.train, 5));
    assert_eq!(image(&limited.train, 6), image(&whole.train, 4));
}

#[test]
fn a_folder_whose_test_images_are_all_bad_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    for class in std::fs::read_dir(folder.path().join("val")).unwrap() {
        for file in std::fs::read_dir(class.unwrap().path()).unwrap() {
            std::fs::write(file.unwrap().path(), b"no image").unwrap();
        }
    }
    let skipping = DataOptions {
        bad_images: BadImages::Skip,
        ..options(folder.path())
    };
    let message = open(&skipping).unwrap_err().to_string();
    assert!(
        message.contains("no image is left to evaluate on"),
        "{message}"
    );
}
