//! A convolution by the definition, and the comparison with it.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Conv2dParams, conv2d, conv2d_algorithms};

use crate::support::{self, device, real};

/// Shapes and parameters, from which the tensors follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) n: usize,
    pub(super) group_in: usize,
    pub(super) group_out: usize,
    pub(super) size: (usize, usize),
    pub(super) kernel: (usize, usize),
    pub(super) params: Conv2dParams,
    pub(super) bias: bool,
}

impl Case {
    pub(super) fn x_shape(&self) -> (usize, usize, usize, usize) {
        let (h, w) = self.size;
        (self.n, self.group_in * self.params.groups, h, w)
    }

    pub(super) fn w_shape(&self) -> (usize, usize, usize, usize) {
        let (kh, kw) = self.kernel;
        (self.c_out(), self.group_in, kh, kw)
    }

    pub(super) fn c_out(&self) -> usize {
        self.group_out * self.params.groups
    }

    pub(super) fn out(&self) -> (usize, usize) {
        let p = &self.params;
        let out = |size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
        };
        (
            out(
                self.size.0,
                self.kernel.0,
                p.stride.0,
                p.padding.0,
                p.dilation.0,
            ),
            out(
                self.size.1,
                self.kernel.1,
                p.stride.1,
                p.padding.1,
                p.dilation.1,
            ),
        )
    }

    pub(super) fn fits(&self) -> bool {
        let p = &self.params;
        self.size.0 + 2 * p.padding.0 > p.dilation.0 * (self.kernel.0 - 1)
            && self.size.1 + 2 * p.padding.1 > p.dilation.1 * (self.kernel.1 - 1)
    }

    /// The algorithms that the CPU uses for the convolution, its input and its weight gradient.
    pub(super) fn algorithms(&self, dtype: DType) -> [&'static str; 3] {
        let (n, c, h, w) = self.x_shape();
        let (o, ci, kh, kw) = self.w_shape();
        conv2d_algorithms(&[n, c, h, w], &[o, ci, kh, kw], &self.params, dtype).expect("it fits")
    }

    /// x, weight, bias and dy, multiples of 1/64 in [-1, 1): exact in every dtype but bf16, and
    /// their products in f32.
    pub(super) fn values(&self) -> [Vec<f64>; 4] {
        let (n, c, h, w) = self.x_shape();
        let (oh, ow) = self.out();
        let weights = self.c_out() * self.group_in * self.kernel.0 * self.kernel.1;
        [
            noise(1, n * c * h * w),
            noise(2, weights),
            noise(3, self.c_out()),
            noise(4, n * self.c_out() * oh * ow),
        ]
    }
}

/// Reproducible values, multiples of 1/64 in [-1, 1).
pub(super) fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 128) as f64 / 64.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// y, dx, dw and db by the definition.
pub(super) struct Oracle {
    pub(super) y: Vec<f64>,
    pub(super) dx: Vec<f64>,
    pub(super) dw: Vec<f64>,
    pub(super) db: Vec<f64>,
}

pub(super) fn oracle(case: &Case, [x, w, b, dy]: &[Vec<f64>; 4]) -> Oracle {
    let (n, c_in, h, width) = case.x_shape();
    let (kh, kw) = case.kernel;
    let (oh, ow) = case.out();
    let c_out = case.c_out();
    let p = case.params;
    let mut y = vec![0.0; dy.len()];
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; c_out]);
    for i in 0..n {
        for o in 0..c_out {
            let first = o / case.group_out * case.group_in;
            for oy in 0..oh {
                for ox in 0..ow {
                    let out = ((i * c_out + o) * oh + oy) * ow + ox;
                    db[o] += dy[out];
                    if case.bias {
                        y[out] += b[o];
                    }
                    for c in 0..case.group_in {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                let iy = oy * p.stride.0 + ky * p.dilation.0;
                                let ix = ox * p.stride.1 + kx * p.dilation.1;
                                let inside = iy >= p.padding.0
                                    && iy < h + p.padding.0
                                    && ix >= p.padding.1
                                    && ix < width + p.padding.1;
                                if inside {
                                    let (iy, ix) = (iy - p.padding.0, ix - p.padding.1);
                                    let at = ((i * c_in + first + c) * h + iy) * width + ix;
                                    let k = ((o * case.group_in + c) * kh + ky) * kw + kx;
                                    y[out] += x[at] * w[k];
                                    dx[at] += dy[out] * w[k];
                                    dw[k] += dy[out] * x[at];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Oracle { y, dx, dw, db }
}

pub(super) fn flat(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(support::values(tensor))
}

/// Fails unless values agree within `tolerance` times the largest of them, or times 1.
pub(super) fn assert_close(what: &str, case: &Case, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what} of {case:?}");
    let scale = want.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * scale,
            "{what}[{i}] of {case:?}: {g}, but should be {w}"
        );
    }
}

/// Compares the op and its gradients in `dtype` with the oracle. A pass that Winograd's algorithm
/// computes in f32 may have four times the error of the direct algorithms.
pub(super) fn check(case: &Case, dtype: DType, tolerance: f64) -> Result<()> {
    // The device may lack f64.
    if dtype == DType::F64 && real() != dtype {
        return Ok(());
    }
    let values = case.values();
    let (oh, ow) = case.out();
    let make = |v: &[f64], shape: &[usize]| {
        let x = Tensor::from_slice(v, shape, &Device::Cpu)?.to_dtype(dtype)?;
        Var::from_tensor(&x.to_device(&device())?)
    };
    let (n, c, h, w) = case.x_shape();
    let x = make(&values[0], &[n, c, h, w])?;
    let (o, ci, kh, kw) = case.w_shape();
    let weight = make(&values[1], &[o, ci, kh, kw])?;
    let bias = make(&values[2], &[o])?;
    let dy = make(&values[3], &[n, o, oh, ow])?;
    // The oracle gets the values as the dtype rounds them.
    let kept = [flat(&x)?, flat(&weight)?, flat(&bias)?, flat(&dy)?];
    let want = oracle(case, &kept);
    let b = case.bias.then_some(bias.as_tensor());
    let (y, _, mut gradients) = value_and_grad(|| {
        let y = conv2d(&x, &weight, b, &case.params)?;
        // The sum of y dy has the gradient dy at y.
        Ok(((y.clone() * dy.detach())?.sum_all()?, y))
    })
    .map(|(_, y, g)| (y, (), g))?;
    assert_eq!(y.dims(), [n, o, oh, ow]);
    assert_eq!(y.dtype(), dtype);
    let tolerances = case.algorithms(dtype).map(|algorithm| {
        let winograd =
            device().is_cpu() && dtype == DType::F32 && algorithm.starts_with("winograd");
        if winograd { 4.0 * tolerance } else { tolerance }
    });
    assert_close("y", case, &flat(&y)?, &want.y, tolerances[0]);
    let mut gradient = |t: &Tensor| match gradients.remove(t) {
        Some(g) => {
            assert_eq!(g.dims(), t.dims());
            flat(&g)
        }
        None => candle_core::bail!("no gradient"),
    };
    assert_close("dx", case, &gradient(&x)?, &want.dx, tolerances[1]);
    assert_close("dw", case, &gradient(&weight)?, &want.dw, tolerances[2]);
    if case.bias {
        assert_close("db", case, &gradient(&bias)?, &want.db, tolerance);
    }
    Ok(())
}

/// A square kernel of k x k that keeps the size, with stride 1 and without bias.
pub(super) fn plain(n: usize, c_in: usize, c_out: usize, size: (usize, usize), k: usize) -> Case {
    Case {
        n,
        group_in: c_in,
        group_out: c_out,
        size,
        kernel: (k, k),
        params: Conv2dParams {
            padding: (k / 2, k / 2),
            ..Conv2dParams::default()
        },
        bias: false,
    }
}
