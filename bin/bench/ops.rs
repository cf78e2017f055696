//! `mish bench ops`: the ops of a convolutional network, compared with Candle's.

use std::hint::black_box;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::activation::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::mish;
use candle_mish::ops::{
    AvgDivisor, Conv2dParams, CrossEntropy, Pool2dParams, Statistics, Target, avg_pool2d,
    batch_norm_act, conv2d, cross_entropy, max_pool2d,
};
use candle_nn::{BatchNormConfig, VarBuilder, VarMap};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::timing::{Call, Timing, alternate};
use crate::args::range::{MAX_ROUNDS, count};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;

/// Flags of `mish bench ops`.
#[derive(Debug, Clone, clap::Args)]
pub struct OpsBenchArgs {
    /// Run only cases whose name contains this, such as conv or mish_fwdbwd
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Rounds to time. Each runs our op and Candle's once. The result is the median
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = count(1..=MAX_ROUNDS))]
    rounds: usize,
    /// Do not time Candle's ops
    #[arg(long)]
    ours_only: bool,
}

/// A differentiable computation, ours or Candle's.
type Function = Box<dyn Fn(&[&Tensor]) -> Result<Tensor>>;

/// The minimum work of a case, to compute its speed.
#[derive(Clone, Copy)]
enum Work {
    /// Operations of the forward pass. The gradients of x and of the weight take as many each.
    Operations(f64),
    /// Bytes read and written by the forward pass, and by both passes.
    Bytes(f64, f64),
}

/// An op on tensors of a fixed size.
struct Case {
    name: String,
    /// The shapes of the tensors that get gradients.
    shapes: Vec<Vec<usize>>,
    work: Work,
    ours: Function,
    candle: Function,
    /// Whether Candle's backward pass is fast enough to time.
    candle_backward: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    timing: Timing,
    /// For convolutions.
    #[serde(skip_serializing_if = "Option::is_none")]
    gflops: Option<f64>,
    /// For the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    gb_per_second: Option<f64>,
    /// The median time of Candle's own op.
    #[serde(skip_serializing_if = "Option::is_none")]
    candle_median_ms: Option<f64>,
    threads: usize,
}

/// Times the ops and prints the result.
///
/// # Errors
/// If no case matches the filter or an op fails.
pub fn run(args: &OpsBenchArgs, context: &Context) -> anyhow::Result<Done> {
    let filter = args.filter.as_deref().unwrap_or_default();
    let mut rows = Vec::new();
    for case in cases()? {
        for (backward, pass) in [(false, "fwd"), (true, "fwdbwd")] {
            let name = format!("{}_{pass}", case.name);
            if name.contains(filter) {
                rows.push(measure(&case, name, backward, args, context.threads)?);
            }
        }
    }
    if rows.is_empty() {
        return Err(usage(format!("--filter {filter}: no case matches")));
    }
    if context.json {
        output::json(&rows)?;
    } else {
        output::text(&format!(
            "f32, threads: {}, rounds: {}, medians",
            context.threads, args.rounds
        ))?;
        output::text(&table(&rows))?;
    }
    Ok(Done::Complete)
}

fn measure(
    case: &Case,
    name: String,
    backward: bool,
    args: &OpsBenchArgs,
    threads: usize,
) -> anyhow::Result<Row> {
    let random = |shape: &Vec<usize>| {
        Var::from_tensor(&Tensor::randn(0f32, 1.0, shape.as_slice(), &Device::Cpu)?)
    };
    let vars: Vec<Var> = case.shapes.iter().map(random).collect::<Result<_>>()?;
    let constants: Vec<Tensor> = vars.iter().map(|v| v.as_detached_tensor()).collect();
    let constants: Vec<&Tensor> = constants.iter().collect();
    let tracked: Vec<&Tensor> = vars.iter().map(|v| v.as_tensor()).collect();
    let mut calls: Vec<Call> = vec![Box::new(|| {
        if backward {
            black_box(value_and_grad(|| Ok(((case.ours)(&tracked)?, ())))?);
        } else {
            black_box((case.ours)(&constants)?);
        }
        Ok(())
    })];
    if !args.ours_only && (case.candle_backward || !backward) {
        calls.push(Box::new(|| {
            if backward {
                black_box((case.candle)(&tracked)?.backward()?);
            } else {
                black_box((case.candle)(&constants)?);
            }
            Ok(())
        }));
    }
    let mut timings = alternate(&Device::Cpu, &mut calls, 1, 1, args.rounds)?.into_iter();
    let Some(timing) = timings.next().flatten() else {
        anyhow::bail!("{name} was not timed");
    };
    let (gflops, gb_per_second) = match case.work {
        Work::Operations(forward) => {
            let passes = if backward { 3.0 } else { 1.0 };
            (Some(timing.giga_per_second(passes * forward)), None)
        }
        Work::Bytes(forward, both) => {
            let bytes = if backward { both } else { forward };
            (None, Some(timing.giga_per_second(bytes)))
        }
    };
    Ok(Row {
        name,
        timing,
        gflops,
        gb_per_second,
        candle_median_ms: timings.next().flatten().map(|candle| candle.median_ms),
        threads,
    })
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = convolutions();
    cases.extend(norms()?);
    cases.extend(pools());
    cases.push(mish_case());
    cases.push(loss()?);
    Ok(cases)
}

fn convolutions() -> Vec<Case> {
    // Images, channels in and out, height and width, kernel, stride, padding, groups.
    [
        ("c3x3_128x16x32", 128, 16, 16, 32, 3, 1, 1, 1),
        ("c3x3_128x32x16", 128, 32, 32, 16, 3, 1, 1, 1),
        ("c3x3_128x64x8", 128, 64, 64, 8, 3, 1, 1, 1),
        ("c3x3_16x64x56", 16, 64, 64, 56, 3, 1, 1, 1),
        ("c3x3s2_128x16to32x32", 128, 16, 32, 32, 3, 2, 1, 1),
        ("c1x1_128x64x16", 128, 64, 64, 16, 1, 1, 0, 1),
        ("dw3x3_128x64x16", 128, 64, 64, 16, 3, 1, 1, 64),
        ("g4_3x3_128x64x16", 128, 64, 64, 16, 3, 1, 1, 4),
    ]
    .map(
        |(name, n, inputs, outputs, size, kernel, stride, padding, groups)| {
            let out = (size + 2 * padding - kernel) / stride + 1;
            let products = n * outputs * out * out * (inputs / groups) * kernel * kernel;
            let params = Conv2dParams {
                stride: (stride, stride),
                padding: (padding, padding),
                groups,
                ..Conv2dParams::default()
            };
            Case {
                name: format!("conv_{name}"),
                shapes: vec![
                    vec![n, inputs, size, size],
                    vec![outputs, inputs / groups, kernel, kernel],
                ],
                work: Work::Operations(2.0 * products as f64),
                ours: Box::new(move |t| conv2d(t[0], t[1], None, &params)),
                candle: Box::new(move |t| t[0].conv2d(t[1], padding, stride, 1, groups)),
                // Candle splits the tensors by group, which takes seconds per call.
                candle_backward: groups == 1,
            }
        },
    )
    .into()
}

/// The shape for memory-bound ops.
const SHAPE: [usize; 4] = [128, 64, 32, 32];
/// Its bytes.
const BYTES: f64 = 4.0 * (128 * 64 * 32 * 32) as f64;

fn norms() -> Result<Vec<Case>> {
    let channels = SHAPE[1];
    let case = |activation: Activation, function: fn(&Tensor) -> Result<Tensor>| -> Result<Case> {
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
        let norm = candle_nn::batch_norm(channels, BatchNormConfig::default(), vb)?;
        let gain = Tensor::ones((1, channels), DType::F32, &Device::Cpu)?;
        let gamma_beta = Var::from_tensor(&Tensor::cat(&[&gain, &gain.zeros_like()?], 0)?)?;
        Ok(Case {
            name: format!("bn_{activation}_train"),
            shapes: vec![SHAPE.to_vec()],
            // Forward: x and y. Backward: x, dy and dx.
            work: Work::Bytes(2.0 * BYTES, 5.0 * BYTES),
            ours: Box::new(move |t| {
                let batch = Statistics::Batch;
                Ok(batch_norm_act(t[0], &gamma_beta, None, batch, 1e-5, &activation)?.0)
            }),
            candle: Box::new(move |t| function(&norm.forward_train(t[0])?)),
            candle_backward: true,
        })
    };
    Ok(vec![
        case(Activation::Mish, candle_nn::ops::mish)?,
        case(Activation::Relu, Tensor::relu)?,
    ])
}

fn pools() -> Vec<Case> {
    let params = Pool2dParams::new((2, 2));
    let case = |name: &str, ours: Function, candle: Function, backward: f64| Case {
        name: name.to_string(),
        shapes: vec![SHAPE.to_vec()],
        work: Work::Bytes(1.25 * BYTES, (1.25 + backward) * BYTES),
        ours,
        candle,
        candle_backward: true,
    };
    vec![
        // The backward pass reads x to find the maxima.
        case(
            "max_pool_2x2",
            Box::new(move |t| max_pool2d(t[0], &params)),
            Box::new(|t| t[0].max_pool2d(2)),
            2.25,
        ),
        case(
            "avg_pool_2x2",
            Box::new(move |t| avg_pool2d(t[0], &params, AvgDivisor::Window)),
            Box::new(|t| t[0].avg_pool2d(2)),
            1.25,
        ),
    ]
}

fn mish_case() -> Case {
    Case {
        name: "act_mish".to_string(),
        shapes: vec![SHAPE.to_vec()],
        work: Work::Bytes(2.0 * BYTES, 5.0 * BYTES),
        ours: Box::new(|t| mish(t[0])),
        candle: Box::new(|t| candle_nn::ops::mish(t[0])),
        candle_backward: true,
    }
}

fn loss() -> Result<Case> {
    let (rows, classes) = (1024usize, 1000usize);
    let labels: Vec<u32> = (0..rows as u32).map(|i| i * 37 % classes as u32).collect();
    let labels = Tensor::from_vec(labels, rows, &Device::Cpu)?;
    let same = labels.clone();
    let bytes = (4 * rows * classes) as f64;
    Ok(Case {
        name: format!("cross_entropy_{rows}x{classes}"),
        shapes: vec![vec![rows, classes]],
        // Forward: the logits. Backward: the logits and their gradient.
        work: Work::Bytes(bytes, 3.0 * bytes),
        ours: Box::new(move |t| {
            cross_entropy(t[0], &Target::Classes(&labels), &CrossEntropy::default())
        }),
        candle: Box::new(move |t| candle_nn::loss::cross_entropy(t[0], &same)),
        candle_backward: true,
    })
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "",
        "ms",
        "min",
        "max",
        "GFLOP/s",
        "GB/s",
        "Candle ms",
        "speedup",
    ]);
    let number = |value: Option<f64>, digits: usize| {
        value.map_or(String::new(), |value| format!("{value:.digits$}"))
    };
    for row in rows {
        let times = row.candle_median_ms.map(|ms| ms / row.timing.median_ms);
        table.add_row([
            row.name.clone(),
            format!("{:.2}", row.timing.median_ms),
            format!("{:.2}", row.timing.min_ms),
            format!("{:.2}", row.timing.max_ms),
            number(row.gflops, 0),
            number(row.gb_per_second, 1),
            number(row.candle_median_ms, 2),
            number(times, 1),
        ]);
    }
    for column in 1..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
