//! Batch norm over a batch that is divided among threads, against batch norm of the whole batch.

use std::sync::{Arc, Barrier, Mutex};

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{AllReduce, Statistics, batch_norm_act, composed, stack};

use crate::support::{uniform, values};

const EPS: f64 = 1e-5;
/// The images of each thread.
const PARTS: [usize; 3] = [2, 1, 4];

/// A thread of a group that sums in the order of the threads.
#[derive(Debug)]
struct Member {
    number: usize,
    group: Arc<(Barrier, Mutex<Vec<Vec<f64>>>)>,
}

impl AllReduce for Member {
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        let (barrier, all) = &*self.group;
        all.lock().expect("no panic")[self.number] = values.to_vec();
        barrier.wait();
        for (i, value) in values.iter_mut().enumerate() {
            *value = all.lock().expect("no panic").iter().map(|v| v[i]).sum();
        }
        barrier.wait();
        Ok(())
    }
}

/// The inputs of the op and the weights of its results in the loss.
#[derive(Clone)]
struct Inputs {
    x: Tensor,
    gamma_beta: Tensor,
    residual: Option<Tensor>,
    weights: Tensor,
}

/// Result, gradients of x and of the residual, gradient of gain and bias, mean and variance.
struct Outputs {
    by_image: Vec<Vec<f64>>,
    parameters: Vec<f64>,
    statistics: [Vec<f64>; 2],
}

impl Inputs {
    fn part(&self, start: usize, images: usize) -> Self {
        let narrow = |t: &Tensor| t.narrow(0, start, images).expect("images");
        Self {
            x: narrow(&self.x),
            gamma_beta: self.gamma_beta.clone(),
            residual: self.residual.as_ref().map(narrow),
            weights: narrow(&self.weights),
        }
    }

    fn run(&self, statistics: Statistics<'_>, activation: &Activation) -> Result<Outputs> {
        let x = Var::from_tensor(&self.x)?;
        let gamma_beta = Var::from_tensor(&self.gamma_beta)?;
        let residual = self.residual.as_ref().map(Var::from_tensor).transpose()?;
        let added = residual.as_ref().map(|residual| residual.as_tensor());
        let (_, (y, of_batch), gradients) = value_and_grad(|| {
            let (y, of_batch) =
                batch_norm_act(&x, &gamma_beta, added, statistics, EPS, activation)?;
            let loss = (&y * &self.weights)?.sum_all()?;
            Ok((loss, (y.detach(), of_batch)))
        })?;
        let gradient = |var: &Var| values(gradients.get(var).expect("a gradient"));
        let of_batch = of_batch.expect("statistics");
        let by_image = [
            Some(values(&y)),
            Some(gradient(&x)),
            residual.as_ref().map(gradient),
        ];
        Ok(Outputs {
            by_image: by_image.into_iter().flatten().collect(),
            parameters: gradient(&gamma_beta),
            statistics: [values(&of_batch.mean), values(&of_batch.variance)],
        })
    }

    /// The outputs of all threads, joined.
    fn run_in_parts(&self, activation: &Activation, composes: bool) -> Vec<Outputs> {
        let slots = Mutex::new(vec![Vec::new(); PARTS.len()]);
        let group = Arc::new((Barrier::new(PARTS.len()), slots));
        std::thread::scope(|scope| {
            let mut start = 0;
            let mut threads = Vec::new();
            for (number, images) in PARTS.into_iter().enumerate() {
                let part = self.part(start, images);
                start += images;
                let group = group.clone();
                let member: Arc<dyn AllReduce> = Arc::new(Member { number, group });
                let run = move || part.run(Statistics::Synchronised(&member), activation);
                threads.push(scope.spawn(move || match composes {
                    true => composed::everywhere(run),
                    false => run(),
                }));
            }
            let outputs = threads.into_iter().map(|thread| thread.join());
            let outputs = outputs.map(|output| output.expect("no panic").expect("a result"));
            outputs.collect()
        })
    }
}

fn assert_near(what: &str, expected: &[f64], found: &[f64], tolerance: f64) {
    assert_eq!(expected.len(), found.len(), "{what}");
    let largest = expected
        .iter()
        .fold(1e-3, |largest: f64, e| largest.max(e.abs()));
    for (expected, found) in expected.iter().zip(found) {
        let error = (expected - found).abs() / largest;
        assert!(error < tolerance, "{what}: {expected} {found} ({error})");
    }
}

fn compare(dtype: DType, dims: &[usize], residual: bool, activation: &Activation, offset: f64) {
    let tolerance = if dtype == DType::F64 { 1e-10 } else { 3e-5 };
    let random = |seed, dims: &[usize]| {
        let tensor = uniform(seed, dims);
        tensor.to_dtype(dtype).expect("a tensor")
    };
    let images: usize = PARTS.iter().sum();
    let whole = [&[images], dims].concat();
    let x = (random(1, &whole) + offset).expect("a tensor");
    let inputs = Inputs {
        x,
        gamma_beta: stack(&[&random(2, &dims[..1]), &random(3, &dims[..1])]).expect("a pair"),
        residual: residual.then(|| random(4, &whole)),
        weights: random(5, &whole),
    };
    let expected = inputs.run(Statistics::Batch, activation).expect("values");
    for composes in [false, true] {
        let parts = inputs.run_in_parts(activation, composes);
        for (index, expected) in expected.by_image.iter().enumerate() {
            let found: Vec<f64> = parts
                .iter()
                .flat_map(|p| p.by_image[index].clone())
                .collect();
            assert_near(&format!("output {index}"), expected, &found, tolerance);
        }
        // Each thread has the sum over its own part.
        let mut sums = vec![0.0; expected.parameters.len()];
        for part in &parts {
            for (sum, own) in sums.iter_mut().zip(&part.parameters) {
                *sum += own;
            }
            for (expected, found) in expected.statistics.iter().zip(&part.statistics) {
                assert_near("statistics", expected, found, tolerance);
            }
        }
        assert_near("gain and bias", &expected.parameters, &sums, tolerance);
    }
}

#[test]
fn parts_of_a_batch_have_the_statistics_and_gradients_of_the_whole() {
    for dtype in [DType::F32, DType::F64] {
        for (dims, residual, activation) in [
            (&[5, 3, 3][..], false, Activation::Mish),
            (&[3, 8, 8], true, Activation::Relu),
            (&[70], true, Activation::Mish),
            (&[2, 40, 40], false, Activation::Softsign),
        ] {
            compare(dtype, dims, residual, &activation, 0.0);
        }
    }
}

#[test]
fn a_mean_far_from_zero_does_not_cancel_over_parts() {
    compare(DType::F64, &[3, 5, 5], false, &Activation::Mish, 1000.0);
}

#[test]
fn a_part_may_have_one_value_and_not_none() -> Result<()> {
    let alone: Arc<dyn AllReduce> = Arc::new(Alone);
    let x = Tensor::new(&[[1.0f32]], &Device::Cpu)?;
    let gamma_beta = Tensor::new(&[[1.0f32], [0.0]], &Device::Cpu)?;
    let run = |x: &Tensor| {
        let statistics = Statistics::Synchronised(&alone);
        batch_norm_act(x, &gamma_beta, None, statistics, EPS, &Activation::Relu)
    };
    // The other process has a value of 3: mean 2, variance 1.
    let (_, statistics) = run(&x)?;
    let statistics = statistics.expect("statistics");
    assert_eq!(values(&statistics.mean), [2.0]);
    assert_eq!(values(&statistics.variance), [2.0]);
    let error = run(&x.narrow(0, 0, 0)?).expect_err("no image");
    assert!(error.to_string().contains("at least one image"), "{error}");
    Ok(())
}

#[test]
fn one_value_in_all_processes_is_refused() -> Result<()> {
    let single: Arc<dyn AllReduce> = Arc::new(Single);
    let gamma_beta = Tensor::new(&[[1.0f32, 1.0], [0.0, 0.0]], &Device::Cpu)?;
    let run = |images: usize| {
        let x = Tensor::ones((images, 2, 1, 1), DType::F32, &Device::Cpu)?;
        let statistics = Statistics::Synchronised(&single);
        batch_norm_act(&x, &gamma_beta, None, statistics, EPS, &Activation::Relu)
    };
    for result in [run(1), composed::everywhere(|| run(1))] {
        let error = result.expect_err("one value").to_string();
        assert!(error.contains("more than one value per channel"), "{error}");
    }
    for result in [run(2), composed::everywhere(|| run(2))] {
        let (_, statistics) = result?;
        let statistics = statistics.expect("statistics");
        assert_eq!(values(&statistics.variance), [0.0, 0.0]);
    }
    Ok(())
}

#[test]
fn a_nan_of_one_process_is_in_all_statistics() -> Result<()> {
    let alone: Arc<dyn AllReduce> = Arc::new(Alone);
    let x = Tensor::new(&[[f32::NAN]], &Device::Cpu)?;
    let gamma_beta = Tensor::new(&[[1.0f32], [0.0]], &Device::Cpu)?;
    let run = || {
        let statistics = Statistics::Synchronised(&alone);
        batch_norm_act(&x, &gamma_beta, None, statistics, EPS, &Activation::Relu)
    };
    for result in [run(), composed::everywhere(run)] {
        let (_, statistics) = result?;
        let statistics = statistics.expect("statistics");
        assert!(values(&statistics.mean)[0].is_nan());
        assert!(values(&statistics.variance)[0].is_nan());
    }
    Ok(())
}

/// The only process.
#[derive(Debug)]
struct Single;

impl AllReduce for Single {
    fn all_reduce_sum_f64(&self, _values: &mut [f64]) -> Result<()> {
        Ok(())
    }
}

/// Adds the sums of a process that has one image with the value 3.
#[derive(Debug)]
struct Alone;

impl AllReduce for Alone {
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        for (value, other) in values.iter_mut().zip([1.0, 3.0, 9.0]) {
            *value += other;
        }
        Ok(())
    }
}
