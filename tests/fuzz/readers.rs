//! Every reader of foreign bytes as a function of bytes, for the tests and for the fuzzer.
//!
//! A function returns whether the reader accepts the bytes. It must neither panic nor take more
//! memory or time than bytes of this length can need.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use candle_core::{DType, Device};
use candle_mish::checkpoint;
use candle_mish::data::{
    self, ClassMap, DataOptions, DatasetKind, DecodeOptions, Image, Preprocess,
};
use candle_mish::nn::ParamStore;
use candle_mish::train::{Recipe, RunState};
use candle_mish_models::weights::Weights;
use candle_mish_models::{BuildContext, DarknetCfg, ModelArgs, ModelSpec, check_options, create};
use serde::Deserialize;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A reader.
pub struct Target {
    /// The name, also of the folder with its seeds.
    pub name: &'static str,
    /// Reads bytes and returns whether they are accepted.
    pub read: fn(&[u8]) -> bool,
}

/// All readers.
pub const TARGETS: [Target; 18] = [
    Target {
        name: "checkpoint",
        read: checkpoint,
    },
    Target {
        name: "pickle",
        read: pickle,
    },
    Target {
        name: "index",
        read: index,
    },
    Target {
        name: "weights",
        read: weights,
    },
    Target {
        name: "description",
        read: description,
    },
    Target {
        name: "darknet_cfg",
        read: darknet_cfg,
    },
    Target {
        name: "darknet_weights",
        read: darknet_weights,
    },
    Target {
        name: "parquet",
        read: parquet,
    },
    Target {
        name: "cifar_binary",
        read: cifar_binary,
    },
    Target {
        name: "cifar_archive",
        read: cifar_archive,
    },
    Target {
        name: "cifar_python",
        read: cifar_python,
    },
    Target {
        name: "idx",
        read: idx,
    },
    Target {
        name: "class_map",
        read: class_map,
    },
    Target {
        name: "image",
        read: image,
    },
    Target {
        name: "image_folder",
        read: image_folder,
    },
    Target {
        name: "recipe",
        read: recipe,
    },
    Target {
        name: "configuration",
        read: configuration,
    },
    Target {
        name: "run_state",
        read: run_state,
    },
];

/// Calls `read` with a folder that has these files. Each thread reuses its folder.
fn with_files<T>(files: &[(&str, &[u8])], read: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder");
    }
    FOLDER.with(|folder| {
        for (name, bytes) in files {
            let path = folder.path().join(name);
            if name.contains('/') {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            }
            std::fs::write(path, bytes).expect("a file");
        }
        let result = read(folder.path());
        for (name, _) in files {
            std::fs::remove_file(folder.path().join(name)).expect("a file");
        }
        result
    })
}

/// A checkpoint of any format.
pub fn checkpoint(bytes: &[u8]) -> bool {
    with_files(&[("weights", bytes)], |folder| {
        checkpoint::read(&folder.join("weights")).is_ok()
    })
}

/// The pickle in a PyTorch file. The archive around it is intact: a fuzzer does not find its
/// checksums.
pub fn pickle(bytes: &[u8]) -> bool {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: String, bytes: &[u8]| {
        let options = SimpleFileOptions::default();
        archive.start_file(name, options).expect("a file");
        archive.write_all(bytes).expect("written");
    };
    add("archive/data.pkl".to_string(), bytes);
    for storage in 0..4 {
        add(format!("archive/data/{storage}"), &[storage; 24]);
    }
    let archive = archive.finish().expect("an archive").into_inner();
    checkpoint(&archive)
}

/// The index of a checkpoint in several files.
pub fn index(bytes: &[u8]) -> bool {
    let shard = safetensors(&["a"], &BTreeMap::new());
    let files = [("index.json", bytes), ("shard.safetensors", &*shard)];
    with_files(&files, |folder| {
        checkpoint::read(&folder.join("index.json")).is_ok()
    })
}

/// Weights whose keys are renamed for a network, and the entries of their header.
pub fn weights(bytes: &[u8]) -> bool {
    with_files(&[("weights", bytes)], |folder| {
        Weights::read(&folder.join("weights")).is_ok_and(|weights| loads(&weights))
    })
}

/// timm's description of weights.
pub fn description(bytes: &[u8]) -> bool {
    let weights = safetensors(&[], &BTreeMap::new());
    let files = [("weights.safetensors", &*weights), ("config.json", bytes)];
    with_files(&files, |folder| {
        let weights = Weights::read(&folder.join("weights.safetensors"));
        weights.is_ok_and(|weights| weights.spec(&ModelArgs::default()).is_ok())
    })
}

/// A `.cfg` file of darknet. Builds its network without values, and again from its text.
pub fn darknet_cfg(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.parse::<DarknetCfg>().is_ok_and(|cfg| {
        let again: DarknetCfg = cfg.to_string().parse().expect("its own text");
        assert_eq!(cfg, again);
        let spec = ModelSpec::of_cfg(&cfg);
        check_options(&spec, &BuildContext::default()).is_ok()
    })
}

/// A `.weights` file of darknet for a small network.
pub fn darknet_weights(bytes: &[u8]) -> bool {
    let cfg =
        b"[net]\nheight=8\nwidth=8\nchannels=1\n[convolutional]\nbatch_normalize=1\nfilters=2\n\
                size=3\npad=1\nactivation=mish\n[avgpool]\n[convolutional]\nfilters=3\n\
                activation=linear\n";
    let files = [("a.weights", bytes), ("a.cfg", &cfg[..])];
    with_files(&files, |folder| {
        let weights = Weights::read(&folder.join("a.weights"));
        weights.is_ok_and(|weights| weights.build(&ModelArgs::default(), &Device::Cpu).is_ok())
    })
}

/// Whether the header describes a network. Copies the tensors into a small one, and builds the one
/// that the header describes if its name is that of a small one.
fn loads(weights: &Weights) -> bool {
    thread_local! {
        static NETWORK: (ModelSpec, ParamStore) = {
            let spec = ModelSpec::new("resnet20");
            let store = ParamStore::zeros(DType::F32, &Device::Cpu);
            (spec, store)
        };
    }
    NETWORK.with(|(spec, store)| {
        let network = create(spec, store.var_builder()).expect("a network");
        let transfer = weights.transfer(&*network, spec, store);
        let preprocess = weights.preprocess(spec);
        let described = weights.spec(&ModelArgs::default());
        if matches!(&described, Ok((own, _)) if own.model == spec.model) {
            // An error, as the seeds have some of the tensors only.
            drop(weights.clone().build(&ModelArgs::default(), &Device::Cpu));
        }
        transfer.is_ok() && preprocess.is_ok() && described.is_ok() && weights.classes().is_ok()
    })
}

/// A safetensors file with a byte for each of these tensors.
fn safetensors(tensors: &[&str], metadata: &BTreeMap<&str, &str>) -> Vec<u8> {
    let mut header = serde_json::json!({ "__metadata__": metadata });
    for (i, name) in tensors.iter().enumerate() {
        let tensor = serde_json::json!({"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]});
        header[*name] = tensor;
    }
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + tensors.len(), 7);
    bytes
}

/// A data set from the files of a folder.
fn dataset(kind: DatasetKind, files: &[(&str, &[u8])]) -> bool {
    with_files(files, |folder| {
        let options = DataOptions {
            dataset: kind,
            data_dir: Some(folder.to_path_buf()),
            // A folder that cannot be made: nothing is cached.
            cache_dir: Some(folder.join(files[0].0).join("cache")),
            offline: true,
            ..DataOptions::default()
        };
        data::open(&options).is_ok()
    })
}

/// A Parquet file of CIFAR-100.
pub fn parquet(bytes: &[u8]) -> bool {
    dataset(
        DatasetKind::Cifar100,
        &[("train.parquet", bytes), ("test.parquet", bytes)],
    )
}

/// A file of CIFAR-100's binary version.
pub fn cifar_binary(bytes: &[u8]) -> bool {
    dataset(
        DatasetKind::Cifar100,
        &[("train.bin", bytes), ("test.bin", bytes)],
    )
}

/// A file of CIFAR-100's Python version, a pickle.
pub fn cifar_python(bytes: &[u8]) -> bool {
    dataset(DatasetKind::Cifar100, &[("train", bytes), ("test", bytes)])
}

/// The archive of CIFAR-100's binary version. The bytes are those of the tar file: a fuzzer does not
/// find the checksum of gzip.
pub fn cifar_archive(bytes: &[u8]) -> bool {
    let mut archive = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    archive.write_all(bytes).expect("written");
    let archive = archive.finish().expect("an archive");
    dataset(
        DatasetKind::Cifar100,
        &[("cifar-100-binary.tar.gz", &archive)],
    )
}

/// A file of MNIST, of images or of labels, gzipped or not.
pub fn idx(bytes: &[u8]) -> bool {
    let mut image = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28].to_vec();
    image.resize(image.len() + 28 * 28, 0);
    let label = [0, 0, 8, 1, 0, 0, 0, 1, 7];
    let mnist = |images: &[u8], labels: &[u8]| {
        let files = [
            ("train-images-idx3-ubyte", images),
            ("train-labels-idx1-ubyte", labels),
            ("t10k-images-idx3-ubyte", images),
            ("t10k-labels-idx1-ubyte", labels),
        ];
        dataset(DatasetKind::Mnist, &files)
    };
    mnist(bytes, &label) || mnist(&image, bytes)
}

/// A class map, in any of its formats.
pub fn class_map(bytes: &[u8]) -> bool {
    with_files(&[("classes", bytes)], |folder| {
        let map = ClassMap::read(&folder.join("classes"));
        map.is_ok_and(|map| !map.classes().is_empty())
    })
}

/// A folder with an image file of any format, whose header is checked.
pub fn image_folder(bytes: &[u8]) -> bool {
    dataset(DatasetKind::Folder, &[("class/image.tif", bytes)])
}

/// An image file of any format, and its preprocessing. Its extension makes a BigTIFF file known.
pub fn image(bytes: &[u8]) -> bool {
    with_files(&[("image.tif", bytes)], |folder| {
        let preprocess = Preprocess {
            input_size: 8,
            ..Preprocess::default()
        };
        let options = DecodeOptions {
            exif_transpose: true,
            scale_16bit: true,
        };
        let image = Image::read_with(&folder.join("image.tif"), options);
        image.is_ok_and(|image| preprocess.pixels(&image).is_ok())
    })
}

/// A recipe.
pub fn recipe(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Recipe::from_toml(text).is_ok())
}

/// The configuration of a run: the types that `mish` reads it into.
pub fn configuration(bytes: &[u8]) -> bool {
    /// As `Config` in `bin/config.rs`.
    #[derive(Deserialize)]
    struct Config {
        #[serde(flatten)]
        network: ModelArgs,
        #[serde(default)]
        recipe: Recipe,
        #[serde(default)]
        data: DataOptions,
    }
    let config = std::str::from_utf8(bytes).ok();
    let config = config.and_then(|text| toml::from_str::<Config>(text).ok());
    config.is_some_and(|config| {
        let preprocess = config.data.preprocess.unwrap_or_default();
        let spec = config.network.over(ModelSpec::new("resnet20"));
        !spec.to_string().is_empty()
            && config.recipe.validate().is_ok()
            && preprocess.check().is_ok()
    })
}

/// The progress in the state of a run. The safetensors file around it is intact.
pub fn run_state(bytes: &[u8]) -> bool {
    let progress = String::from_utf8_lossy(bytes);
    let state = safetensors(&[], &BTreeMap::from([("progress", &*progress)]));
    with_files(&[("state.safetensors", &state)], |folder| {
        RunState::read(&folder.join("state.safetensors")).is_ok()
    })
}
