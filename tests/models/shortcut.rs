//! The choice of shortcuts of the CIFAR ResNets. tests/models/reference.rs compares their logits,
//! losses and gradients with PyTorch.

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::autograd::trace::{Operation, trace};
use candle_mish::nn::ParamStore;
use candle_mish::onnx;
use candle_mish_models::{
    Mode, Model, ModelArgs, ModelError, ModelSpec, Shortcut, Stem, create, entries,
};

use crate::rule;

fn option_a(name: &str) -> ModelSpec {
    ModelSpec {
        activation: Activation::Relu,
        shortcut: Shortcut::A,
        ..ModelSpec::new(name)
    }
}

fn network(spec: &ModelSpec) -> Result<(ParamStore, Box<dyn Model>)> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    create(spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    let frozen = create(spec, store.frozen().var_builder());
    Ok((store, frozen.map_err(candle_core::Error::wrap)?))
}

#[test]
fn only_the_cifar_resnets_have_a_choice() {
    let offers = |name: &str| {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        create(&option_a(name), store.var_builder())
    };
    let mut offered = Vec::new();
    for entry in entries().filter(|entry| entry.cifar.params < 5_000_000) {
        match offers(entry.name) {
            Ok(_) => offered.push(entry.name),
            Err(ModelError::Option(message)) => {
                assert!(message.contains("shortcut has no effect"), "{message}");
            }
            Err(error) => panic!("{}: {error}", entry.name),
        }
    }
    let depths = [20, 32, 44, 56, 110, 164];
    assert_eq!(offered, depths.map(|depth| format!("resnet{depth}")));
}

#[test]
fn the_choice_is_recorded_only_if_it_is_not_the_default() {
    let (a, b) = (option_a("resnet20"), ModelSpec::new("resnet20"));
    for spec in [&a, &b] {
        let header = spec.to_metadata();
        assert_eq!(
            header.contains_key("shortcut"),
            spec.shortcut == Shortcut::A
        );
        assert_eq!(ModelSpec::from_metadata(&header).as_ref(), Ok(spec));
        let json = serde_json::to_string(spec).expect("JSON");
        assert_eq!(json.contains("shortcut"), spec.shortcut == Shortcut::A);
        let read: ModelSpec = serde_json::from_str(&json).expect("a spec");
        assert_eq!(&read, spec);
    }
    assert!(a.to_string().contains("option a") && !b.to_string().contains("option"));
    let args = ModelArgs {
        shortcut: Some(Shortcut::A),
        ..ModelArgs::default()
    };
    assert_eq!(args.over(b.clone()).shortcut, Shortcut::A);
    assert_eq!(ModelArgs::default().or(&args).shortcut, Some(Shortcut::A));
    assert_eq!(ModelArgs::default().over(a).shortcut, Shortcut::A);
    for (name, shortcut) in Shortcut::ALL {
        assert_eq!(name.parse(), Ok(shortcut));
        assert_eq!(shortcut.to_string(), name);
    }
    assert!("c".parse::<Shortcut>().is_err());
}

#[test]
fn feature_maps_have_the_shapes_of_the_other_form() -> Result<()> {
    let images = rule::images((2, 3, 31, 32))?;
    let mut shapes = Vec::new();
    for spec in [option_a("resnet20"), ModelSpec::new("resnet20")] {
        let (_, model) = network(&spec)?;
        let maps = model.feature_maps(&images, &[0, 1, 2, 3], Mode::Eval)?;
        let dims = maps.iter().map(|map| map.dims().to_vec());
        shapes.push(dims.collect::<Vec<_>>());
        assert_eq!(spec.stem, Stem::Cifar);
    }
    assert_eq!(shapes[0], shapes[1]);
    Ok(())
}

/// The exported file pads the channels and takes every second row and column.
#[test]
fn the_exported_graph_has_the_operations() -> Result<()> {
    let (store, model) = network(&option_a("resnet20"))?;
    let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
    let graph = trace(&images, store.tensors(), |x| model.forward_t(x, false))?;
    let pads = graph.nodes.iter().filter_map(|node| match node.operation {
        Operation::Pad { dim, before, after } => Some((dim, before, after)),
        _ => None,
    });
    assert_eq!(pads.collect::<Vec<_>>(), [(1, 8, 8), (1, 16, 16)]);
    let proto = onnx::model(&graph, "resnet20", &[])?;
    let nodes = proto.graph.expect("a graph").node;
    let of = |op: &str| nodes.iter().filter(|node| node.op_type == op).count();
    assert_eq!((of("Pad"), of("MaxPool"), of("Conv")), (2, 2, 19));
    Ok(())
}

#[cfg(feature = "swap")]
#[test]
fn activations_are_swapped_on_the_same_weights() -> Result<()> {
    use candle_mish::swap::Replacement;
    use candle_mish_models::swap::Subject;
    let spec = option_a("resnet20");
    let (store, model) = network(&spec)?;
    let tensors = store.tensors().into_iter().collect();
    let subject = Subject::new(spec.clone(), tensors, 0, &Device::Cpu);
    let subject = subject.map_err(candle_core::Error::wrap)?;
    let images = rule::images((2, 3, 32, 32))?;
    let values = |logits: Tensor| logits.flatten_all()?.to_vec1::<f32>();
    let relu = values(model.forward_t(&images, false)?)?;
    let own = subject.variant(None)?;
    assert_eq!(values(own.frozen.forward_t(&images, false)?)?, relu);
    let mish = Replacement::new(Activation::Mish);
    let swapped = subject.variant(Some(&mish))?;
    let mish_spec = ModelSpec {
        activation: Activation::Mish,
        ..spec
    };
    let other = create(&mish_spec, store.frozen().var_builder());
    let other = other.map_err(candle_core::Error::wrap)?;
    let other = values(other.forward_t(&images, false)?)?;
    assert_ne!(other, relu);
    assert_eq!(values(swapped.frozen.forward_t(&images, false)?)?, other);
    Ok(())
}
