//! Opens a trained network in one call: a file, or timm's weights from the Hugging Face Hub.
//!
//! `cargo run --release --package candle-mish-models --features hub --example pretrained -- resnet50`
//! (or a file; without an argument the example writes one and opens it)

use std::path::Path;

use candle_core::{DType, Device, Module, Tensor};
use candle_mish::{checkpoint, nn::ParamStore};
use candle_mish_models::{ModelSpec, Tag, create, create_pretrained, find, from_file};
use candle_nn::ops::softmax;

/// Writes a ResNet-20 for three classes, with random weights and a header that describes it.
fn write(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let spec = ModelSpec {
        num_classes: 3,
        ..ModelSpec::new("resnet20")
    };
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    create(&spec, store.var_builder())?;
    let mut header = spec.to_metadata();
    let classes = r#"["cat", "dog", "owl"]"#;
    header.insert("classes".to_string(), classes.to_string());
    Ok(checkpoint::write(path, &store.tensors(), &header)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let model = match std::env::args().nth(1) {
        Some(file) if Path::new(&file).is_file() => from_file(file, &device)?,
        Some(name) => create_pretrained(&name, Tag::Default, &device)?,
        None => {
            let path = std::env::temp_dir().join("candle-mish-example.safetensors");
            write(&path)?;
            from_file(path, &device)?
        }
    };
    println!("{} from {}", model.spec, model.origin);
    for note in &model.notes {
        println!("note: {note}");
    }

    // Real images need the size and the normalisation of `model.preprocess`.
    let (_, height, width) = find(&model.spec.model)?.form(model.spec.stem)?.input;
    let images = Tensor::zeros((1, model.spec.in_chans, height, width), DType::F32, &device)?;
    let probabilities = softmax(&model.forward(&images)?, 1)?
        .squeeze(0)?
        .to_vec1::<f32>()?;
    for (class, probability) in probabilities.iter().enumerate().take(5) {
        let name = model.classes.as_ref().and_then(|names| names.get(class));
        let name = name.map_or("", String::as_str);
        println!("class {class} {name}: {probability:.3}");
    }
    Ok(())
}
