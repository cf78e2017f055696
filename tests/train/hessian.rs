//! Eigenvalues of the Hessian equal PyTorch's (tests/reference/hessian.py).

use std::collections::HashMap;

use candle_core::{DType, Device, ModuleT, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::landscape::{LanczosOptions, hessian_eigenvalues};
use candle_mish::nn::{Act, Linear, ParamStore, linear};
use candle_mish::plot::loss_gradient;
use serde_json::Value;

/// Linear 4 -> 6, an activation, linear 6 -> 3.
struct Network {
    a: Linear,
    act: Act,
    b: Linear,
}

impl ModuleT for Network {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let hidden = self.act.forward_t(&self.a.forward_t(x, train)?, train)?;
        self.b.forward_t(&hidden, train)
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().expect("numbers").iter();
    numbers.map(|x| x.as_f64().expect("a number")).collect()
}

fn tensor(value: &Value, shape: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(value), shape, &Device::Cpu).expect("a tensor")
}

#[test]
fn eigenvalues_equal_pytorchs() -> Result<()> {
    let text = include_str!("../reference/hessian.json");
    let reference: Value = serde_json::from_str(text).expect("JSON");
    let images = tensor(&reference["inputs"], &[10, 4]);
    let labels: Vec<u32> = numbers(&reference["labels"])
        .into_iter()
        .map(|label| label as u32)
        .collect();
    let labels = Tensor::new(labels, &Device::Cpu)?;
    // Two batches of different sizes.
    let batches = [(0, 3), (3, 7)].map(|(from, count)| {
        let part = |x: &Tensor| x.narrow(0, from, count).expect("a part");
        (part(&images), part(&labels))
    });
    for case in reference["cases"].as_array().expect("cases") {
        let activation: Activation = case["activation"]
            .as_str()
            .expect("a name")
            .parse()
            .unwrap();
        let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
        let network = Network {
            a: linear(4, 6, store.var_builder().pp("a"))?,
            act: Act::new(&activation)?,
            b: linear(6, 3, store.var_builder().pp("b"))?,
        };
        let params = store.params();
        let values: HashMap<&str, Tensor> = params
            .iter()
            .map(|(name, param)| {
                (
                    name.as_str(),
                    tensor(&reference["weights"][name], param.dims()),
                )
            })
            .collect();
        for (name, param) in &params {
            param.set(&values[name.as_str()])?;
        }
        let options = LanczosOptions {
            count: 6,
            products: 51,
            tolerance: 0.0,
            seed: 3,
        };
        let gradient = || loss_gradient(&network, &params, &batches);
        let found = hessian_eigenvalues(&params, 1e-5, &options, gradient)?;
        let expected = numbers(&case["eigenvalues"]);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let error = (found.value - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs(),
                "{activation}: {found:?} {expected}"
            );
        }
        for (name, param) in &params {
            let moved = (param.as_tensor() - &values[name.as_str()])?
                .abs()?
                .max_all()?;
            assert_eq!(moved.to_scalar::<f64>()?, 0.0, "{name} keeps its values");
        }
    }
    Ok(())
}
