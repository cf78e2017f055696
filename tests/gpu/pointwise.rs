//! Kernels of functions of one element.

use candle_core::{Layout, Shape};
use candle_mish::Activation;

use crate::kernels::{Backend, Program, Request, Type};
use crate::oracle::{distance, oracle, sweep};

fn parameters(activation: &Activation) -> [f64; 4] {
    let mut values = [0.0; 4];
    for (value, (_, parameter)) in values.iter_mut().zip(activation.parameters()) {
        *value = parameter;
    }
    values
}

fn request(activation: &Activation, what: &str, ty: Type, x: &[f64], grad: &[f64]) -> Request {
    Request {
        name: format!("{}_{what}_{}", activation.name(), ty.name()),
        n: x.len() as u64,
        flag: 1,
        // Fewer threads than elements, so that each thread takes several.
        blocks: 3,
        threads: 32,
        x: ty.bytes(x),
        grad: ty.bytes(grad),
        y: x.len() * ty.size(),
        parameters: parameters(activation),
        ..Request::default()
    }
}

/// f(x) and f'(x) of every element.
fn evaluate(
    program: &mut Program,
    activation: &Activation,
    ty: Type,
    x: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let ones = vec![1.0; x.len()];
    let y = program.run(&request(activation, "map", ty, x, &[]));
    let dy = program.run(&request(activation, "zip", ty, x, &ones));
    (ty.values(&y), ty.values(&dy))
}

/// The points and bounds of the vector kernels on the CPU.
pub fn mish_is_accurate(program: &mut Program) {
    let f32_points = sweep(-126, 127, 50, -95.0, 25.0);
    let f64_points = sweep(-1022, 1023, 10, -735.0, 45.0);
    for (ty, points, bits, min_exponent) in [
        (Type::F32, f32_points, 24, -126),
        (Type::F64, f64_points, 53, -1022),
    ] {
        if !program.backend.types().contains(&ty) {
            continue;
        }
        let x = ty.rounded(&points);
        let (values, derivatives) = evaluate(program, &Activation::Mish, ty, &x);
        for ((x, y), dy) in x.iter().zip(values).zip(derivatives) {
            let (value, derivative) = oracle(*x);
            if let Some(ulp) = distance(y, value, bits, min_exponent) {
                assert!(ulp <= 4.0, "{ty:?}: mish({x:e}) = {y:e} is {ulp} ulp off");
            }
            let error = (dy - derivative).abs();
            let exponent = (derivative.abs().log2().floor() as i32).max(min_exponent);
            let ulp = libm::ldexp(error, bits - 1 - exponent);
            assert!(
                ulp <= 6.0 || error <= 2f64.powi(1 - bits),
                "{ty:?}: mish'({x:e}) = {dy:e} is {ulp} ulp, {error:e} off"
            );
        }
    }
}

/// All f16 and bf16 values: the result is at most the neighbour of the exact value.
pub fn halves_of_mish_are_nearest(program: &mut Program) {
    for (ty, bits, min_exponent) in [(Type::F16, 11, -14), (Type::BF16, 8, -126)] {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let x: Vec<f64> = ty
            .values(&all)
            .into_iter()
            .filter(|x| x.is_finite())
            .collect();
        let (values, _) = evaluate(program, &Activation::Mish, ty, &x);
        for (x, y) in x.iter().zip(values) {
            let (exact, k) = oracle(*x).0;
            if let Some(ulp) = distance(y, (exact, k), bits, min_exponent) {
                assert!(ulp <= 0.505, "{ty:?}: mish({x:e}) = {y:e} is {ulp} ulp off");
            }
        }
    }
}

fn points() -> Vec<f64> {
    let bends = (-1000..1000).map(|i| f64::from(i) * 0.0102 + 0.001_234);
    bends
        .chain([
            -700.0, -88.0, -20.0, 15.0, 20.0, 88.0, 700.0, 0.0, 1e-4, -1e-4,
        ])
        .collect()
}

/// With the bounds of the op on the CPU.
pub fn functions_are_those_of_the_table(program: &mut Program) {
    for function in Activation::all() {
        for ty in program.backend.types().iter().copied() {
            let tolerance = match ty {
                Type::F64 => 1e-14,
                Type::F32 => 1e-6,
                Type::F16 => 1e-3,
                Type::BF16 => 8e-3,
            };
            let x = ty.rounded(&points());
            let (values, derivatives) = evaluate(program, &function, ty, &x);
            for ((x, y), dy) in x.iter().zip(values).zip(derivatives) {
                let (value, derivative) = (function.value(*x), function.derivative(*x));
                for (what, is, should) in [("", y, value), ("'", dy, derivative)] {
                    assert!(
                        (is - should).abs() <= tolerance * should.abs().max(1.0),
                        "{function}{what}({x}) = {is}, not {should} in {ty:?}"
                    );
                }
            }
        }
    }
}

pub fn limits_are_right(program: &mut Program) {
    let x = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for function in Activation::all() {
        for ty in program.backend.types().iter().copied() {
            let (values, derivatives) = evaluate(program, &function, ty, &x);
            assert!(values[0].is_nan(), "{function}(NaN) = {}", values[0]);
            // The sine has no limit.
            if matches!(function, Activation::SineRelu { .. }) {
                continue;
            }
            for (i, x) in x.iter().enumerate().skip(1) {
                for (what, is, should) in [
                    ("", values[i], function.value(*x)),
                    ("'", derivatives[i], function.derivative(*x)),
                ] {
                    let close = (is - should).abs() <= 8e-3 * should.abs().max(1.0);
                    // Some formulas of the table have no derivative at infinity.
                    assert!(
                        close || is == should || should.is_nan(),
                        "{function}{what}({x}) = {is}, not {should} in {ty:?}"
                    );
                }
            }
        }
    }
    let (values, derivatives) = evaluate(
        program,
        &Activation::Mish,
        Type::F32,
        &[f64::NEG_INFINITY, -0.0],
    );
    assert!(values.iter().all(|y| *y == 0.0 && y.is_sign_negative()));
    assert_eq!(derivatives[0], 0.0);
}

fn ramp(len: usize) -> Vec<f64> {
    (0..len).map(|i| (i as f64 * 0.731).sin() * 6.0).collect()
}

fn assert_close(name: &str, ty: Type, is: &[f64], should: &[f64]) {
    let tolerance = match ty {
        Type::F64 => 1e-14,
        Type::F32 => 1e-6,
        Type::F16 => 1e-3,
        Type::BF16 => 8e-3,
    };
    assert_eq!(is.len(), should.len(), "{name}");
    for (i, (is, should)) in is.iter().zip(should).enumerate() {
        assert!(
            (is - should).abs() <= tolerance * should.abs().max(1.0),
            "{name}: value {i} is {is}, not {should}"
        );
    }
}

/// The 16-byte path with its tail, and the path for addresses that are not multiples of 16.
pub fn every_length_and_alignment(program: &mut Program) {
    let mish = Activation::Mish;
    for ty in program.backend.types().iter().copied() {
        for len in (0..40).chain([1000]) {
            let (x, grad) = (ty.rounded(&ramp(len)), ty.rounded(&ramp(len + 3)[3..]));
            let value: Vec<f64> = x.iter().map(|x| mish.value(*x)).collect();
            let product = |(x, grad): (&f64, &f64)| mish.derivative(*x) * grad;
            let product: Vec<f64> = x.iter().zip(&grad).map(product).collect();
            for moved in [None, Some(0), Some(2), Some(3)] {
                let mut map = request(&mish, "map", ty, &x, &[]);
                let mut zip = request(&mish, "zip", ty, &x, &grad);
                for request in [&mut map, &mut zip] {
                    if let Some(which) = moved {
                        request.shifts[which] = ty.size() as i64;
                        request.flag = 0;
                    }
                }
                let name = format!("{ty:?}, {len} elements, {moved:?} moved");
                assert_close(&name, ty, &ty.values(&program.run(&map)), &value);
                assert_close(&name, ty, &ty.values(&program.run(&zip)), &product);
            }
        }
    }
}

/// The layout of two tensors in the form of the kernels.
fn strided(a: &Layout, b: &Layout) -> [u64; 25] {
    let mut numbers = [0; 25];
    numbers[0] = a.dims().len() as u64;
    for axis in 0..a.dims().len() {
        numbers[1 + axis] = a.dims()[axis] as u64;
        numbers[9 + axis] = a.stride()[axis] as u64;
        numbers[17 + axis] = b.stride()[axis] as u64;
    }
    numbers
}

/// The offsets of the elements, in row-major order.
fn places(layout: &Layout) -> Vec<usize> {
    let axes = layout.dims().iter().zip(layout.stride());
    axes.fold(vec![layout.start_offset()], |places, (dim, stride)| {
        let along = |place| (0..*dim).map(move |i| place + i * stride);
        places.into_iter().flat_map(along).collect()
    })
}

fn gathered(values: &[f64], layout: &Layout) -> Vec<f64> {
    places(layout).into_iter().map(|i| values[i]).collect()
}

pub fn strided_and_in_place(program: &mut Program) {
    let mish = Activation::Mish;
    let whole = Layout::contiguous(Shape::from((3, 4, 5)));
    let views = [
        whole.transpose(0, 2).unwrap(),
        whole.narrow(1, 1, 2).unwrap(),
        whole
            .narrow(0, 1, 1)
            .unwrap()
            .broadcast_as((2, 4, 5))
            .unwrap(),
        Layout::contiguous(()),
    ];
    for ty in program.backend.types().iter().copied() {
        let x = ty.rounded(&ramp(60));
        for view in &views {
            let n = view.shape().elem_count();
            let inputs = gathered(&x, view);
            let values: Vec<f64> = inputs.iter().map(|x| mish.value(*x)).collect();
            let start = view.start_offset() * ty.size();
            let mut map = request(&mish, "map_strided", ty, &x[view.start_offset()..], &[]);
            map.n = n as u64;
            map.flag = 0;
            map.y = n * ty.size();
            map.strided = strided(view, view);
            let name = format!("{ty:?} {view:?}");
            assert_close(&name, ty, &ty.values(&program.run(&map)), &values);

            // The gradient is contiguous, x is not.
            let grad = ty.rounded(&ramp(n + 1)[1..]);
            let product = inputs
                .iter()
                .zip(&grad)
                .map(|(x, g)| mish.derivative(*x) * g);
            let product: Vec<f64> = product.collect();
            let mut zip = request(&mish, "zip_strided", ty, &x[view.start_offset()..], &grad);
            zip.n = n as u64;
            zip.y = n * ty.size();
            zip.strided = strided(view, &Layout::contiguous(view.shape()));
            assert_close(&name, ty, &ty.values(&program.run(&zip)), &product);

            if view.stride().contains(&0) {
                continue;
            }
            // In place: elements outside of the view do not change.
            let mut expected = x[view.start_offset()..].to_vec();
            for (place, y) in places(view).into_iter().zip(&values) {
                expected[place - view.start_offset()] = *y;
            }
            map.flag = 1;
            map.y = 0;
            assert_close(&name, ty, &ty.values(&program.run(&map)), &expected);
            assert_eq!(map.x.len() + start, x.len() * ty.size());
        }
        let mut map = request(&mish, "map", ty, &x, &[]);
        map.y = 0;
        let values: Vec<f64> = x.iter().map(|x| mish.value(*x)).collect();
        assert_close("in place", ty, &ty.values(&program.run(&map)), &values);
    }
}

/// The last elements of tensors that are too large for this machine: the kernels receive the
/// addresses of the first elements, and only the last blocks run.
pub fn beyond_2_to_the_32(program: &mut Program) {
    const WINDOW: u64 = 4096;
    const THREADS: u64 = 32;
    let mish = Activation::Mish;
    for ty in program.backend.types().iter().copied() {
        let (size, lanes) = (ty.size() as u64, 16 / ty.size() as u64);
        let n = (1u64 << 33) + 1024;
        let start = n - WINDOW;
        let x = ty.rounded(&ramp(WINDOW as usize));
        let values: Vec<f64> = x.iter().map(|x| mish.value(*x)).collect();
        let mut map = request(&mish, "map", ty, &x, &[]);
        map.n = n;
        map.threads = THREADS;
        map.blocks = n / lanes / THREADS;
        map.first_block = start.div_ceil(THREADS * lanes);
        map.shifts = [-((start * size) as i64); 4];
        let written = ty.values(&program.run(&map));
        let first = (map.first_block * THREADS * lanes - start) as usize;
        assert!(first + 1024 < values.len());
        assert_close("the end", ty, &written[first..], &values[first..]);

        // One row of 64, broadcast. Metal counts threads in 32 bits, so the last threads do not
        // have the last elements.
        if program.backend == Backend::Metal {
            continue;
        }
        let n = (1u64 << 32) + 1024;
        let start = n - WINDOW;
        let mut map = request(&mish, "map_strided", ty, &x[..64], &[]);
        map.n = n;
        map.flag = 0;
        map.y = (WINDOW * size) as usize;
        map.threads = THREADS;
        map.blocks = n / THREADS;
        map.first_block = start / THREADS;
        map.shifts[3] = -((start * size) as i64);
        map.strided[..3].copy_from_slice(&[2, n / 64, 64]);
        map.strided[9 + 1] = 1;
        let row = values[..64].iter().copied();
        let expected: Vec<f64> = row.cycle().take(WINDOW as usize).collect();
        let written = ty.values(&program.run(&map));
        assert_close("the end of a broadcast", ty, &written, &expected);
    }
}
