//! Estimates which algorithm computes a pass faster.
//!
//! Both direct algorithms come near the peak of the machine if they fill their vectors. The model
//! estimates the share of the peak that each reaches, and the larger share wins. Winograd's
//! algorithm multiplies less, but transforms tiles and weights: the model counts its operations.
//!
//! # Where the constants come from
//! They were set by hand in November 2026 (commits 68f0515 and dfda545), on two cores of an AMD
//! Zen 5 server with AVX-512, from timings of single convolutions with either algorithm. The
//! history keeps these findings, but no milliseconds:
//!
//! - 64 channels on a map of 56x56 take as long either way; on a map of 8x8 they take 1.8 times as
//!   long with the pixels in the lanes;
//! - a single vector of channels reaches three quarters of what two reach;
//! - convolutions with few terms, and weight gradients on wide maps, are faster with the pixels in
//!   the lanes.
//!
//! The constants of [`Transforms`] are from timings of single convolutions with 16 to 512 channels
//! on the same kind of machine, in processor time of both threads: F(4x4) is 1.6 to 2.9 times as
//! fast as the direct convolution of 16 to 128 channels, and 1.1 to 1.5 times with 512 channels on
//! maps of 4x4 and 7x7, where transforming the weights takes most of the time.
//!
//! [`RATE_OF_PAIRS`] and [`PAIRED_CHANNELS`] are from timings of the same kind: products in bfloat16 are 1.2
//! to 1.8 times as fast with 64 and more source channels, and no faster with 16.
//!
//! To repeat the timings, let [`forward`], [`input_grad`] or [`weight_grad`] always return one
//! [`Choice`], then the other, and compare the two runs of `cargo bench --bench conv2d` or
//! of `mish bench ops --filter conv_ --ours-only`.

use pulp::{Arch, Simd, WithSimd};

use super::fp32_precision::Fp32Precision;
use super::geometry::{Axis, Geometry};
use super::whole_image;

/// Multiplications below which one thread computes a pass. At the peak of a Zen 5 core they take
/// about a microsecond, less than it takes to wake another thread.
pub(super) const ONE_THREAD: usize = 1 << 17;

/// What the lanes of a vector hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    /// Output channels of one pixel: no copies, and small maps fill the vectors too.
    Channels,
    /// Pixels of one output channel: few channels fill the vectors too.
    Pixels,
}

/// Share of the peak that remains after rows are copied with their padding.
const PIXELS_AFTER_COPY: f64 = 0.92;

/// The cost of the ends of a row, in pixels.
const PIXELS_OF_ROW_ENDS: f64 = 4.0;

/// Share of the peak that one vector of channels reaches. It needs as many loads as
/// multiplications.
const ONE_VECTOR: f64 = 0.8;

/// The same share for the weight gradient.
const ONE_VECTOR_OF_WEIGHT_GRAD: f64 = 0.9;

/// The share of lanes that channels must fill, for depthwise convolution with channels in the lanes
/// and for channels-last results.
const FILLED_CHANNELS: f64 = 0.6;

/// The cost of transposing the sum of an output, in multiplications.
const TERMS_OF_TRANSPOSE: f64 = 10.0;

/// The rate of products in bfloat16 with channels in the lanes, relative to f32.
const RATE_OF_PAIRS: f64 = 1.7;

/// The fewest source channels, or images of a weight gradient, that are worth packing in pairs.
const PAIRED_CHANNELS: usize = 32;
const PAIRED_IMAGES: usize = 2;

/// The fewest input channels in a tile of the weight gradient.
const INPUTS_OF_WEIGHT_GRAD: usize = 8;

/// The outputs that a tile of Winograd's algorithm computes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outputs {
    /// F(2 x 2, 3 x 3).
    Two,
    /// F(4 x 4, 3 x 3).
    Four,
}

impl Outputs {
    /// Outputs on an axis of a tile.
    fn per_axis(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Inputs of a tile, and products for it.
    fn inputs(self) -> usize {
        (self.per_axis() + 2).pow(2)
    }
}

/// What computes a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Direct(Lanes),
    Winograd(Outputs),
}

/// How a direct convolution with channels in the lanes multiplies.
pub(super) fn direct_precision(source_channels: usize, precision: Fp32Precision) -> Fp32Precision {
    match source_channels {
        PAIRED_CHANNELS.. => precision,
        _ => Fp32Precision::Ieee,
    }
}

/// How a direct weight gradient with channels in the lanes multiplies.
pub(super) fn weight_grad_precision(g: &Geometry, precision: Fp32Precision) -> Fp32Precision {
    match g.n {
        PAIRED_IMAGES.. => precision,
        _ => Fp32Precision::Ieee,
    }
}

/// The rate of direct products with channels in the lanes, relative to f32.
fn rate(precision: Fp32Precision) -> f64 {
    match precision {
        Fp32Precision::Ieee => 1.0,
        Fp32Precision::Bf16 => RATE_OF_PAIRS,
    }
}

/// For the convolution.
pub(super) fn forward(arch: Arch, g: &Geometry, precision: Fp32Precision) -> Choice {
    let channels = Channels {
        count: g.group_out(),
        terms: g.patch(),
    };
    let direct = faster(
        channels.share(arch) * rate(direct_precision(g.group_in(), precision)),
        pixels_share(g.out_w, g.out_plane(), g),
    );
    let pass = Pass {
        images: IMAGES,
        from: g.group_in(),
        to: g.group_out(),
        size: (g.out_h, g.out_w),
        depth: depth(arch, g.group_in(), precision),
    };
    fastest(arch, g, direct, &pass)
}

/// For the convolution with a channels-last result: `None` if its channels would leave many lanes
/// empty.
pub(super) fn forward_channels_last(arch: Arch, g: &Geometry) -> Option<Choice> {
    let lanes = arch.dispatch(F32Lanes);
    if g.groups != 1 || filled(g.c_out, lanes) < FILLED_CHANNELS {
        return None;
    }
    let channels = Channels {
        count: g.c_out,
        terms: g.patch(),
    };
    let pass = Pass {
        images: IMAGES,
        from: g.c_in,
        to: g.c_out,
        size: (g.out_h, g.out_w),
        depth: 1.0,
    };
    Some(fastest(
        arch,
        g,
        (Lanes::Channels, channels.share(arch)),
        &pass,
    ))
}

/// For the gradient with respect to the input. Pixels whose coordinates leave the same remainder
/// under the stride are computed together.
pub(super) fn input_grad(arch: Arch, g: &Geometry, precision: Fp32Precision) -> Choice {
    let phases = g.stride.0.saturating_mul(g.stride.1);
    let channels = Channels {
        count: g.group_in(),
        terms: g.group_out() * g.taps().div_ceil(phases),
    };
    let cols = g.w.div_ceil(g.stride.1);
    let direct = faster(
        channels.share(arch) * rate(direct_precision(g.group_out(), precision)),
        pixels_share(cols, g.in_plane(), g),
    );
    let pass = Pass {
        images: g.n,
        from: g.group_out(),
        to: g.group_in(),
        size: (g.h, g.w),
        depth: depth(arch, g.group_out(), precision),
    };
    fastest(arch, g, direct, &pass)
}

/// For a depthwise convolution and its input gradient.
pub(super) fn depthwise(arch: Arch, g: &Geometry) -> Lanes {
    let lanes = arch.dispatch(F32Lanes);
    if g.c_out == g.c_in && filled(g.c_in, lanes) >= FILLED_CHANNELS {
        Lanes::Channels
    } else {
        Lanes::Pixels
    }
}

/// For the gradient with respect to the weight.
pub(super) fn weight_grad(arch: Arch, g: &Geometry, precision: Fp32Precision) -> Choice {
    let lanes = arch.dispatch(F32Lanes);
    let outputs = filled(g.group_out(), lanes);
    let inputs = filled(g.group_in(), lanes.min(INPUTS_OF_WEIGHT_GRAD));
    let vectors = if g.group_out() <= lanes {
        ONE_VECTOR_OF_WEIGHT_GRAD
    } else {
        1.0
    };
    let direct = faster(
        outputs * inputs * vectors * rate(weight_grad_precision(g, precision)),
        pixels_share(g.out_w, g.out_plane(), g),
    );
    let pass = Pass {
        images: g.n,
        from: g.group_in(),
        to: g.group_out(),
        size: (g.out_h, g.out_w),
        // Pairs of tiles.
        depth: match precision {
            Fp32Precision::Ieee => 1.0,
            Fp32Precision::Bf16 => 0.5,
        },
    };
    fastest(arch, g, direct, &pass)
}

/// The depth of products over `channels` channels relative to f32: vectors of channels share words in
/// pairs.
fn depth(arch: Arch, channels: usize, precision: Fp32Precision) -> f64 {
    let vectors = channels.div_ceil(arch.dispatch(F32Lanes));
    match precision {
        Fp32Precision::Ieee => 1.0,
        Fp32Precision::Bf16 => vectors.div_ceil(2) as f64 / vectors.max(1) as f64,
    }
}

/// The faster direct algorithm, and the share of the peak that it reaches.
fn faster(channels: f64, pixels: f64) -> (Lanes, f64) {
    if channels >= pixels {
        (Lanes::Channels, channels)
    } else {
        (Lanes::Pixels, pixels)
    }
}

/// The batch that the model assumes for the convolution. With the real one, the algorithm and so the
/// last bits of an image's outputs would depend on the other images of its batch.
const IMAGES: usize = 8;

/// The sizes of a pass that Winograd's algorithm depends on, for one group.
struct Pass {
    images: usize,
    /// Channels whose tiles are transformed first.
    from: usize,
    /// Channels whose products are transformed back, or the other factor of a weight gradient.
    to: usize,
    /// The plane that the tiles of outputs cover.
    size: (usize, usize),
    /// The depth of the products, relative to products of f32.
    depth: f64,
}

/// The constants of F(m x m, 3 x 3), in operations on vectors.
struct Transforms {
    outputs: Outputs,
    /// To transform one vector of channels of a tile.
    tile: f64,
    /// To transform one vector of weights and to read the result again for each task.
    kernel: f64,
}

const TRANSFORMS: [Transforms; 2] = [
    Transforms {
        outputs: Outputs::Two,
        tile: 130.0,
        kernel: 670.0,
    },
    Transforms {
        outputs: Outputs::Four,
        tile: 400.0,
        kernel: 1500.0,
    },
];

/// Share of the peak that the products of transformed tiles reach.
const PRODUCTS: f64 = 0.8;

/// The fastest algorithm, given the faster direct one and its share of the peak.
fn fastest(arch: Arch, g: &Geometry, (lanes, share): (Lanes, f64), pass: &Pass) -> Choice {
    let direct = Choice::Direct(lanes);
    if (g.kh, g.kw, g.stride, g.dilation) != (3, 3, (1, 1), (1, 1)) {
        return direct;
    }
    let width = arch.dispatch(F32Lanes);
    let (from, to) = (
        pass.from.div_ceil(width) as f64,
        pass.to.div_ceil(width) as f64,
    );
    let pairs = pass.from as f64 * to;
    let (rows, cols) = pass.size;
    let pixels = (pass.images * rows * cols) as f64;
    let all_pairs = (pass.from * pass.to) as f64 / width as f64;
    let direct_cost = pixels * g.taps() as f64 * all_pairs / share;
    let cost = |t: &Transforms| {
        let side = t.outputs.per_axis();
        let tiles = (pass.images * rows.div_ceil(side) * cols.div_ceil(side)) as f64;
        let products = t.outputs.inputs() as f64 * pairs * pass.depth / PRODUCTS;
        tiles * (products + t.tile * (from + to)) + t.kernel * pairs
    };
    TRANSFORMS
        .iter()
        .map(|t| (cost(t), Choice::Winograd(t.outputs)))
        .chain([(direct_cost, direct)])
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or(direct, |(_, choice)| choice)
}

/// The share of the peak that the pixels in the lanes reach on rows of `cols` pixels. A kernel of
/// one tap treats a whole plane as one row.
fn pixels_share(cols: usize, plane: usize, g: &Geometry) -> f64 {
    let pointwise = (g.kh, g.kw, g.stride, g.padding) == (1, 1, (1, 1), (0, 0));
    let cols = if pointwise { plane } else { cols } as f64;
    PIXELS_AFTER_COPY * cols / (cols + PIXELS_OF_ROW_ENDS)
}

/// The output channels of a convolution, and the multiplications for one output.
struct Channels {
    count: usize,
    terms: usize,
}

impl Channels {
    /// The share of the peak that the channels in the lanes reach.
    fn share(&self, arch: Arch) -> f64 {
        let lanes = arch.dispatch(F32Lanes);
        let vectors = if self.count <= lanes { ONE_VECTOR } else { 1.0 };
        let terms = self.terms as f64;
        filled(self.count, lanes) * vectors * terms / (terms + TERMS_OF_TRANSPOSE)
    }
}

/// The share of full lanes if `count` of them are rounded up to a multiple.
fn filled(count: usize, multiple: usize) -> f64 {
    count as f64 / count.next_multiple_of(multiple) as f64
}

/// Values of a padded plane that are always allowed: 1 MiB in `f32`, enough for the dilations of
/// segmentation networks on small maps.
const PADDED_PLANE: usize = 1 << 18;

/// The largest ratio of a larger padded plane to its input and output. Usual padding gives at most
/// 16.
const PADDED_RATIO: usize = 64;

/// Values of a weight from which on a packed copy is not worth its memory if each value is used once per
/// image: 4 MiB, more than the usual L2 cache. Below, as in squeeze-and-excitation, it is.
const LARGE_WEIGHT: usize = 1 << 20;

/// Whether the kernel covers the image and its weight is large: a fully connected layer, as in VGG.
pub(super) fn whole_image(g: &Geometry) -> bool {
    whole_image::covers(g) && g.weight_len() >= LARGE_WEIGHT
}

/// Whether copies of the planes with their padding have a reasonable size. A dilation or a stride
/// far larger than the image is legal, and a copy with that padding would not fit in memory. Then
/// only algorithms that read the planes in place can compute the pass.
pub(super) fn padded_copies_fit(g: &Geometry) -> bool {
    // An upper bound for the copies of all algorithms, with one copy per remainder under the
    // stride.
    let extent = |a: Axis| 2 * (a.size + 2 * a.padding) + a.stride;
    let copy = extent(g.vertical()).saturating_mul(extent(g.horizontal()));
    let planes = g.in_plane().saturating_add(g.out_plane());
    copy <= PADDED_PLANE.max(planes.saturating_mul(PADDED_RATIO))
}

/// The `f32` lanes of an instruction set.
pub(super) struct F32Lanes;

impl WithSimd for F32Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}
