//! Kernels of functions with parameters that are tensors.

use crate::kernels::{Program, Request, Type};

/// Value, derivative and derivatives with respect to the parameters, as formulas in f64.
struct Function {
    name: &'static str,
    rows: usize,
    value: fn(f64, &[f64]) -> f64,
    derivative: fn(f64, &[f64]) -> f64,
    of_parameter: fn(f64, &[f64], usize) -> f64,
}

const FUNCTIONS: [Function; 2] = [
    Function {
        name: "prelu",
        rows: 1,
        value: |x, p| if x > 0.0 { x } else { x * p[0] },
        derivative: |x, p| if x > 0.0 { 1.0 } else { p[0] },
        of_parameter: |x, _, _| if x > 0.0 { 0.0 } else { x },
    },
    Function {
        name: "srelu",
        rows: 4,
        value: |x, p| match x {
            x if x <= p[0] => p[0] + (x - p[0]) * p[1],
            x if x >= p[2] => p[2] + (x - p[2]) * p[3],
            x => x,
        },
        derivative: |x, p| match x {
            x if x <= p[0] => p[1],
            x if x >= p[2] => p[3],
            _ => 1.0,
        },
        of_parameter: |x, p, row| match (row, x <= p[0], x >= p[2]) {
            (0, true, _) => 1.0 - p[1],
            (1, true, _) => x - p[0],
            (2, false, true) => 1.0 - p[3],
            (3, false, true) => x - p[2],
            _ => 0.0,
        },
    },
];

fn waves(len: usize, pace: f64, size: f64) -> Vec<f64> {
    (0..len).map(|i| (i as f64 * pace).sin() * size).collect()
}

/// Rows of parameters: thresholds around 0, the left one below the right one.
fn rows(ty: Type, rows: usize, channels: usize) -> Vec<f64> {
    let noise = waves(rows * channels, 1.7, 0.2);
    let offset = |i: usize| [-0.7, 0.3, 0.7, 0.4][i / channels];
    let values: Vec<f64> = noise
        .iter()
        .enumerate()
        .map(|(i, x)| x + offset(i))
        .collect();
    ty.rounded(&values)
}

fn assert_close(name: &str, ty: Type, is: &[f64], should: &[f64], size: f64) {
    let tolerance = match ty {
        Type::F64 => 1e-13,
        Type::F32 => 2e-6,
        Type::F16 => 1e-3,
        Type::BF16 => 8e-3,
    };
    assert_eq!(is.len(), should.len(), "{name}");
    for (i, (is, should)) in is.iter().zip(should).enumerate() {
        assert!(
            (is - should).abs() <= tolerance * should.abs().max(size),
            "{name}: value {i} is {is}, not {should}"
        );
    }
}

pub fn values_and_gradients(program: &mut Program) {
    // Images, channels, channels of the parameters, elements of a plane: whole packs, partial
    // packs, planes shorter than a pack, one set of parameters for all, one element.
    let shapes = [
        (2, 3, 3, 16),
        (3, 4, 4, 5),
        (2, 5, 5, 1),
        (2, 3, 1, 7),
        (1, 1, 1, 1),
        (4, 2, 2, 300),
    ];
    for ty in program.backend.types().iter().copied() {
        for function in &FUNCTIONS {
            for shape in shapes {
                check(program, ty, function, shape);
            }
        }
    }
}

fn check(
    program: &mut Program,
    ty: Type,
    function: &Function,
    (images, channels, sets, plane): (usize, usize, usize, usize),
) {
    let n = images * channels * plane;
    let name = format!("{} {ty:?} [{images}, {channels}, {plane}]", function.name);
    // With one set for all channels, everything is one run.
    let inner = if sets == 1 { n } else { plane };
    let x = ty.rounded(&waves(n, 0.83, 2.0));
    let grad = ty.rounded(&waves(n, 0.37, 1.0));
    let p = rows(ty, function.rows, sets);
    let own = |i: usize| -> Vec<f64> {
        let set = i / inner % sets;
        (0..function.rows).map(|row| p[row * sets + set]).collect()
    };
    let request = |what: &str| Request {
        name: format!("{}_{what}_{}", function.name, ty.name()),
        n: n as u64,
        flag: 1,
        blocks: 2,
        threads: 8,
        x: ty.bytes(&x),
        p: ty.bytes(&p),
        grad: ty.bytes(&grad),
        y: n * ty.size(),
        planes: [sets as u64, inner as u64],
        ..Request::default()
    };
    let value: Vec<f64> = (0..n).map(|i| (function.value)(x[i], &own(i))).collect();
    let forward = ty.values(&program.run(&request("forward")));
    assert_close(&name, ty, &forward, &value, 1.0);
    let slope = |i: usize| (function.derivative)(x[i], &own(i)) * grad[i];
    let slopes: Vec<f64> = (0..n).map(slope).collect();
    let backward = ty.values(&program.run(&request("backward")));
    assert_close(&name, ty, &backward, &slopes, 1.0);
    let mut moved = request("backward");
    moved.shifts[0] = ty.size() as i64;
    moved.flag = 0;
    let backward = ty.values(&program.run(&moved));
    assert_close(&name, ty, &backward, &slopes, 1.0);

    let mut sums = vec![0.0; function.rows * sets];
    for i in 0..n {
        for row in 0..function.rows {
            let set = i / inner % sets;
            sums[row * sets + set] += (function.of_parameter)(x[i], &own(i), row) * grad[i];
        }
    }
    for parts in [1, 3] {
        let mut partial = request("partial");
        partial.parts = parts;
        partial.blocks = sets as u64 * parts;
        let places = sums.len() * parts as usize;
        partial.y = places * ty.compute().size();
        let written = program.run(&partial);
        // Reproducible bit by bit.
        assert_eq!(written, program.run(&partial), "{name}");
        let mut total = request("total");
        total.parts = parts;
        total.blocks = sums.len() as u64;
        total.x = written;
        total.y = sums.len() * ty.size();
        let total = ty.values(&program.run(&total));
        let size = (n / sets) as f64;
        assert_close(&name, ty, &total, &sums, size.sqrt());
    }
}

pub fn slopes_of_their_own(program: &mut Program) {
    for ty in program.backend.types().iter().copied() {
        let n = 77;
        let (x, p) = (waves(n, 0.83, 2.0), waves(n, 0.11, 0.3));
        let (x, p) = (ty.rounded(&x), ty.rounded(&p));
        let grad = ty.rounded(&waves(n, 0.37, 1.0));
        let request = Request {
            name: format!("prelu_each_{}", ty.name()),
            n: n as u64,
            blocks: 2,
            threads: 8,
            x: ty.bytes(&x),
            p: ty.bytes(&p),
            grad: ty.bytes(&grad),
            y: n * ty.size(),
            ..Request::default()
        };
        let expected = (0..n).map(|i| if x[i] > 0.0 { 0.0 } else { x[i] * grad[i] });
        let expected: Vec<f64> = expected.collect();
        let y = ty.values(&program.run(&request));
        assert_close("slopes", ty, &y, &expected, 1.0);
    }
}
