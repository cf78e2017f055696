//! Pools against the definition, PyTorch and finite differences.

use candle_core::{DType, Result, Tensor, Var};
use candle_mish::ops::{
    AvgDivisor, Pool2dParams, adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d,
};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{
    assert_close, assert_values, check_gradients, device, every_device_with_products, gradients,
    made, real, strided,
};
use crate::support::{uniform, values};

test_all_devices_with_products! {
    values_and_gradients_are_those_of_pytorch,
    the_first_of_equal_maxima_takes_the_whole_gradient,
    a_window_with_equal_maxima_loses_gradient_in_candle_and_not_here,
    a_kernel_that_does_not_divide_the_input_misplaces_gradients_in_candle_and_not_here,
    a_stem_pool_trains_here_and_not_in_candle,
    nan_comes_through,
    every_type_and_the_empty_batch,
    many_planes_are_those_of_one_at_a_time,
    impossible_windows_are_refused,
    sizes_do_not_wrap,
}

/// The divisor that PyTorch's `count_include_pad` chooses.
pub fn divisor(count_include_pad: bool) -> AvgDivisor {
    if count_include_pad {
        AvgDivisor::Window
    } else {
        AvgDivisor::Values
    }
}

/// PyTorch's number of outputs: tries all starts of windows.
fn outputs(len: usize, k: usize, s: usize, p: usize, d: usize, ceil: bool) -> usize {
    let (len, k, s, p, d) = (len as i64, k as i64, s as i64, p as i64, d as i64);
    let fits = |start: i64| start + d * (k - 1) < len + p;
    let hangs = |start: i64| ceil && start < len && start - s + d * (k - 1) < len + p - 1;
    (0..)
        .take_while(|o| fits(o * s - p) || (*o > 0 && hangs(o * s - p)))
        .count()
}

/// The values of each window of a plane, and the number of its positions in the padded input.
fn windows(x: &Tensor, p: &Pool2dParams) -> (Vec<usize>, Vec<(Vec<f64>, usize)>) {
    let (n, c, h, w) = x.dims4().unwrap();
    let data: Vec<f64> = values(x);
    let rows = outputs(
        h,
        p.kernel.0,
        p.stride.0,
        p.padding.0,
        p.dilation.0,
        p.ceil_mode,
    );
    let columns = outputs(
        w,
        p.kernel.1,
        p.stride.1,
        p.padding.1,
        p.dilation.1,
        p.ceil_mode,
    );
    let mut seen = Vec::new();
    for plane in 0..n * c {
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            let (mut inside, mut padded) = (Vec::new(), 0);
            for a in 0..p.kernel.0 {
                for b in 0..p.kernel.1 {
                    let y = i * p.stride.0 + a * p.dilation.0;
                    let x = j * p.stride.1 + b * p.dilation.1;
                    padded += usize::from(y < h + 2 * p.padding.0 && x < w + 2 * p.padding.1);
                    let y = y.checked_sub(p.padding.0).filter(|y| *y < h);
                    let x = x.checked_sub(p.padding.1).filter(|x| *x < w);
                    if let (Some(y), Some(x)) = (y, x) {
                        inside.push(data[plane * h * w + y * w + x]);
                    }
                }
            }
            seen.push((inside, padded));
        }
    }
    (vec![n, c, rows, columns], seen)
}

fn tensor(dims: Vec<usize>, values: Vec<f64>) -> Tensor {
    made(values, dims)
}

fn max_oracle(x: &Tensor, params: &Pool2dParams) -> Tensor {
    let (dims, seen) = windows(x, params);
    let max = |(v, _): (Vec<f64>, usize)| v.into_iter().fold(f64::NEG_INFINITY, f64::max);
    tensor(dims, seen.into_iter().map(max).collect())
}

/// Average pooling by its definition.
pub fn avg_oracle(x: &Tensor, params: &Pool2dParams, include: bool) -> Tensor {
    let (dims, seen) = windows(x, params);
    let mean = |(v, padded): (Vec<f64>, usize)| {
        let divisor = if include { padded } else { v.len() };
        v.iter().sum::<f64>() / divisor as f64
    };
    tensor(dims, seen.into_iter().map(mean).collect())
}

/// Values in random order, so far apart that a finite difference does not change the largest.
fn spaced(seed: u64, shape: (usize, usize, usize, usize)) -> Tensor {
    let random = values(&uniform(seed, shape));
    let mut order: Vec<usize> = (0..random.len()).collect();
    order.sort_by(|a, b| random[*a].total_cmp(&random[*b]));
    let mut spaced = vec![0.0; order.len()];
    for (rank, place) in order.into_iter().enumerate() {
        spaced[place] = 4.0 * rank as f64 / random.len() as f64 - 2.0;
    }
    made(spaced, shape)
}

prop_compose! {
    /// Kernel, stride, padding and number of inputs of an axis.
    pub fn axis()(kernel in 1usize..5, stride in 1usize..4)
        (padding in 0..=kernel / 2, kernel in Just(kernel), stride in Just(stride),
         extra in 0usize..7) -> (usize, usize, usize, usize) {
        (kernel, stride, padding, kernel + extra)
    }
}

proptest! {
    #[test]
    fn fixed_windows_are_the_definition(
        rows in axis(), columns in axis(), ceil_mode: bool, include: bool,
        n in 1usize..3, c in 1usize..3, seed: u64,
    ) {
        every_device_with_products(|| {
            let params = Pool2dParams::new((rows.0, columns.0))
                .with_stride((rows.1, columns.1))
                .with_padding((rows.2, columns.2))
                .with_ceil_mode(ceil_mode);
            let x = uniform(seed, (n, c, rows.3, columns.3));
            assert_close(&max_pool2d(&x, &params).unwrap(), &max_oracle(&x, &params), 0.0);
            let mean = avg_pool2d(&x, &params, divisor(include)).unwrap();
            assert_close(&mean, &avg_oracle(&x, &params, include), 1e-14);
            let mean = avg_pool2d(&strided(&x), &params, divisor(include)).unwrap();
            assert_close(&mean, &avg_oracle(&x, &params, include), 1e-14);
            prop_assert_eq!(params.output_size((rows.3, columns.3)).unwrap(), {
                let dims = mean.dims();
                (dims[2], dims[3])
            });
            let x = spaced(seed, (1, 1, rows.3, columns.3));
            check_gradients(std::slice::from_ref(&x), |x| max_pool2d(&x[0], &params));
            check_gradients(&[x], |x| avg_pool2d(&x[0], &params, divisor(include)));
            Ok(())
        })?;
    }

    #[test]
    fn each_window_of_2x2_gives_its_gradient_to_one_value(
        h in 2usize..40, w in 2usize..40, n in 1usize..3, seed: u64,
    ) {
        every_device_with_products(|| {
            let shape = (n, 3, h, w);
            let few = |value: f64| match (value.abs() * 1e4) as usize % 6 {
                0 => f64::NEG_INFINITY,
                1 => f64::NAN,
                other => other as f64,
            };
            let data: Vec<f64> = values(&uniform(seed, shape)).into_iter().map(few).collect();
            let grad = uniform(seed ^ 1, (n, 3, h / 2, w / 2));
            let mut expected = vec![0.0; data.len()];
            let mut maxima = Vec::new();
            let of_plane = (h / 2) * (w / 2);
            for (window, g) in values(&grad).into_iter().enumerate() {
                let (plane, i, j) = (window / of_plane, window % of_plane / (w / 2), window % (w / 2));
                let corner = plane * h * w + 2 * i * w + 2 * j;
                let places = [corner, corner + 1, corner + w, corner + w + 1];
                let nan = places.iter().rev().find(|place| data[**place].is_nan());
                let largest = places.map(|place| data[place]).into_iter().fold(data[corner], f64::max);
                let first = places.iter().find(|place| data[**place] == largest);
                let place = *nan.or(first).unwrap();
                expected[place] = g;
                maxima.push(data[place]);
            }
            let x = Var::from_tensor(&made(data, shape)).unwrap();
            let y = max_pool2d(&x, &Pool2dParams::new((2, 2))).unwrap();
            for (value, maximum) in values(&y).into_iter().zip(maxima) {
                prop_assert!(value == maximum || (value.is_nan() && maximum.is_nan()));
            }
            let grads = (y * grad).unwrap().backward().unwrap();
            prop_assert_eq!(values(grads.get(&x).unwrap()), expected);
            Ok(())
        })?;
    }

    #[test]
    fn dilated_maxima_are_the_definition(
        kernel in 1usize..4, dilation in 1usize..4, stride in 1usize..3, extra in 0usize..5,
        half: bool, ceil_mode: bool, seed: u64,
    ) {
        every_device_with_products(|| {
            let extent = dilation * (kernel - 1) + 1;
            let padding = if half { kernel / 2 } else { 0 };
            let size = extent + extra;
            let params = Pool2dParams::new((kernel, kernel))
                .with_stride((stride, stride))
                .with_padding((padding, padding))
                .with_dilation((dilation, dilation))
                .with_ceil_mode(ceil_mode);
            let x = spaced(seed, (1, 2, size, size + 1));
            assert_close(&max_pool2d(&x, &params).unwrap(), &max_oracle(&x, &params), 0.0);
            check_gradients(&[x], |x| max_pool2d(&x[0], &params));
            Ok(())
        })?;
    }

    #[test]
    fn adaptive_windows_cover_the_input(
        h in 1usize..9, w in 1usize..9, rows in 1usize..6, columns in 1usize..6, seed: u64,
    ) {
        every_device_with_products(|| {
            let x = uniform(seed, (2, 2, h, w));
            let data = values(&x);
            let mut expected = Vec::new();
            for plane in 0..4 {
                for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                    let ys = i * h / rows..((i + 1) * h).div_ceil(rows);
                    let xs = j * w / columns..((j + 1) * w).div_ceil(columns);
                    let count = ys.len() * xs.len();
                    let cells = ys.flat_map(|y| xs.clone().map(move |x| (y, x)));
                    let sum: f64 = cells.map(|(y, x)| data[plane * h * w + y * w + x]).sum();
                    expected.push(sum / count as f64);
                }
            }
            let y = adaptive_avg_pool2d(&x, (rows, columns)).unwrap();
            assert_close(&y, &tensor(vec![2, 2, rows, columns], expected), 1e-14);
            let means = x.mean((2, 3)).unwrap();
            assert_close(&global_avg_pool2d(&x).unwrap(), &means, 1e-14);
            assert_close(&global_avg_pool2d(&strided(&x)).unwrap(), &means, 1e-14);
            check_gradients(std::slice::from_ref(&x), |x| {
                adaptive_avg_pool2d(&x[0], (rows, columns))
            });
            check_gradients(&[x], |x| global_avg_pool2d(&x[0]));
            Ok(())
        })?;
    }
}

#[derive(Deserialize)]
struct Case {
    pool: String,
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
    dilation: (usize, usize),
    ceil_mode: bool,
    count_include_pad: bool,
    shape: Vec<usize>,
    x: Vec<f64>,
    y_shape: Vec<usize>,
    y: Vec<f64>,
    grad: Vec<f64>,
    dx: Vec<f64>,
}

fn values_and_gradients_are_those_of_pytorch() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../reference/pool2d.json")).unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let params = Pool2dParams {
            kernel: case.kernel,
            stride: case.stride,
            padding: case.padding,
            dilation: case.dilation,
            ceil_mode: case.ceil_mode,
        };
        let x = Var::from_tensor(&tensor(case.shape, case.x)).unwrap();
        let y = match case.pool.as_str() {
            "max" => max_pool2d(&x, &params).unwrap(),
            "avg" => avg_pool2d(&x, &params, divisor(case.count_include_pad)).unwrap(),
            "adaptive" => adaptive_avg_pool2d(&x, case.kernel).unwrap(),
            other => panic!("unknown pool {other}"),
        };
        assert_close(&y, &tensor(case.y_shape.clone(), case.y), 1e-12);
        let grads = (y * tensor(case.y_shape, case.grad))
            .unwrap()
            .backward()
            .unwrap();
        assert_values(&values(grads.get(&x).unwrap()), &case.dx, 1e-12);
    }
}

fn the_first_of_equal_maxima_takes_the_whole_gradient() {
    let x = Tensor::ones((1, 1, 4, 4), real(), &device()).unwrap();
    let params = Pool2dParams::new((2, 2));
    let vars = Var::from_tensor(&x).unwrap();
    let ours = max_pool2d(&vars, &params).unwrap().backward().unwrap();
    let first = [
        [1.0, 0.0, 1.0, 0.0],
        [0.0; 4],
        [1.0, 0.0, 1.0, 0.0],
        [0.0; 4],
    ];
    assert_eq!(values(ours.get(&vars).unwrap()), first.concat());
}

/// The sum of the input's gradient for a gradient of ones at the output of `pool`.
fn total_gradient(x: &Var, pool: impl Fn(&Tensor) -> Result<Tensor>) -> f64 {
    let grads = pool(x).unwrap().sum_all().unwrap().backward().unwrap();
    values(grads.get(x).unwrap()).iter().sum()
}

fn a_window_with_equal_maxima_loses_gradient_in_candle_and_not_here() {
    let x = Tensor::ones((1, 1, 2, 2), real(), &device()).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let params = Pool2dParams::new((2, 2));
    assert_eq!(total_gradient(&x, |x| max_pool2d(x, &params)), 1.0);
    assert_ne!(total_gradient(&x, |x| x.max_pool2d(2)), 1.0);
}

fn a_kernel_that_does_not_divide_the_input_misplaces_gradients_in_candle_and_not_here() {
    let x: Vec<f64> = (0..25).map(f64::from).collect();
    let x = Var::from_tensor(&tensor(vec![1, 1, 5, 5], x)).unwrap();
    let gradient = |pool: &dyn Fn(&Tensor) -> Result<Tensor>| -> Vec<f64> {
        let grads = pool(&x).unwrap().sum_all().unwrap().backward().unwrap();
        values(grads.get(&x).unwrap())
    };
    let mut expected = [0.0; 25];
    for maximum in [6, 8, 16, 18] {
        expected[maximum] = 1.0;
    }
    let params = Pool2dParams::new((2, 2));
    assert_eq!(gradient(&|x| max_pool2d(x, &params)), expected);
    assert_ne!(gradient(&|x| x.max_pool2d(2)), expected);
    let quarters: Vec<f64> = (0..25)
        .map(|i| if i % 5 < 4 && i < 20 { 0.25 } else { 0.0 })
        .collect();
    assert_eq!(
        gradient(&|x| avg_pool2d(x, &params, AvgDivisor::Window)),
        quarters
    );
    assert_ne!(gradient(&|x| x.avg_pool2d(2)), quarters);
}

fn a_stem_pool_trains_here_and_not_in_candle() {
    let x = Var::from_tensor(&uniform(3, (1, 2, 8, 8))).unwrap();
    let params = Pool2dParams::new((3, 3))
        .with_stride((2, 2))
        .with_padding((1, 1));
    let y = max_pool2d(&x, &params).unwrap();
    assert_eq!(y.dims(), [1, 2, 4, 4]);
    assert!(y.backward().is_ok());
    let theirs = x.max_pool2d_with_stride(3, 2).unwrap();
    assert!(theirs.backward().is_err());
}

fn nan_comes_through() {
    let mut x = vec![1.0; 16];
    x[5] = f64::NAN;
    let x = tensor(vec![1, 1, 4, 4], x);
    let params = Pool2dParams::new((2, 2));
    let y = values(&max_pool2d(&x, &params).unwrap());
    assert!(y[0].is_nan());
    assert_eq!(y[1..], [1.0; 3]);
    let low = Tensor::full(f32::NEG_INFINITY, (1, 1, 2, 2), &device()).unwrap();
    let low = low.to_dtype(real()).unwrap();
    let y = values(&max_pool2d(&low, &params).unwrap());
    assert_eq!(y, [f64::NEG_INFINITY]);
    let [dx] = gradients(&[low], |x| max_pool2d(&x[0], &params))
        .try_into()
        .unwrap();
    assert_ne!(values(&dx)[0], 0.0);
}

fn every_type_and_the_empty_batch() {
    let params = Pool2dParams::new((3, 2))
        .with_stride((2, 1))
        .with_padding((1, 1));
    let x = uniform(5, (2, 3, 7, 5));
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 1e-3), (DType::BF16, 8e-3)] {
        let x = x.to_dtype(dtype).unwrap();
        let wide = made(values(&x), x.shape());
        let y = max_pool2d(&x, &params).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &max_oracle(&wide, &params), 0.0);
        let y = avg_pool2d(&x, &params, AvgDivisor::Window).unwrap();
        assert_close(&y, &avg_oracle(&wide, &params, true), tolerance);
        let x = Var::from_tensor(&x).unwrap();
        let grads = global_avg_pool2d(&x).unwrap().backward().unwrap();
        let share = values(grads.get(&x).unwrap())[0];
        assert_values(&[share], &[1.0 / 35.0], tolerance);
    }
    let none = Tensor::zeros((0, 3, 7, 5), DType::F32, &device()).unwrap();
    assert_eq!(max_pool2d(&none, &params).unwrap().dims(), [0, 3, 4, 6]);
    assert_eq!(global_avg_pool2d(&none).unwrap().dims(), [0, 3]);
    let integers = Tensor::zeros((0, 3, 7, 5), DType::U8, &device()).unwrap();
    assert!(max_pool2d(&integers, &params).is_err());
    let planes = x.get(0).unwrap();
    assert_eq!(max_pool2d(&planes, &params).unwrap().dims(), [3, 4, 6]);
}

fn many_planes_are_those_of_one_at_a_time() {
    let x = uniform(8, (4, 16, 33, 35)).to_dtype(DType::F32).unwrap();
    let params = Pool2dParams::new((3, 3))
        .with_stride((2, 2))
        .with_padding((1, 1));
    let all = max_pool2d(&x, &params).unwrap();
    let means = avg_pool2d(&x, &params, AvgDivisor::Window).unwrap();
    for n in 0..4 {
        let one = x.narrow(0, n, 1).unwrap();
        let part = max_pool2d(&one, &params).unwrap();
        assert_close(&all.narrow(0, n, 1).unwrap(), &part, 0.0);
        let part = avg_pool2d(&one, &params, AvgDivisor::Window).unwrap();
        assert_close(&means.narrow(0, n, 1).unwrap(), &part, 0.0);
    }
}

fn impossible_windows_are_refused() {
    let x = uniform(1, (1, 1, 4, 4));
    let refused = |params: Pool2dParams, part: &str| {
        let message = max_pool2d(&x, &params).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    let params = Pool2dParams::new((2, 2));
    refused(Pool2dParams::new((0, 2)), "at least 1");
    refused(params.with_stride((1, 0)), "at least 1");
    refused(params.with_padding((2, 0)), "half");
    refused(Pool2dParams::new((5, 5)), "larger");
    assert!(avg_pool2d(&x, &params.with_dilation((2, 2)), AvgDivisor::Window).is_err());
    assert!(adaptive_avg_pool2d(&x, (0, 1)).is_err());
    let none = Tensor::zeros((1, 1, 0, 4), DType::F32, &device()).unwrap();
    assert!(global_avg_pool2d(&none).is_err());
    assert!(max_pool2d(&x.flatten_all().unwrap(), &params).is_err());
}

fn sizes_do_not_wrap() {
    const HUGE: usize = usize::MAX;
    let x = uniform(1, (1, 1, 4, 4));
    let plain = Pool2dParams::new((2, 2));
    let refused = [
        Pool2dParams::new((HUGE, 2)).with_stride((1, 1)),
        Pool2dParams::new((2, HUGE))
            .with_stride((1, 1))
            .with_padding((0, HUGE / 2)),
        Pool2dParams::new((HUGE / 2, 2))
            .with_stride((1, 1))
            .with_ceil_mode(true),
        plain.with_dilation((HUGE, 1)),
        plain.with_dilation((HUGE - 1, 1)).with_ceil_mode(true),
        Pool2dParams::new((3, 3)).with_dilation((1, HUGE / 2 + 1)),
        plain.with_stride((HUGE, HUGE)).with_ceil_mode(true),
    ];
    for params in refused {
        assert!(params.output_size((4, 4)).is_err(), "{params:?}");
        assert!(max_pool2d(&x, &params).is_err(), "{params:?}");
        assert!(
            avg_pool2d(&x, &params, AvgDivisor::Window).is_err(),
            "{params:?}"
        );
    }
    // Large, but valid.
    let strided = plain.with_stride((1 << 40, 1 << 40));
    let first = x.narrow(2, 0, 2).unwrap().narrow(3, 0, 2).unwrap();
    let expected = max_pool2d(&first, &plain).unwrap();
    for ceil_mode in [false, true] {
        let params = strided.with_ceil_mode(ceil_mode);
        assert_close(&max_pool2d(&x, &params).unwrap(), &expected, 0.0);
    }
    assert!(adaptive_avg_pool2d(&x, (HUGE, 1)).is_err());
}

#[test]
fn padding_wider_than_the_image_takes_no_memory() {
    let x = uniform(1, (1, 1, 1, 4));
    let whole = Pool2dParams::new((1, 1 << 40))
        .with_stride((1, 1 << 39))
        .with_padding((0, 1 << 39));
    let largest = values(&x).into_iter().fold(f64::NEG_INFINITY, f64::max);
    let y = max_pool2d(&x, &whole).unwrap();
    assert_eq!(values(&y), [largest]);
}
