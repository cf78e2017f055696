//! The algorithm of each pass, and the passes on slices.
//!
//! ```text
//!                        forward, input gradient         weight gradient
//! no multiplications     Empty                           Empty
//! padding out of range   ChannelLanes, f64: Im2col       ChannelLanes, f64: PixelLanes
//! depthwise, f32         Depthwise by either lanes       Depthwise by pixels
//! depthwise, f64         Depthwise by pixels             Depthwise by pixels
//! large whole image      WholeImage                      WholeImage
//! f32                    Winograd, ChannelLanes or PixelLanes, as the cost model estimates
//! f64                    Im2col                          PixelLanes
//! ```
//!
//! In inference, the result may be channels-last, and so may the input of such a convolution. Then
//! depthwise convolutions have channels in the lanes, and the cost model chooses between Winograd and
//! ChannelLanes.
//!
//! Halves are computed in f32. "Padding out of range" means that the padded copies of planes that
//! most algorithms make would be too large: see [`cost_model::padded_copies_fit`].

use std::mem::MaybeUninit;

use candle_core::{DType, Result, bail};
use pulp::Arch;
use rayon::prelude::*;

use super::cost_model::{self, Choice, Lanes, Outputs};
use super::direct::{self, Problem};
use super::element::Element;
use super::fp32_precision::Fp32Precision;
use super::geometry::Geometry;
use super::inference::Inference;
use super::pack::packed_weight::PackedWeight;
use super::{depthwise, im2col, weight_grad, whole_image, winograd};
use crate::ops::memory_format::{MemoryFormat, reordered};
use crate::ops::storage::initialised;

/// One computation of the convolution or of its backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// From x, weight and optionally bias.
    Forward,
    /// From dy and weight.
    InputGrad,
    /// From x and dy.
    WeightGrad,
    /// From dy.
    BiasGrad,
}

/// How a pass is computed on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Nothing is multiplied: the result is empty or zero.
    Empty,
    /// One kernel per plane, with channels or pixels in the lanes of a vector.
    Depthwise(Lanes),
    /// Directly, with channels in the lanes of a vector.
    ChannelLanes,
    /// Directly, with pixels in the lanes of a vector.
    PixelLanes,
    /// By products with transformed tiles of the input.
    Winograd(Outputs),
    /// By products of matrices: the kernel covers the image.
    WholeImage,
    /// By products with unrolled tiles of the input.
    Im2col,
    /// By sums, without multiplications.
    Sum,
}

impl Algorithm {
    /// The name that tests and benchmarks report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Depthwise(Lanes::Channels) => "depthwise channel lanes",
            Self::Depthwise(Lanes::Pixels) => "depthwise pixel lanes",
            Self::ChannelLanes => "channel lanes",
            Self::PixelLanes => "pixel lanes",
            Self::Winograd(Outputs::Two) => "winograd 2x2",
            Self::Winograd(Outputs::Four) => "winograd 4x4",
            Self::WholeImage => "whole image",
            Self::Im2col => "im2col",
            Self::Sum => "sum",
        }
    }
}

/// The algorithm of a choice of the cost model.
fn fastest(choice: Choice) -> Algorithm {
    match choice {
        Choice::Direct(Lanes::Channels) => Algorithm::ChannelLanes,
        Choice::Direct(Lanes::Pixels) => Algorithm::PixelLanes,
        Choice::Winograd(outputs) => Algorithm::Winograd(outputs),
    }
}

/// The algorithm of a pass in a dtype with the vectors of this machine.
pub fn algorithm_for(pass: Pass, g: &Geometry, dtype: DType) -> Result<Algorithm> {
    let (arch, precision) = (Arch::new(), Fp32Precision::Ieee);
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => Ok(algorithm::<f32>(arch, pass, g, precision)),
        DType::F64 => Ok(algorithm::<f64>(arch, pass, g, precision)),
        dtype => bail!("conv2d takes f32, f64, f16 or bf16, not {dtype:?}"),
    }
}

/// The algorithm of a pass with the vectors of `arch`.
pub fn algorithm<F: Element>(
    arch: Arch,
    pass: Pass,
    g: &Geometry,
    precision: Fp32Precision,
) -> Algorithm {
    if g.is_empty() {
        return Algorithm::Empty;
    }
    let in_range = cost_model::padded_copies_fit(g);
    match pass {
        Pass::BiasGrad => Algorithm::Sum,
        Pass::WeightGrad if in_range && g.is_depthwise() => Algorithm::Depthwise(Lanes::Pixels),
        _ if in_range && g.is_depthwise() => Algorithm::Depthwise(match F::IS_F32 {
            true => cost_model::depthwise(arch, g),
            false => Lanes::Pixels,
        }),
        _ if cost_model::whole_image(g) => Algorithm::WholeImage,
        Pass::WeightGrad if !F::IS_F32 => Algorithm::PixelLanes,
        _ if !F::IS_F32 => Algorithm::Im2col,
        _ if !in_range => Algorithm::ChannelLanes,
        Pass::Forward => fastest(cost_model::forward(arch, g, precision)),
        Pass::InputGrad => fastest(cost_model::input_grad(arch, g, precision)),
        Pass::WeightGrad => fastest(cost_model::weight_grad(arch, g, precision)),
    }
}

/// The convolution; writes all of `y`. All slices are contiguous, in the shapes of `g`.
/// `inference` is only for `f32`.
pub fn forward<F: Element>(
    g: &Geometry,
    x: &[F],
    w: &[F],
    bias: Option<&[F]>,
    inference: Inference,
    y: &mut [MaybeUninit<F>],
) {
    check(g, x.len(), w.len(), y.len());
    if y.is_empty() {
        return;
    }
    let Inference {
        packed,
        finish,
        precision,
        ..
    } = inference;
    let arch = Arch::new();
    let algorithm = algorithm::<F>(arch, Pass::Forward, g, precision);
    if let (Some(x), Some(w), Some(y)) = (F::as_f32(x), F::as_f32(w), F::as_f32_uninit(y))
        && !reads_in_place(algorithm)
    {
        let problem = Problem {
            precision: precision_of(algorithm, g.group_in(), precision),
            packed: packed.map(PackedWeight::forms),
            ..Problem::forward(g, x, w, bias.and_then(F::as_f32), finish)
        };
        convolve(arch, algorithm, &problem, y);
        return;
    }
    let finish = match algorithm {
        Algorithm::Depthwise(_) => {
            // The bias comes first.
            let (now, later) = match bias {
                None => (finish, None),
                Some(_) => (None, finish),
            };
            depthwise::forward(arch, g, x, w, now, y);
            later
        }
        Algorithm::WholeImage => {
            whole_image::forward(g, x, w, y);
            finish
        }
        _ => {
            im2col::forward(g, x, w, y);
            finish
        }
    };
    if bias.is_none() && finish.is_none() {
        return;
    }
    assert!(bias.is_none_or(|bias| bias.len() == g.c_out));
    // SAFETY: the convolutions above write all of `y`.
    let y = unsafe { initialised(y) };
    y.par_chunks_mut(g.out_plane())
        .with_min_len(16)
        .enumerate()
        .for_each(|(i, plane)| {
            if let Some(bias) = bias {
                let b = bias[i % g.c_out];
                plane.iter_mut().for_each(|y| *y += b);
            }
            if let (Some(finish), Some(plane)) = (finish, F::as_f32_mut(plane)) {
                finish.finish(i * g.out_plane(), plane);
            }
        });
}

/// How a convolution over `source_channels` channels, or its input gradient, multiplies.
fn precision_of(
    algorithm: Algorithm,
    source_channels: usize,
    precision: Fp32Precision,
) -> Fp32Precision {
    match algorithm {
        Algorithm::Winograd(_) => precision,
        Algorithm::ChannelLanes => cost_model::direct_precision(source_channels, precision),
        _ => Fp32Precision::Ieee,
    }
}

/// Whether the algorithm reads its arguments as they are, in f32 and f64.
fn reads_in_place(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Depthwise(Lanes::Pixels) | Algorithm::WholeImage
    )
}

/// The order of the result of a convolution for inference that may be channels-last.
pub fn inference_format(g: &Geometry) -> MemoryFormat {
    match channels_last_algorithm(Arch::new(), g) {
        Some(_) => MemoryFormat::ChannelsLast,
        None => MemoryFormat::Contiguous,
    }
}

/// The algorithm of a convolution with a channels-last result; `None` if a contiguous one is better.
pub fn channels_last_algorithm(arch: Arch, g: &Geometry) -> Option<Algorithm> {
    if g.is_empty() || !cost_model::padded_copies_fit(g) || cost_model::whole_image(g) {
        return None;
    }
    if g.is_depthwise() {
        let fits = g.c_out == g.c_in && g.c_in >= arch.dispatch(cost_model::F32Lanes);
        return fits.then_some(Algorithm::Depthwise(Lanes::Channels));
    }
    cost_model::forward_channels_last(arch, g).map(fastest)
}

/// The convolution in `f32` with a channels-last result, for which [`channels_last_algorithm`] must
/// have an algorithm; writes all of `y`.
pub fn forward_channels_last(
    g: &Geometry,
    (x, format): (&[f32], MemoryFormat),
    w: &[f32],
    bias: Option<&[f32]>,
    inference: Inference,
    y: &mut [MaybeUninit<f32>],
) {
    check(g, x.len(), w.len(), y.len());
    let arch = Arch::new();
    let Some(algorithm) = channels_last_algorithm(arch, g) else {
        unreachable!("no algorithm for a channels-last result of {g:?}")
    };
    let Inference { packed, finish, .. } = inference;
    let problem = Problem {
        packed: packed.map(PackedWeight::forms),
        formats: (format, MemoryFormat::ChannelsLast),
        ..Problem::forward(g, x, w, bias, finish)
    };
    match algorithm {
        Algorithm::Depthwise(_) => {
            let formats = (format, MemoryFormat::ChannelsLast);
            let x = reordered(x.into(), formats, g.c_in, g.in_plane());
            let problem = Problem {
                src: &x,
                formats: (MemoryFormat::ChannelsLast, MemoryFormat::ChannelsLast),
                ..problem
            };
            depthwise::channels_last::convolve(arch, &problem, y);
        }
        Algorithm::ChannelLanes if direct::pointwise::computes(&problem) => {
            direct::pointwise::convolve(arch, &problem, y);
        }
        _ => convolve(arch, algorithm, &problem, y),
    }
}

/// Gradient with respect to the input; writes all of `dx`.
pub fn input_grad<F: Element>(
    g: &Geometry,
    precision: Fp32Precision,
    dy: &[F],
    w: &[F],
    dx: &mut [MaybeUninit<F>],
) {
    check(g, dx.len(), w.len(), dy.len());
    if dx.is_empty() {
        return;
    }
    let arch = Arch::new();
    let algorithm = algorithm::<F>(arch, Pass::InputGrad, g, precision);
    if let (Some(dy), Some(w), Some(dx)) = (F::as_f32(dy), F::as_f32(w), F::as_f32_uninit(dx))
        && !reads_in_place(algorithm)
    {
        let problem = Problem {
            precision: precision_of(algorithm, g.group_out(), precision),
            ..Problem::input_grad(g, dy, w)
        };
        convolve(arch, algorithm, &problem, dx);
        return;
    }
    match algorithm {
        Algorithm::Depthwise(_) => depthwise::input_grad(arch, g, dy, w, dx),
        Algorithm::WholeImage => whole_image::input_grad(g, dy, w, dx),
        _ => im2col::input_grad(g, dy, w, dx),
    }
}

fn convolve(arch: Arch, algorithm: Algorithm, problem: &Problem, to: &mut [MaybeUninit<f32>]) {
    match algorithm {
        Algorithm::Winograd(outputs) => winograd::convolve(arch, outputs, problem, to),
        Algorithm::PixelLanes => direct::pixel_lanes::convolve(arch, problem, to),
        Algorithm::Depthwise(_) => depthwise::channel_lanes::convolve(arch, problem, to),
        _ => direct::channel_lanes::convolve(arch, problem, to),
    }
}

/// Gradient with respect to the weight, summed over the images; writes all of `dw`.
pub fn weight_grad<F: Element>(
    g: &Geometry,
    precision: Fp32Precision,
    x: &[F],
    dy: &[F],
    dw: &mut [F],
) {
    check(g, x.len(), dw.len(), dy.len());
    let arch = Arch::new();
    let algorithm = algorithm::<F>(arch, Pass::WeightGrad, g, precision);
    if let (Some(x), Some(dy)) = (F::as_f32(x), F::as_f32(dy))
        && let Some(dw) = F::as_f32_mut(dw)
    {
        match algorithm {
            Algorithm::ChannelLanes => {
                let precision = cost_model::weight_grad_precision(g, precision);
                return weight_grad::channel_lanes::weight_grad(arch, precision, g, x, dy, dw);
            }
            Algorithm::Winograd(outputs) => {
                return winograd::weight_grad(arch, outputs, precision, g, x, dy, dw);
            }
            _ => {}
        }
    }
    match algorithm {
        Algorithm::Empty => dw.fill(F::ZERO),
        Algorithm::Depthwise(_) => depthwise::weight_grad(arch, g, x, dy, dw),
        Algorithm::WholeImage => whole_image::weight_grad(g, x, dy, dw),
        _ => weight_grad::pixel_lanes::weight_grad(arch, g, x, dy, dw),
    }
}

/// Gradient with respect to the bias: the sum of `dy` over each output channel.
pub fn bias_grad<F: Element>(g: &Geometry, dy: &[F]) -> Vec<F> {
    if dy.is_empty() {
        return vec![F::ZERO; g.c_out];
    }
    let plane = g.out_plane();
    let channel = |c: usize| {
        let mut sum = F::ZERO;
        for i in 0..g.n {
            // Many partial sums: they fill a vector register and round less.
            let mut lanes = [F::ZERO; 16];
            let values = &dy[(i * g.c_out + c) * plane..][..plane];
            let chunks = values.chunks_exact(lanes.len());
            let rest = chunks.remainder();
            for chunk in chunks {
                lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += *v);
            }
            lanes.iter_mut().zip(rest).for_each(|(l, v)| *l += *v);
            lanes.into_iter().for_each(|l| sum += l);
        }
        sum
    };
    (0..g.c_out).into_par_iter().map(channel).collect()
}

fn check(g: &Geometry, x: usize, w: usize, y: usize) {
    assert_eq!(
        (x, w, y),
        (g.in_len(), g.weight_len(), g.out_len()),
        "slices do not fit {g:?}"
    );
}
