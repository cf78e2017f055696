//! Directions equal the formulas of tomgoldstein/loss-landscape (tests/reference/landscape.py), and a
//! scan moves the weights along them.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_mish::landscape::{Direction, Ignored, Normalisation, grid, normalise, scan};
use candle_mish::nn::{ParamStore, linear};
use serde_json::Value;

fn values(x: &Tensor) -> Vec<f64> {
    let x = x.to_dtype(DType::F64).expect("numbers").flatten_all();
    x.expect("a vector").to_vec1().expect("numbers")
}

#[test]
fn directions_equal_those_of_the_papers_program() {
    let text = include_str!("../reference/landscape.json");
    let cases: Vec<Value> = serde_json::from_str(text).expect("JSON");
    assert_eq!(cases.len(), 18);
    for case in cases {
        let numbers = |key: &str| -> Vec<f64> {
            let values = case[key].as_array().expect("numbers");
            values
                .iter()
                .map(|value| value.as_f64().expect("a number"))
                .collect()
        };
        let shape: Vec<usize> = numbers("shape").into_iter().map(|n| n as usize).collect();
        let tensor = |key: &str| Tensor::from_vec(numbers(key), shape.as_slice(), &Device::Cpu);
        let name = |key: &str| case[key].as_str().expect("a name").to_string();
        let normalisation: Normalisation = name("xnorm").parse().expect("a name");
        let ignored: Ignored = name("xignore").parse().expect("a name");
        let (direction, weight) = (tensor("direction").unwrap(), tensor("weight").unwrap());
        let ours = normalise(&direction, &weight, normalisation, ignored).expect("a direction");
        assert_eq!(ours.dims(), shape);
        for (ours, theirs) in values(&ours).into_iter().zip(numbers("result")) {
            assert!(
                (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
                "{ours} {theirs}"
            );
        }
    }
}

#[test]
fn names_are_those_of_the_papers_program() {
    assert_eq!("filter".parse(), Ok(Normalisation::Filter));
    assert_eq!(Ignored::BiasBn.to_string(), "biasbn");
    let error = "filters"
        .parse::<Normalisation>()
        .expect_err("an unknown name");
    assert_eq!(error, "expected filter or layer or weight");
}

#[test]
fn random_directions_have_the_norms_of_the_filters() -> Result<()> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    linear(6, 4, store.var_builder())?;
    let params = store.params();
    let random = |seed| {
        Direction::random(
            &params,
            (seed, "first"),
            Normalisation::Filter,
            Ignored::BiasBn,
        )
    };
    let direction = random(0)?;
    for ((name, param), direction) in params.iter().zip(direction.tensors()) {
        if name == "bias" {
            assert_eq!(values(direction), [0.0; 4]);
            continue;
        }
        for (ours, weights) in values(direction).chunks(6).zip(values(param).chunks(6)) {
            let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!((norm(ours) - norm(weights)).abs() < 1e-6);
        }
    }
    assert_eq!(
        values(&direction.tensors()[0]),
        values(&random(0)?.tensors()[0])
    );
    assert_ne!(
        values(&direction.tensors()[0]),
        values(&random(1)?.tensors()[0])
    );
    Ok(())
}

#[test]
fn a_scan_moves_the_weights_and_restores_them() -> Result<()> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let layer = linear(3, 2, store.frozen_except("").var_builder());
    assert!(layer.is_err(), "a frozen store creates nothing");
    linear(3, 2, store.var_builder())?;
    let layer = linear(3, 2, store.frozen().var_builder())?;
    let params = store.params();
    let before: Vec<Vec<f64>> = params.iter().map(|(_, param)| values(param)).collect();
    let direction =
        |name| Direction::random(&params, (0, name), Normalisation::Layer, Ignored::Nothing);
    let directions = [direction("first")?, direction("second")?];
    let x = Tensor::ones((1, 3), DType::F32, &Device::Cpu)?;
    let evaluate = || Ok(values(&layer.forward(&x)?));
    let steps = grid((-1.0, 1.0), 3);
    assert_eq!(steps, [-1.0, 0.0, 1.0]);
    let points = scan(&params, &directions, &steps, evaluate)?;
    assert_eq!(points.len(), 9);
    assert_eq!((points[1].x, points[1].y), (0.0, -1.0));
    // The layer is linear in its weights: so is the output along the directions.
    let at = |i: usize| &points[i].value;
    for unit in 0..2 {
        let (centre, right, up) = (at(4)[unit], at(5)[unit], at(7)[unit]);
        assert!((at(8)[unit] - (right + up - centre)).abs() < 1e-5);
        assert!((right - centre).abs() > 1e-4 && (up - centre).abs() > 1e-4);
    }
    let failed = scan(&params, &directions, &steps, || -> Result<()> {
        candle_core::bail!("no evaluation")
    });
    assert!(failed.is_err());
    let after: Vec<Vec<f64>> = params.iter().map(|(_, param)| values(param)).collect();
    assert_eq!(before, after);
    let line = scan(&params, &directions[..1], &steps, evaluate)?;
    assert_eq!(line.len(), 3);
    assert_eq!(&line[1].value, at(4));
    Ok(())
}
