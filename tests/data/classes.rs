//! The labels of class folders in a network.

use std::path::Path;

use candle_mish::data::{
    ClassMap, DataError, DataOptions, Dataset, DatasetKind, ImageSet, UnknownClasses, imagenet,
    open,
};

/// A data set of the classes `names`, with 1, 2, 3, … test images.
fn dataset(names: &[&str]) -> Dataset {
    let root = tempfile::tempdir().unwrap();
    let pixel = image::RgbImage::from_pixel(2, 2, image::Rgb([1, 2, 3]));
    for (i, name) in names.iter().enumerate() {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        for image in 0..=i {
            pixel.save(folder.join(format!("{image}.png"))).unwrap();
        }
    }
    let options = DataOptions {
        dataset: DatasetKind::Folder,
        data_dir: Some(root.path().to_owned()),
        ..DataOptions::default()
    };
    open(&options).unwrap()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn mapped(folders: &[&str], network: &[String]) -> Result<Dataset, DataError> {
    dataset(folders).map_classes(network, UnknownClasses::Refuse)
}

/// The example of the issue: b and c must not count as a and b.
#[test]
fn names_decide_the_labels() {
    let data = mapped(&["b", "c"], &owned(&["a", "b", "c"])).unwrap();
    assert_eq!(data.test.labels(), [1, 2, 2]);
    assert_eq!(data.classes, ["a", "b", "c"]);
    let note = data.source.notes.last().unwrap();
    assert!(note.contains("has 2 of the network's 3 classes"), "{note}");
    let data = mapped(&["a", "b"], &owned(&["b", "a"])).unwrap();
    assert_eq!(data.test.labels(), [1, 0, 0]);
    assert_eq!(data.source.notes, [""; 0]);
}

#[test]
fn the_same_classes_change_nothing() {
    let plain = dataset(&["a", "b"]);
    let labels = plain.test.labels().to_vec();
    let data = plain.map_classes(&owned(&["a", "b"]), UnknownClasses::Refuse);
    assert_eq!(data.unwrap().test.labels(), labels);
}

#[test]
fn unknown_classes_are_listed_or_left_out() {
    let folders = ["a", "x", "y"];
    let network = owned(&["a", "b"]);
    let message = mapped(&folders, &network).unwrap_err().to_string();
    for says in [
        "2 of 3 class folders",
        "of the network: x, y",
        "class_map",
        "ignore_unknown_classes",
    ] {
        assert!(message.contains(says), "{message}");
    }
    let data = dataset(&folders).map_classes(&network, UnknownClasses::Ignore);
    let data = data.unwrap();
    assert_eq!(data.test.labels(), [0]);
    let notes = data.source.notes.join("\n");
    assert!(notes.contains("left out 5 images of 2 classes"), "{notes}");
    assert!(notes.contains("x (2), y (3)"), "{notes}");
    assert!(
        notes.contains("has 1 of the network's 2 classes"),
        "{notes}"
    );
    // Without any known class there is nothing to measure.
    let none = dataset(&["x", "y"]).map_classes(&network, UnknownClasses::Ignore);
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("2 of 2 class folders")
    );
    // A long list is abridged.
    let many: Vec<String> = (10..60).map(|i| format!("c{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let message = mapped(&many, &network).unwrap_err().to_string();
    assert!(message.contains("c17 and 42 more"), "{message}");
}

#[test]
fn all_splits_are_mapped() {
    let set =
        |labels: Vec<u32>| ImageSet::new(vec![0; 3 * labels.len()], 1, 1, labels, None).unwrap();
    let mut data = dataset(&["a", "b", "x"]);
    data.train = set(vec![2, 1, 0, 1]);
    data.validation = Some(set(vec![0, 2]));
    let data = data.map_classes(&owned(&["b", "a"]), UnknownClasses::Ignore);
    let data = data.unwrap();
    assert_eq!(data.train.labels(), [0, 1, 0]);
    assert_eq!(data.validation.unwrap().labels(), [1]);
    assert_eq!(data.test.labels(), [1, 0, 0]);
}

fn imagenet_names() -> Vec<String> {
    owned(&imagenet::NAMES)
}

#[test]
fn imagenet_has_a_thousand_classes_in_the_order_of_their_labels() {
    assert!(imagenet::IDS.is_sorted_by(|a, b| a < b));
    assert_eq!(
        (imagenet::IDS[0], imagenet::NAMES[0]),
        ("n01440764", "tench")
    );
    assert_eq!(
        (imagenet::IDS[281], imagenet::NAMES[281]),
        ("n02123045", "tabby")
    );
    assert_eq!(
        (imagenet::IDS[999], imagenet::NAMES[999]),
        ("n15075141", "toilet tissue")
    );
    for (label, (id, name)) in imagenet::IDS.iter().zip(imagenet::NAMES).enumerate() {
        assert!(id.len() == 9 && id.starts_with('n'), "{id}");
        assert_eq!(imagenet::label_of_id(id), Some(label));
        assert_eq!(imagenet::label_of_name(name), Some(label));
    }
    assert_eq!(imagenet::label_of_name("Golden_Retriever"), Some(207));
    // A dog and a garment.
    assert_eq!(imagenet::label_of_name("cardigan"), Some(474));
    assert_eq!(imagenet::label_of_name("Cardigan"), Some(264));
    assert_eq!(imagenet::label_of_name("CARDIGAN"), None);
}

/// Imagenette's folders are identifiers. Its labels are the indices that fast.ai documents.
#[test]
fn identifiers_and_names_of_imagenet_are_one_class() {
    let imagenette = [
        ("n01440764", "tench", 0),
        ("n02102040", "English springer", 217),
        ("n02979186", "cassette player", 482),
        ("n03000684", "chain saw", 491),
        ("n03028079", "church", 497),
        ("n03394916", "French horn", 566),
        ("n03417042", "garbage truck", 569),
        ("n03425413", "gas pump", 571),
        ("n03445777", "golf ball", 574),
        ("n03888257", "parachute", 701),
    ];
    let ids = imagenette.map(|(id, ..)| id);
    let labels: Vec<u32> = imagenette.iter().map(|(.., label)| *label).collect();
    for network in [imagenet_names(), owned(&imagenet::IDS)] {
        let data = mapped(&ids, &network).unwrap();
        let mut found = data.test.labels().to_vec();
        found.dedup();
        assert_eq!(found, labels);
        assert_eq!(data.classes, network);
        assert!(
            data.source
                .notes
                .last()
                .unwrap()
                .contains("10 of the network's 1000")
        );
    }
    // In the order of the folders: English_springer, chain saw, tench.
    let data = mapped(
        &["tench", "English_springer", "chain saw"],
        &imagenet_names(),
    );
    assert_eq!(data.unwrap().test.labels(), [217, 217, 491, 491, 491, 0]);
    // A network of ten classes that records identifiers, and folders with names.
    let data = mapped(&["church", "tench"], &owned(&ids)).unwrap();
    assert_eq!(data.test.labels(), [4, 0, 0]);
}

/// ImageNet-V2 has the folders 0 to 999, which sort as 0, 1, 10, 100, …
#[test]
fn numbers_are_labels_of_imagenet_only() {
    let data = mapped(&["0", "1", "10", "100", "2"], &imagenet_names()).unwrap();
    let mut found = data.test.labels().to_vec();
    found.dedup();
    assert_eq!(found, [0, 1, 10, 100, 2]);
    assert!(mapped(&["0", "1000"], &imagenet_names()).is_err());
    assert!(mapped(&["0", "tench"], &imagenet_names()).is_err());
    assert!(mapped(&["0", "1"], &owned(&["cat", "dog"])).is_err());
    let hundred: Vec<String> = imagenet_names().into_iter().take(100).collect();
    assert!(mapped(&["0", "1"], &hundred).is_err());
}

#[test]
fn two_folders_for_one_class_are_refused() {
    let message = mapped(&["n01440764", "tench"], &imagenet_names());
    let message = message.unwrap_err().to_string();
    for says in ["n01440764", "both the network's class tench"] {
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn labels_of_a_class_map_stay() {
    let mut data = dataset(&["x", "y"]);
    data.source.class_map = true;
    let network = owned(&["a", "b", "c"]);
    let named = data.clone().map_classes(&network, UnknownClasses::Refuse);
    let named = named.unwrap();
    assert_eq!(named.test.labels(), [0, 1, 1]);
    assert_eq!(named.classes, network);
    let message = data.map_classes(&owned(&["a"]), UnknownClasses::Refuse);
    let message = message.unwrap_err().to_string();
    assert!(
        message.contains("class_map = 2 classes: the network has 1"),
        "{message}"
    );
}

fn class_map(text: &str) -> Result<ClassMap, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    std::fs::write(&path, text).unwrap();
    ClassMap::read(&path).map_err(|error| {
        let message = error.to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    })
}

#[test]
fn class_maps_have_several_forms() {
    let wanted = [("cat", 0), ("great white shark", 1), ("747", 2)];
    for text in [
        "cat\ngreat white shark\n747\n",
        "\u{feff}cat\r\n great white shark \r\n747",
        "747 2\ncat 0\ngreat white shark 1\n\n",
        "cat,0\ngreat white shark, 1\n747,2",
        "cat\t0\ngreat white shark\t1\n747\t2\n",
        r#"{"cat": 0, "great white shark": 1, "747": 2}"#,
        r#" {"0": "cat", "1": "great white shark", "2": "747"}"#,
        r#"{"0": ["cat"], "1": ["great white shark", "n01484850"], "2": ["747"]}"#,
        r#"["cat", "great white shark", "747"]"#,
    ] {
        let map = class_map(text).unwrap();
        for (name, label) in wanted {
            assert_eq!(map.label(name), Some(label), "{text}");
        }
        assert_eq!(map.classes(), ["cat", "great white shark", "747"], "{text}");
        assert_eq!(map.label("dog"), None);
    }
    // Names that end with numbers, of which one repeats without its number, are names.
    let cars = class_map("Audi S4 2007\nAudi S4 2012\nDodge Ram 2010\n").unwrap();
    assert_eq!(cars.label("Audi S4 2012"), Some(1));
    let aircraft = class_map("Cessna 172\nDC-10\nFokker 100\n").unwrap();
    assert_eq!(aircraft.label("Fokker 100"), Some(2));
}

#[test]
fn bad_class_maps_are_refused_with_their_line() {
    for (text, says) in [
        ("", "the class map is empty"),
        ("\n\n", "the class map is empty"),
        ("{}", "the class map is empty"),
        ("cat\ndog\ncat\n", "line 3: class 'cat' appears twice"),
        ("cat\n\ndog\n", "line 2: the name is empty"),
        ("cat,0\ndog\n", "line 2: 'dog' has no label"),
        (
            "cat,0\ndog,one\n",
            "line 2: label 'one' is not a whole number",
        ),
        (
            "cat,0\ndog,-1\n",
            "line 2: label '-1' is not a whole number",
        ),
        (
            "cat\t0\ndog\t4294967295\n",
            "line 2: label 4294967295 is too large",
        ),
        ("{\n\"cat\": 0,\n\"dog\": }\n", "line 3: invalid JSON"),
        (
            r#"{"cat": 0.5}"#,
            r#"entry "cat": the label is not a whole number"#,
        ),
        (r#"{"cat": "dog"}"#, r#"entry "cat": 'cat' is not a label"#),
        (
            r#"{"cat": true}"#,
            r#"entry "cat": true is not a label or a name"#,
        ),
        (r#"["cat", 3]"#, "entry 1: 3 is not a name"),
        (r#"{"0": "cat", "1": "cat"}"#, "class 'cat' appears twice"),
    ] {
        let message = class_map(text).unwrap_err();
        assert!(message.contains(says), "{text:?}: {message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.pkl");
    std::fs::write(&path, b"\x80\x04\x95\xff\xfe").unwrap();
    let message = ClassMap::read(&path).unwrap_err().to_string();
    assert!(message.contains("not UTF-8"), "{message}");
    assert!(ClassMap::read(Path::new("/absent/map.txt")).is_err());
}
