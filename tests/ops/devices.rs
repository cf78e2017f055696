//! Every op on each device against the same op on the CPU, in f32: values and gradients. The tests
//! of the ops need f64, which not every device has.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::activation::{activation, leaky_relu_with, prelu, srelu};
use candle_mish::ops::capsule::{dynamic_routing, length, squash};
use candle_mish::ops::{
    AvgDivisor, Conv2dParams, CrossEntropy, DropPathScale, Margin, Pool2dParams, Statistics,
    Target as Labels, adaptive_avg_pool2d, add_scaled, avg_pool2d, batch_norm_act, cat,
    channel_shuffle, conv2d, cross_entropy, drop_path, dropout, global_avg_pool2d, group_norm,
    layer_norm, linear, margin_loss, max_pool2d, narrow, pad, permute, reshape, scale_channels,
    scale_channels_add_act, squared_error, stack,
};

use crate::support::{assert_values, device, has_products, uniform, values};

test_all_devices! {
    every_op_is_that_of_the_cpu,
    every_activation_is_that_of_the_cpu,
}

type Op = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// The name of an op, the shapes of its inputs, and the op.
type Case = (&'static str, Vec<Vec<usize>>, Op);

fn case(
    name: &'static str,
    shapes: &[&[usize]],
    op: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
) -> Case {
    let shapes = shapes.iter().map(|shape| shape.to_vec()).collect();
    (name, shapes, Box::new(op))
}

/// Whether the composition of a case multiplies matrices.
fn multiplies(name: &str) -> bool {
    let products = [
        "conv2d",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "global_avg_pool2d",
        "linear",
        "dynamic_routing",
    ];
    name != "conv2d, depthwise" && products.iter().any(|product| name.starts_with(product))
}

fn convolution(
    name: &'static str,
    stride: (usize, usize),
    padding: (usize, usize),
    dilation: (usize, usize),
    groups: usize,
) -> Case {
    let params = Conv2dParams {
        stride,
        padding,
        dilation,
        groups,
    };
    let weight = [6, 6 / groups, 3, 2];
    case(name, &[&[2, 6, 9, 8], &weight, &[6]], move |x| {
        conv2d(&x[0], &x[1], Some(&x[2]), &params)
    })
}

fn cases() -> Vec<Case> {
    let pool = Pool2dParams::new((3, 2))
        .with_stride((2, 1))
        .with_padding((1, 1));
    let classes = |x: &Tensor| Tensor::new(&[2u32, 0, 1], x.device());
    let image: &[usize] = &[2, 6, 7, 5];
    vec![
        convolution("conv2d", (1, 1), (1, 1), (1, 1), 1),
        convolution("conv2d, one stride", (2, 2), (1, 0), (1, 1), 1),
        convolution("conv2d, two strides", (2, 1), (0, 1), (2, 1), 1),
        convolution("conv2d, groups", (2, 1), (1, 1), (1, 2), 3),
        convolution("conv2d, depthwise", (2, 2), (1, 1), (1, 1), 6),
        case("max_pool2d", &[image], move |x| max_pool2d(&x[0], &pool)),
        case("avg_pool2d", &[image], move |x| {
            avg_pool2d(&x[0], &pool, AvgDivisor::Values)
        }),
        case("adaptive_avg_pool2d", &[image], |x| {
            adaptive_avg_pool2d(&x[0], (3, 2))
        }),
        case("global_avg_pool2d", &[image], |x| global_avg_pool2d(&x[0])),
        case("batch_norm_act", &[image, &[2, 6], image], |x| {
            let act = Activation::Mish;
            let own = Statistics::Batch;
            Ok(batch_norm_act(&x[0], &x[1], Some(&x[2]), own, 1e-3, &act)?.0)
        }),
        case("group_norm", &[image, &[6], &[6]], |x| {
            group_norm(&x[0], 3, Some(&x[1]), Some(&x[2]), 1e-3)
        }),
        case("layer_norm", &[&[3, 8], &[8], &[8]], |x| {
            layer_norm(&x[0], &[8], Some(&x[1]), Some(&x[2]), 1e-3)
        }),
        case("linear", &[&[4, 7], &[5, 7], &[5]], |x| {
            linear(&x[0], &x[1], Some(&x[2]))
        }),
        case("cross_entropy", &[&[3, 4]], move |x| {
            let options = CrossEntropy {
                label_smoothing: 0.1,
                ..CrossEntropy::default()
            };
            cross_entropy(&x[0], &Labels::Classes(&classes(&x[0])?), &options)
        }),
        case("margin_loss", &[&[3, 4]], move |x| {
            margin_loss(&x[0], &classes(&x[0])?, &Margin::default())
        }),
        case("squared_error", &[&[3, 4]], |x| {
            squared_error(&x[0], &Tensor::ones_like(&x[0])?, 0.5)
        }),
        case("dropout", &[image], |x| dropout(&x[0], 0.3, 7)),
        case("drop_path", &[image], |x| {
            drop_path(&x[0], 0.5, DropPathScale::KeepMean, 3)
        }),
        case("channel_shuffle", &[image], |x| channel_shuffle(&x[0], 3)),
        case("add_scaled", &[image, image], |x| {
            add_scaled(&x[0], &x[1], 0.5)
        }),
        case("cat", &[image, image, image], |x| {
            cat(&[&x[0], &x[1], &x[2]], 1)
        }),
        case("stack", &[&[5], &[5]], |x| stack(&[&x[0], &x[1]])),
        case("narrow", &[image], |x| narrow(&x[0], 1, 2, 3)),
        case("pad", &[image], |x| pad(&x[0], 1, 2, 3)),
        case("reshape", &[image], |x| reshape(&x[0], (12, 35))),
        case("permute", &[image], |x| permute(&x[0], &[0, 2, 3, 1])),
        case("scale_channels", &[image, &[2, 6]], |x| {
            scale_channels(&x[0], &x[1])
        }),
        case("scale_channels_add_act", &[image, &[2, 6], image], |x| {
            scale_channels_add_act(&x[0], &x[1], &x[2], &Activation::Mish)
        }),
        case("squash", &[&[3, 4, 5]], |x| squash(&x[0])),
        case("length", &[&[3, 4, 5]], |x| length(&x[0])),
        case("dynamic_routing", &[&[2, 4, 3], &[4, 3, 2, 5]], |x| {
            dynamic_routing(&x[0], &x[1], 3)
        }),
        case("prelu", &[image, &[6]], |x| prelu(&x[0], &x[1])),
        case("prelu, shared", &[image, &[1]], |x| prelu(&x[0], &x[1])),
        case("leaky_relu_with", &[image, image], |x| {
            leaky_relu_with(&x[0], &x[1])
        }),
        case("srelu", &[image, &[4, 6]], |x| srelu(&x[0], &x[1])),
    ]
}

/// The value of an op and the gradients of the sum of its squares on `device`, from the tape and
/// from Candle's backward.
fn results(inputs: &[Tensor], device: &Device, op: &Op) -> Result<Vec<Tensor>> {
    let variable = |x: &Tensor| Var::from_tensor(&x.to_device(device)?);
    let variables = inputs.iter().map(variable).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let loss = || {
        let y = op(&tensors)?;
        let flat = reshape(&y, y.elem_count())?;
        let loss = squared_error(&flat, &flat.zeros_like()?, 1.0)?;
        Ok((loss, y.detach()))
    };
    let (_, y, gradients) = value_and_grad(loss)?;
    let candle = loss()?.0.backward()?;
    let mut results = vec![y];
    for tensor in &tensors {
        for gradient in [gradients.get(tensor), candle.get(tensor)] {
            results.push(gradient.cloned().expect("a gradient"));
        }
    }
    Ok(results)
}

fn every_op_is_that_of_the_cpu() -> Result<()> {
    for (name, shapes, op) in cases() {
        let inputs = shapes.iter().zip(1..).map(|(shape, seed)| {
            let x = uniform(seed, shape.as_slice()).to_device(&Device::Cpu)?;
            x.to_dtype(DType::F32)
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        println!("{name}");
        if multiplies(name) && !has_products() {
            continue;
        }
        let expected = crate::support::on(crate::support::Target::Cpu, || {
            results(&inputs, &Device::Cpu, &op)
        })?;
        for (result, expected) in results(&inputs, &device(), &op)?.iter().zip(&expected) {
            assert_eq!(result.dims(), expected.dims(), "{name}");
            let expected = values(expected);
            let scale = expected.iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
            let relative =
                |values: Vec<f64>| -> Vec<f64> { values.into_iter().map(|x| x / scale).collect() };
            assert_values(&relative(values(result)), &relative(expected), 1e-5);
        }
    }
    Ok(())
}

fn every_activation_is_that_of_the_cpu() -> Result<()> {
    let points: Vec<f32> = (-900..900).map(|i| i as f32 * 0.0113 + 0.0012).collect();
    for function in Activation::all() {
        for (dtype, tolerance) in [
            (DType::F32, 2e-6),
            (DType::F16, 2e-3),
            (DType::BF16, 1.6e-2),
        ] {
            let x = Tensor::new(points.as_slice(), &Device::Cpu)?.to_dtype(dtype)?;
            // Whole, from an odd offset on, and strided.
            let views: [fn(&Tensor) -> Result<Tensor>; 3] = [
                |x| Ok(x.clone()),
                |x| x.narrow(0, 3, 1001),
                |x| x.reshape((60, 30))?.t(),
            ];
            for view in views {
                let x = view(&x.to_device(&device())?)?;
                let variable = Var::from_tensor(&x)?;
                let y = activation(&x, &function)?;
                let dy = match function {
                    Activation::Identity => y.ones_like()?,
                    _ => {
                        let of = activation(variable.as_tensor(), &function)?;
                        let mut gradients = of.sum_all()?.backward()?;
                        gradients.remove(variable.as_tensor()).expect("a gradient")
                    }
                };
                let x = values(&x);
                let expected: Vec<f64> = x.iter().map(|x| function.value(*x)).collect();
                assert_values(&values(&y), &expected, tolerance);
                let expected: Vec<f64> = x.iter().map(|x| function.derivative(*x)).collect();
                assert_values(&values(&dy), &expected, tolerance);
            }
        }
    }
    Ok(())
}
