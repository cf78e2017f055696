//! Every network as an ONNX file. `tests/export.py` compares the files with onnxruntime.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Tensor};
use candle_mish::activation::Activation;
use candle_mish::autograd::trace::trace;
use candle_mish::nn::ParamStore;
use candle_mish::onnx::proto::{GraphProto, ModelProto};
use candle_mish::onnx::{self, INPUT, OUTPUT};
use candle_mish_models::{Entry, ModelSpec, create, entries, find};

/// Exports a network with initial weights, for images of `size`.
fn export(entry: &Entry, spec: &ModelSpec, size: usize) -> (GraphProto, ParamStore) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    create(spec, store.var_builder()).unwrap();
    let model = create(spec, store.frozen().var_builder()).unwrap();
    let images = Tensor::zeros((2, 3, size, size), DType::F32, &Device::Cpu).unwrap();
    let graph = trace(&images, store.tensors(), |x| model.forward_t(x, false));
    let graph = graph.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    let metadata = [("model".to_string(), entry.name.to_string())];
    let proto = onnx::model(&graph, entry.name, &metadata);
    let proto = proto.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    let bytes = proto.to_bytes();
    let read = ModelProto::from_bytes(&bytes).unwrap();
    assert_eq!(read, proto);
    assert_eq!(read.metadata_props[0].value, entry.name);
    assert_eq!(read.opset_import[0].version, onnx::OPSET);
    (read.graph.unwrap(), store)
}

fn count(graph: &GraphProto, op: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type == op).count()
}

/// Checks that every value is defined once, before its first use, and that no parameter is missing.
fn check(entry: &Entry, graph: &GraphProto, store: &ParamStore) {
    let name = entry.name;
    let mut known: HashSet<&str> = HashSet::from([INPUT]);
    for tensor in &graph.initializer {
        assert!(known.insert(&tensor.name), "{name}: {}", tensor.name);
    }
    let mut names = HashSet::new();
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input.as_str()), "{name}: {input}");
        }
        assert!(known.insert(&node.output[0]), "{name}: {}", node.output[0]);
        assert!(names.insert(&node.name), "{name}: {}", node.name);
    }
    assert!(known.contains(OUTPUT), "{name}");
    let dims = |value: &candle_mish::onnx::proto::ValueInfoProto| {
        let shape = value.r#type.clone().unwrap().tensor_type.unwrap().shape;
        shape.unwrap().dim
    };
    assert_eq!(dims(&graph.input[0])[0].dim_param.as_deref(), Some("batch"));
    assert_eq!(dims(&graph.output[0])[1].dim_value, Some(100), "{name}");
    let exported: HashMap<&str, &Vec<i64>> = graph
        .initializer
        .iter()
        .map(|tensor| (&*tensor.name, &tensor.dims))
        .collect();
    for (key, tensor) in store.tensors() {
        // Only training needs these.
        if key.ends_with("num_batches_tracked") || key.contains(".decoder.") {
            assert!(!exported.contains_key(&*key), "{name}: {key}");
            continue;
        }
        let dims: Vec<i64> = tensor.dims().iter().map(|dim| *dim as i64).collect();
        assert_eq!(exported.get(&*key), Some(&&dims), "{name}: {key}");
    }
}

#[test]
fn every_network_becomes_a_graph() {
    for entry in entries() {
        let spec = ModelSpec::new(entry.name);
        let (graph, store) = export(entry, &spec, 32);
        check(entry, &graph, &store);
        assert!(count(&graph, "Mish") > 0, "{}", entry.name);
        assert_eq!(count(&graph, "Relu"), 0, "{}", entry.name);
        let imagenet = entry
            .imagenet
            .filter(|form| form.multiply_adds < 1_000_000_000);
        if let Some(form) = imagenet {
            let spec = ModelSpec {
                num_classes: 100,
                activation: Activation::Relu,
                ..ModelSpec::imagenet(entry.name)
            };
            let (graph, store) = export(entry, &spec, form.input.1);
            check(entry, &graph, &store);
            assert_eq!(count(&graph, "Mish"), 0, "{}", entry.name);
        }
    }
}

#[test]
fn layers_have_the_operators_that_stand_for_them() {
    let ops = |name: &str, ops: &[(&str, usize)]| {
        let (graph, _) = export(find(name).unwrap(), &ModelSpec::new(name), 32);
        for (op, wanted) in ops {
            assert_eq!(count(&graph, op), *wanted, "{name}: {op}");
        }
        graph
    };
    let convs = [
        ("Conv", 21),
        ("BatchNormalization", 21),
        ("Mish", 19),
        ("Add", 9),
        ("GlobalAveragePool", 1),
        ("Gemm", 1),
        ("Gather", 0),
    ];
    let graph = ops("resnet20", &convs);
    assert_eq!(graph.node[0].name, "/conv1/Conv");
    assert_eq!(graph.node[0].input, ["input", "conv1.weight"]);
    let norm = &graph.node[1];
    let keys = ["weight", "bias", "running_mean", "running_var"].map(|key| format!("bn1.{key}"));
    assert_eq!(norm.input[1..], keys);
    ops("shufflenet_v2_x1_0", &[("Transpose", 16), ("Slice", 26)]);
    ops("capsnet", &[("Einsum", 5), ("Softmax", 2), ("ReduceL2", 5)]);
    let graph = ops("densenet_bc100_12", &[("Concat", 48), ("AveragePool", 2)]);
    assert!(graph.node.iter().all(|node| node.op_type != "Unsqueeze"));
}

#[test]
fn every_activation_has_operators() {
    let entry = find("cnn6").unwrap();
    for activation in Activation::all() {
        let spec = ModelSpec {
            activation,
            ..ModelSpec::new(entry.name)
        };
        let (graph, store) = export(entry, &spec, 32);
        check(entry, &graph, &store);
        let kinds: HashSet<&str> = graph.node.iter().map(|node| &*node.op_type).collect();
        let plain = ["Conv", "BatchNormalization", "MaxPool", "Gemm"];
        let plain = plain.into_iter().chain(["GlobalAveragePool", "Flatten"]);
        let more = kinds.difference(&plain.collect()).count();
        assert_eq!(more > 0, activation != Activation::Identity, "{activation}");
    }
}
