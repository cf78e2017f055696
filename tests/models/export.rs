//! Every network as an ONNX file. `tests/export.py` compares the files with onnxruntime.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Tensor};
use candle_mish::activation::Activation;
use candle_mish::autograd::trace::{Graph, trace};
use candle_mish::nn::ParamStore;
use candle_mish::onnx::proto::{GraphProto, ModelProto, NodeProto};
use candle_mish::onnx::{self, ExportOptions, INPUT, OPSET, OPSETS, OUTPUT};
use candle_mish::ops;
use candle_mish_models::{Entry, ModelSpec, create, entries, find};

/// Every operator that a file may have, with the first opset that has it.
const OPERATORS: &[(&str, i64)] = &[
    ("Abs", 1),
    ("Add", 1),
    ("AveragePool", 1),
    ("BatchNormalization", 1),
    ("Celu", 12),
    ("Clip", 1),
    ("Concat", 1),
    ("Conv", 1),
    ("Cos", 7),
    ("Div", 1),
    ("Elu", 1),
    ("Erf", 9),
    ("Exp", 1),
    ("Flatten", 1),
    ("Gather", 1),
    ("Gemm", 1),
    ("GlobalAveragePool", 1),
    ("Greater", 1),
    ("GreaterOrEqual", 12),
    ("HardSigmoid", 1),
    ("HardSwish", 14),
    ("Identity", 1),
    ("LeakyRelu", 1),
    ("LessOrEqual", 12),
    ("MatMul", 1),
    ("MaxPool", 1),
    ("Min", 1),
    ("Mish", 18),
    ("Mul", 1),
    ("Neg", 1),
    ("PRelu", 1),
    // With the border as an input.
    ("Pad", 11),
    ("ReduceL2", 1),
    ("ReduceSum", 1),
    ("Relu", 1),
    ("Reshape", 1),
    ("Selu", 1),
    ("Shrink", 9),
    ("Sigmoid", 1),
    ("Sin", 7),
    ("Slice", 1),
    ("Softmax", 1),
    ("Softplus", 1),
    ("Softsign", 1),
    ("Sqrt", 1),
    ("Sub", 1),
    ("Tanh", 1),
    ("ThresholdedRelu", 10),
    ("Transpose", 1),
    ("Unsqueeze", 1),
    ("Where", 9),
];

/// Records a network with initial weights, for images of `size`.
fn record(entry: &Entry, spec: &ModelSpec, size: usize) -> (Graph, ParamStore) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    create(spec, store.var_builder()).unwrap();
    let model = create(spec, store.frozen().var_builder()).unwrap();
    let images = Tensor::zeros((2, 3, size, size), DType::F32, &Device::Cpu).unwrap();
    let graph = trace(&images, store.tensors(), |x| model.forward_t(x, false));
    let graph = graph.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    (graph, store)
}

/// Converts a recorded network, and checks that its operators are those of the opset.
fn convert(entry: &Entry, graph: &Graph, options: &ExportOptions) -> ModelProto {
    let metadata = [("model".to_string(), entry.name.to_string())];
    let proto = onnx::model_with(graph, entry.name, &metadata, options);
    let proto = proto.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    assert_eq!(proto.metadata_props[0].value, entry.name);
    assert_eq!(proto.opset_import[0].version, options.opset);
    for node in &proto.graph.as_ref().unwrap().node {
        check_form(entry, node, options);
    }
    if *options == ExportOptions::default() {
        let read = ModelProto::from_bytes(&proto.to_bytes()).unwrap();
        assert_eq!(read, proto);
    }
    proto
}

/// Checks that the opset has the operator, in this form.
fn check_form(entry: &Entry, node: &NodeProto, options: &ExportOptions) {
    let at = || format!("{} in opset {}: {node:?}", entry.name, options.opset);
    let mut known = OPERATORS.iter();
    let first = known.find(|(name, _)| *name == node.op_type);
    let first = first.unwrap_or_else(|| panic!("{}", at())).1;
    let latest = if options.decompose {
        *OPSETS.start()
    } else {
        options.opset
    };
    assert!(first <= latest, "{}", at());
    // Before opset 18 the axes of this reduction are an attribute.
    if node.op_type == "ReduceL2" {
        let has_attribute = node
            .attribute
            .iter()
            .any(|attribute| attribute.name == "axes");
        assert_eq!(has_attribute, options.opset < 18, "{}", at());
        assert_eq!(node.input.len() == 2, options.opset >= 18, "{}", at());
    }
}

/// Exports a network with initial weights and the default options, for images of `size`.
fn export(entry: &Entry, spec: &ModelSpec, size: usize) -> (GraphProto, ParamStore) {
    let (graph, store) = record(entry, spec, size);
    let proto = convert(entry, &graph, &ExportOptions::default());
    (proto.graph.unwrap(), store)
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
        let mut dims: Vec<i64> = tensor.dims().iter().map(|dim| *dim as i64).collect();
        let exported = exported.get(&*key);
        let exported = exported.unwrap_or_else(|| panic!("{name}: {key}"));
        // Values for each channel have axes of length 1 for height and width.
        if dims.len() == 1 && exported.len() > 1 {
            dims.extend([1, 1]);
        }
        assert_eq!(**exported, dims, "{name}: {key}");
    }
}

#[test]
fn every_network_becomes_a_graph() {
    for entry in entries() {
        let spec = ModelSpec::new(entry.name);
        let (recorded, store) = record(entry, &spec, 32);
        // The first opset, those around the arrival of Mish, and what Mish consists of.
        let opsets = [
            (*OPSETS.start(), false),
            (17, false),
            (18, false),
            (18, true),
        ];
        for (opset, decompose) in opsets {
            let options = ExportOptions { opset, decompose };
            let graph = convert(entry, &recorded, &options).graph.unwrap();
            check(entry, &graph, &store);
            let has_mish = options.opset >= 18 && !options.decompose;
            assert_eq!(count(&graph, "Mish") > 0, has_mish, "{}", entry.name);
            assert_eq!(count(&graph, "Exp") > 0, !has_mish, "{}", entry.name);
            assert_eq!(count(&graph, "Relu"), 0, "{}", entry.name);
        }
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
    // One product for the predictions; sums for the first mean, and for the agreement and the mean of
    // two iterations.
    let capsules = [
        ("MatMul", 1),
        ("Softmax", 2),
        ("ReduceL2", 5),
        ("ReduceSum", 5),
    ];
    ops("capsnet", &capsules);
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
        let (recorded, store) = record(entry, &spec, 32);
        let options =
            |opset: i64| [false, true].map(|decompose| ExportOptions { opset, decompose });
        for options in OPSETS.flat_map(options) {
            let graph = convert(entry, &recorded, &options).graph.unwrap();
            check(entry, &graph, &store);
            let kinds: HashSet<&str> = graph.node.iter().map(|node| &*node.op_type).collect();
            let plain = ["Conv", "BatchNormalization", "MaxPool", "Gemm"];
            let plain = plain.into_iter().chain(["GlobalAveragePool", "Flatten"]);
            let more = kinds.difference(&plain.collect()).count();
            assert_eq!(more > 0, activation != Activation::Identity, "{activation}");
        }
    }
}

#[test]
fn only_known_opsets_are_written() {
    let entry = find("cnn6").unwrap();
    let (graph, _) = record(entry, &ModelSpec::new(entry.name), 32);
    // The versions of the file format: `onnx.helper.VERSION_TABLE`.
    for (opset, version) in [
        (13, 7),
        (14, 7),
        (15, 8),
        (18, 8),
        (20, 9),
        (21, 10),
        (23, 11),
    ] {
        let options = ExportOptions {
            opset,
            ..ExportOptions::default()
        };
        let file = onnx::model_with(&graph, "cnn6", &[], &options).unwrap();
        assert_eq!(file.ir_version, version, "{opset}");
    }
    assert_eq!(
        onnx::model(&graph, "cnn6", &[]).unwrap().opset_import[0].version,
        OPSET
    );
    for opset in [i64::MIN, 0, OPSETS.start() - 1, OPSETS.end() + 1, i64::MAX] {
        let options = ExportOptions {
            opset,
            ..ExportOptions::default()
        };
        let error = onnx::model_with(&graph, "cnn6", &[], &options).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("opset is {opset}, must be 13 to")),
            "{error}"
        );
    }
}

/// Evaluates a graph of elementwise operators at `x` in single precision, with the naive formulas that
/// some runtimes have. Each step must be finite.
fn evaluate(graph: &GraphProto, x: f32) -> f32 {
    let mut values: HashMap<&str, f32> = HashMap::from([(INPUT, x)]);
    for constant in &graph.initializer {
        let bytes = constant.raw_data.first_chunk().expect("a number");
        values.insert(&constant.name, f32::from_le_bytes(*bytes));
    }
    for node in &graph.node {
        let input: Vec<f32> = node.input.iter().map(|name| values[&**name]).collect();
        let result = match (&*node.op_type, &input[..]) {
            ("Abs", [a]) => a.abs(),
            ("Add", [a, b]) => a + b,
            ("Clip", [a, low, high]) => a.clamp(*low, *high),
            ("Div", [a, b]) => a / b,
            ("Exp", [a]) => a.exp(),
            ("Min", [a, b]) => a.min(*b),
            ("Mul", [a, b]) => a * b,
            ("Neg", [a]) => -a,
            ("Relu", [a]) => a.max(0.0),
            ("Softplus", [a]) => a.exp().ln_1p(),
            ("Tanh", [a]) => {
                let e = (2.0 * a).exp();
                (e - 1.0) / (e + 1.0)
            }
            _ => panic!("{node:?}"),
        };
        assert!(result.is_finite(), "{node:?} at {x}");
        values.insert(&node.output[0], result);
    }
    values[OUTPUT]
}

#[test]
fn compositions_are_exact_and_finite_at_both_ends() {
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let functions: [(&str, &dyn Fn(f64) -> f64); 3] = [
        ("mish", &|x| x * softplus(x).tanh()),
        ("softplus", &softplus),
        ("tanh", &f64::tanh),
    ];
    let grid = (-300..=300).map(|i| i as f32 / 10.0);
    let ends = [44.0, 45.0, 80.0, 87.0, 89.0, 100.0, 1e4, 1e30].map(|x| [x, -x]);
    let grid: Vec<f32> = grid.chain(ends.into_iter().flatten()).collect();
    let options = ExportOptions {
        opset: *OPSETS.start(),
        ..ExportOptions::default()
    };
    let input = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    for (name, function) in functions {
        let activation: Activation = name.parse().unwrap();
        let graph = trace(&input, Vec::new(), |x| ops::activation(x, &activation)).unwrap();
        let file = onnx::model_with(&graph, name, &[], &options).unwrap();
        let graph = file.graph.unwrap();
        for x in &grid {
            let (got, want) = (f64::from(evaluate(&graph, *x)), function(f64::from(*x)));
            let error = (got - want).abs() / want.abs().max(1.0);
            assert!(error < 3e-7, "{name}({x}) = {got}, not {want}");
        }
        // Mish keeps its digits where 1 + e^x rounds to 1.
        if name == "mish" {
            let (got, want) = (f64::from(evaluate(&graph, -20.0)), function(-20.0));
            assert!((got / want - 1.0).abs() < 1e-6, "{got}, not {want}");
        }
    }
}
