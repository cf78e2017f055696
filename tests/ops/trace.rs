//! Recording a forward pass.

use candle_core::{DType, Device, ModuleT, Result, Tensor};
use candle_mish::Activation;
use candle_mish::autograd::trace::{Graph, Operation, Value, trace};
use candle_mish::nn::{Act, Blend};
use candle_mish::ops;
use candle_mish::ops::activation::{activation, activation_inplace};
use candle_mish::ops::{Conv2dParams, Pool2dParams, Statistics};

fn image() -> Tensor {
    Tensor::ones((2, 4, 6, 6), DType::F32, &Device::Cpu).unwrap()
}

fn parameter(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()
}

fn traced(forward: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Graph> {
    trace(&image(), Vec::new(), forward)
}

fn refusal(forward: impl FnOnce(&Tensor) -> Result<Tensor>) -> String {
    traced(forward).unwrap_err().to_string()
}

#[test]
fn a_pass_is_recorded_with_its_constants() {
    let (weight, gain, bias) = (parameter(&[4, 4, 3, 3]), parameter(&[4]), parameter(&[4]));
    let (mean, variance) = (parameter(&[4]), parameter(&[4]));
    let constants = [
        ("weight", &weight),
        ("gain", &gain),
        ("bias", &bias),
        ("mean", &mean),
        ("variance", &variance),
        ("unused", &parameter(&[1])),
    ];
    let constants = constants.map(|(name, t)| (name.to_string(), t.clone()));
    let params = Conv2dParams {
        padding: (1, 1),
        ..Conv2dParams::default()
    };
    let graph = trace(&image(), constants.to_vec(), |x| {
        // The trace recognises a tensor by its values, through any handle.
        let y = ops::conv2d(x, &weight.detach(), None, &params)?;
        let gain_bias = ops::stack(&[&gain, &bias])?;
        let statistics = Statistics::Running {
            mean: &mean,
            variance: &variance,
        };
        let act = Activation::Mish;
        let (y, _) = ops::batch_norm_act(&y, &gain_bias, Some(x), statistics, 1e-3, &act)?;
        let parts: Vec<Tensor> = (0..4)
            .map(|i| ops::narrow(&y, 1, i, 1))
            .collect::<Result<_>>()?;
        // Four parts are a tree of nodes on the tape, but one operation here.
        ops::global_avg_pool2d(&ops::cat(&parts.iter().collect::<Vec<_>>(), 1)?)
    })
    .unwrap();
    let constant = Value::Constant;
    assert_eq!(graph.input, [2, 4, 6, 6]);
    assert_eq!(graph.nodes.len(), 3 + 4 + 2);
    let convolution = Operation::Conv2d {
        stride: (1, 1),
        padding: (1, 1),
        dilation: (1, 1),
        groups: 1,
    };
    assert_eq!(graph.nodes[0].operation, convolution);
    assert_eq!(graph.nodes[0].inputs, [Value::Input, constant(0)]);
    assert_eq!(graph.nodes[1].operation, Operation::Stack);
    assert_eq!(graph.nodes[1].inputs, [constant(1), constant(2)]);
    let norm = Operation::BatchNormAct {
        eps: 1e-3,
        activation: Activation::Mish,
    };
    assert_eq!(graph.nodes[2].operation, norm);
    let inputs = [
        Value::Node(0),
        Value::Node(1),
        constant(3),
        constant(4),
        Value::Input,
    ];
    assert_eq!(graph.nodes[2].inputs, inputs);
    assert_eq!(graph.nodes[7].operation, Operation::Cat { dim: 1 });
    assert_eq!(
        graph.nodes[7].inputs,
        (3..7).map(Value::Node).collect::<Vec<_>>()
    );
    assert_eq!(graph.output, Value::Node(8));
    assert_eq!(graph.shape(graph.output), [2, 4]);
}

#[test]
fn a_blend_is_recorded_with_its_share() {
    let blend = Blend::default();
    let layer = Act::new(&Activation::Relu).unwrap().with_path("act");
    let layer = layer.blended(Act::new(&Activation::Mish).unwrap(), blend.clone());
    let operations = |share: f64| -> Vec<Operation> {
        blend.set(share);
        let graph = traced(|x| layer.forward_t(x, false)).unwrap();
        assert_eq!(graph.nodes.last().unwrap().paths, ["act"]);
        let nodes = graph.nodes.into_iter();
        nodes.map(|node| node.operation).collect()
    };
    let relu = Operation::Activation(Activation::Relu);
    let mish = Operation::Activation(Activation::Mish);
    assert_eq!(operations(0.0), std::slice::from_ref(&relu));
    assert_eq!(operations(1.0), std::slice::from_ref(&mish));
    let (scaled, sum) = (
        Operation::Scale { factor: 0.75 },
        Operation::AddScaled { scale: 0.25 },
    );
    assert_eq!(operations(0.25), [relu, scaled, mish, sum]);
}

#[test]
fn what_comes_from_elsewhere_is_an_error_and_no_constant() {
    let pool = Pool2dParams::new((2, 2));
    // A Candle operation in the middle, at the end, and on a parameter.
    let message = refusal(|x| ops::max_pool2d(&(x * 2.0)?, &pool));
    assert!(message.contains("input 1 of MaxPool2d"), "{message}");
    let message = refusal(|x| ops::max_pool2d(x, &pool)?.relu());
    assert!(message.contains("the network's result"), "{message}");
    let message = refusal(|x| ops::add(x, &image()));
    assert!(message.contains("input 2 of AddScaled"), "{message}");
    // A view of a known tensor is another tensor.
    let message = refusal(|x| ops::max_pool2d(&x.narrow(2, 0, 4)?, &pool));
    assert!(message.contains("input 1 of MaxPool2d"), "{message}");
    // The error names an op of this crate that notes no operation.
    let message = refusal(|x| ops::max_pool2d(&ops::dropout(x, 0.5, 1)?, &pool));
    assert!(message.contains("operation 'dropout'"), "{message}");
    let batch = Statistics::Batch;
    let identity = Activation::Identity;
    let message = refusal(|x| {
        let (y, _) = ops::batch_norm_act(x, &parameter(&[2, 4]), None, batch, 1e-5, &identity)?;
        ops::max_pool2d(&y, &pool)
    });
    assert!(message.contains("batch_norm_act"), "{message}");
    let message = refusal(|x| {
        activation_inplace(x, &Activation::Relu)?;
        Ok(x.clone())
    });
    assert!(message.contains("an activation in place"), "{message}");
    assert_eq!(traced(|x| Ok(x.clone())).unwrap().output, Value::Input);
}

#[test]
fn tracing_ends_with_its_body() {
    let pool = Pool2dParams::new((2, 2));
    refusal(|_| candle_core::bail!("stop"));
    // The trace has ended, so nothing is refused.
    ops::max_pool2d(&(image() * 2.0).unwrap(), &pool).unwrap();
    activation_inplace(&image(), &Activation::Relu).unwrap();
    // A nested trace is separate.
    let graph = traced(|x| {
        let y = ops::max_pool2d(x, &pool)?;
        let inner = traced(|x| activation(x, &Activation::Mish))?;
        assert_eq!(inner.nodes.len(), 1);
        activation(&y, &Activation::Silu)
    });
    assert_eq!(graph.unwrap().nodes.len(), 2);
}
