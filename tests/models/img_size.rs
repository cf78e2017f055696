//! Networks that take images of one size only: [`ModelSpec::img_size`].

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::nn::{ParamStore, summarize};
use candle_mish_models::{ModelError, ModelSpec, create, entries, find};

fn grey(model: &str, img_size: Option<usize>) -> ModelSpec {
    ModelSpec {
        num_classes: 10,
        in_chans: 1,
        img_size,
        ..ModelSpec::new(model)
    }
}

/// Parameters, and multiply-adds for an image of 28x28 pixels.
fn cost(spec: &ModelSpec) -> Result<(usize, u64)> {
    let store = ParamStore::zeros(DType::F32, &Device::Cpu);
    let model = create(spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    let image = Tensor::zeros((1, 1, 28, 28), DType::F32, &Device::Cpu)?;
    let (logits, layers) = summarize(|| model.forward_t(&image, false))?;
    assert_eq!(logits.dims(), [1, 10], "{spec}");
    let products = layers.iter().map(|layer| layer.multiply_adds).sum();
    Ok((store.num_params(), products))
}

/// The author's notebook prints 1,256,080 parameters for LeNet-4. The depth study's network has those
/// of its layers in Keras, apart from the dense layers' biases and with two values per norm.
#[test]
fn networks_for_mnist_have_the_size_of_the_authors() -> Result<()> {
    assert_eq!(cost(&grey("lenet4", Some(28)))?.0, 1_256_080);
    for depth in [2, 12, 22] {
        let convolutions = (25 + 1) * 20 + (20 * 25 + 1) * 50;
        let dense = 50 * 10 * 10 * 500 + (depth - 1) * 500 * 500 + depth * 1000;
        let name = format!("conv2_mlp_{depth}x500");
        let params = convolutions + dense + 501 * 10;
        assert_eq!(cost(&grey(&name, Some(28)))?.0, params, "{name}");
    }
    Ok(())
}

#[test]
fn a_size_belongs_to_the_network_and_its_header() {
    for entry in entries().filter(|entry| entry.img_size(28).is_some()) {
        assert_eq!((entry.img_size(28), entry.img_size(32)), (Some(28), None));
        let spec = grey(entry.name, Some(28));
        assert_eq!(
            ModelSpec::from_metadata(&spec.to_metadata()).expect("complete"),
            spec
        );
        assert!(spec.to_string().contains("28x28 images"), "{spec}");
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        let model = create(&spec, store.var_builder()).expect("a network");
        let wider = Tensor::zeros((1, 1, 32, 32), DType::F32, &Device::Cpu).expect("an image");
        let error = model.forward_t(&wider, false).expect_err("another size");
        assert!(error.to_string().contains("takes 28x28 images"), "{error}");
    }
    let spec = grey("lenet4", None);
    assert!(!spec.to_metadata().contains_key("img_size"));
}

#[test]
fn other_networks_and_impossible_sizes_are_refused() {
    let refused = |model: &str, size| {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        match create(&grey(model, Some(size)), store.var_builder()) {
            Err(error @ (ModelError::Option(_) | ModelError::Build(_))) => error.to_string(),
            Err(error) => panic!("{model}: {error}"),
            Ok(_) => panic!("{model} takes {size}"),
        }
    };
    assert_eq!(
        refused("resnet20", 28),
        "img_size has no effect on resnet20"
    );
    assert_eq!(
        refused("lenet4", 0),
        "img_size is 0, must be from 1 to 1024"
    );
    assert!(refused("mlp_2x8", 1025).contains("must be from 1 to 1024"));
    for (model, size) in [
        ("conv2_mlp_2x500", 9),
        ("conv4_mlp_1x512", 6),
        ("lenet4", 3),
    ] {
        let error = refused(model, size);
        assert!(error.contains("too small"), "{model}: {error}");
    }
    assert_eq!(find("resnet20").expect("listed").img_size(28), None);
}
