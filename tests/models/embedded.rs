//! Weights inside of the library.

use std::path::Path;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::checkpoint;
use candle_mish::nn::ParamStore;
use candle_mish_models::weights::Weights;
use candle_mish_models::{Embedded, ModelArgs, ModelSpec, create, embedded, from_embedded};
use sha2::{Digest, Sha256};

use crate::rule;

/// The limit of all files together.
const LIMIT: usize = 12 << 20;

/// A row with an f16 file of a small network.
fn fixture(folder: &Path, activation: Activation) -> Result<(Embedded, ParamStore)> {
    let spec = ModelSpec {
        activation,
        num_classes: 10,
        ..ModelSpec::new("mlp_2x8")
    };
    let store = ParamStore::new(DType::F32, &Device::Cpu, 5);
    create(&spec, store.var_builder()).expect("a network");
    let halves = store.tensors().into_iter().map(|(name, tensor)| {
        let dtype = if tensor.dtype().is_float() {
            DType::F16
        } else {
            tensor.dtype()
        };
        Ok((name, tensor.to_dtype(dtype)?))
    });
    let halves = halves.collect::<Result<Vec<(String, Tensor)>>>()?;
    let path = folder.join("weights.safetensors");
    let mut metadata = spec.to_metadata();
    metadata.insert("image_size".to_string(), "32".to_string());
    metadata.insert("mean".to_string(), "[0.5,0.5,0.5]".to_string());
    metadata.insert("std".to_string(), "[0.25,0.25,0.25]".to_string());
    checkpoint::write(&path, &halves, &metadata).expect("written");
    // Of the values that the file has.
    let store_of_file = ParamStore::zeros(DType::F32, &Device::Cpu);
    create(&spec, store_of_file.var_builder()).expect("a network");
    store_of_file.load_tensors(&halves.into_iter().collect())?;
    let row = Embedded {
        model: "mlp_2x8",
        activation,
        dataset: "cifar10",
        num_classes: 10,
        top1: 0.5,
        sha256: "",
        bytes: std::fs::read(&path)?.leak(),
    };
    Ok((row, store_of_file))
}

#[test]
fn half_precision_becomes_f32() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (row, store) = fixture(folder.path(), Activation::Silu)?;
    let weights = Weights::read_embedded(&row).expect("weights");
    assert_eq!(weights.origin, "<embedded>/mlp_2x8-silu.safetensors");
    let network = weights.build(&ModelArgs::named("mlp_2x8"), &Device::Cpu);
    let network = network.expect("a network");
    assert_eq!(network.spec.activation, Activation::Silu);
    assert!(network.notes.is_empty(), "{:?}", network.notes);
    for (name, tensor) in network.store.tensors() {
        assert!(tensor.dtype() != DType::F16, "{name}");
    }
    let images = rule::images((2, 3, 32, 32))?;
    let own = create(&network.spec, store.frozen().var_builder()).expect("a network");
    let own = own.forward_t(&images, false)?.to_vec2::<f32>()?;
    assert_eq!(network.forward(&images)?.to_vec2::<f32>()?, own);
    Ok(())
}

#[test]
fn weights_of_another_activation_are_reported() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (row, _) = fixture(folder.path(), Activation::Mish)?;
    let weights = Weights::read_embedded(&row).expect("weights");
    let args = ModelArgs {
        activation: Some(Activation::Relu),
        ..ModelArgs::named("mlp_2x8")
    };
    let network = weights.build(&args, &Device::Cpu).expect("a network");
    let notes: Vec<String> = network.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["the weights were trained with mish, not relu"]);
    Ok(())
}

#[test]
fn bytes_that_are_no_checkpoint_are_refused() {
    let row = Embedded {
        model: "mlp_2x8",
        activation: Activation::Mish,
        dataset: "cifar10",
        num_classes: 10,
        top1: 0.5,
        sha256: "",
        bytes: &[1, 0, 0],
    };
    let error = Weights::read_embedded(&row)
        .expect_err("no weights")
        .to_string();
    assert!(
        error.starts_with("<embedded>/mlp_2x8-mish.safetensors is not a valid"),
        "{error}"
    );
}

/// Every row describes its file, and the model card has its hash.
#[test]
fn rows_are_those_of_their_files() {
    let card = include_str!("../../docs/embedded-weights.md");
    let mut bytes = 0;
    for row in embedded() {
        let context = format!("{} with {}", row.model, row.activation);
        let hash = Sha256::digest(row.bytes);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, row.sha256, "{context}");
        assert!(
            card.contains(&hash),
            "{context}: the model card lacks {hash}"
        );
        let network = from_embedded(row.model, Some(row.activation), &Device::Cpu);
        let network = network.expect("a network");
        assert_eq!(network.spec.activation, row.activation, "{context}");
        assert_eq!(network.spec.num_classes, row.num_classes, "{context}");
        assert_eq!(network.metadata["dataset"], row.dataset, "{context}");
        assert!(network.notes.is_empty(), "{context}: {:?}", network.notes);
        let classes = network.classes.map(|names| names.len());
        assert_eq!(classes, Some(row.num_classes), "{context}");
        assert!((0.0..=1.0).contains(&row.top1), "{context}");
        bytes += row.bytes.len();
    }
    assert!(bytes <= LIMIT, "{bytes} bytes");
    let none = embedded().next().is_none();
    assert_eq!(card.contains("There are no embedded weights yet."), none);
}

#[test]
fn a_network_without_embedded_weights_is_refused() {
    let Err(error) = from_embedded("mlp_2x8", None, &Device::Cpu) else {
        panic!("weights");
    };
    let error = error.to_string();
    let expected = if embedded().next().is_none() {
        "this build has no embedded weights"
    } else {
        "mlp_2x8 has no embedded weights; there are "
    };
    assert!(error.starts_with(expected), "{error}");
}
