//! Every network against an independent implementation: the scripts and their results are in
//! tests/reference, `<name>.py` and `<name>.json`.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{ParamStore, summarize};
use candle_mish::ops::{CrossEntropy, Target, cross_entropy};
use candle_mish_models::{Model, Options, Stem, create, entries, find};
use candle_nn::VarBuilder;
use serde::Deserialize;

use crate::rule;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// What a reference says of a network in one form with one activation.
#[derive(Deserialize)]
struct Case {
    model: String,
    stem: String,
    activation: String,
    /// The shape of the images.
    input: [usize; 4],
    params: usize,
    /// For one image.
    multiply_adds: u64,
    classes: usize,
    /// The first logits of each image.
    logits: Vec<Vec<f64>>,
    /// The Euclidean norm of all logits.
    norm: f64,
    /// Of a training step.
    loss: Option<f64>,
    gradient_norms: Option<BTreeMap<String, f64>>,
}

impl Case {
    fn read(json: &str) -> Vec<Self> {
        let reference: Reference = serde_json::from_str(json).expect("a stored reference");
        assert!(!reference.cases.is_empty());
        reference.cases
    }

    fn stem(&self) -> Stem {
        self.stem.parse().expect("a known stem")
    }

    fn context(&self) -> String {
        format!("{} {} {}", self.model, self.stem, self.activation)
    }

    fn network(&self, vb: VarBuilder) -> Result<Box<dyn Model>> {
        let options = Options {
            activation: self.activation.parse().expect("a known activation"),
            num_classes: self.classes,
            stem: self.stem(),
            ..Options::default()
        };
        create(&self.model, &options, vb).map_err(candle_core::Error::wrap)
    }

    fn build(&self, dtype: DType) -> Result<(ParamStore, Box<dyn Model>, Tensor)> {
        let store = ParamStore::new(dtype, &Device::Cpu, 0);
        let model = self.network(store.var_builder())?;
        rule::fill(&store)?;
        let images = rule::tensor("input", &Shape::from(&self.input))?.to_dtype(dtype)?;
        Ok((store, model, images))
    }

    /// The logits of f32 arithmetic lie within 1e-4 of the double-precision reference, and the
    /// network has its parameters and multiply-adds.
    fn check_logits(&self) -> Result<()> {
        let context = self.context();
        let (store, _, images) = self.build(DType::F32)?;
        let frozen = self.network(store.frozen().var_builder())?;
        let (logits, layers) = summarize(|| frozen.forward_t(&images, false))?;
        assert_eq!(store.num_params(), self.params, "{context}: parameters");
        let multiply_adds: u64 = layers.iter().map(|layer| layer.multiply_adds).sum();
        let per_image = multiply_adds / self.input[0] as u64;
        assert_eq!(per_image, self.multiply_adds, "{context}: multiply-adds");
        let entry = find(&self.model).map_err(candle_core::Error::wrap)?;
        let form = entry.form(self.stem()).map_err(candle_core::Error::wrap)?;
        let [_, c, h, w] = self.input;
        if form.input == (c, h, w) {
            let size = (self.params, self.multiply_adds);
            assert_eq!((form.params, form.multiply_adds), size, "{context}");
        }
        let logits = logits.to_dtype(DType::F64)?;
        let norm = logits.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
        assert!(
            (norm / self.norm - 1.0).abs() < 1e-4,
            "{context}: the norm is {norm}, not {}",
            self.norm
        );
        let typical = self.norm / ((self.input[0] * self.classes) as f64).sqrt();
        for (got, want) in logits.to_vec2::<f64>()?.iter().zip(&self.logits) {
            for (got, want) in got.iter().zip(want) {
                let error = (got - want).abs() / typical.max(want.abs());
                assert!(error < 1e-4, "{context}: {got} is not {want}");
            }
        }
        Ok(())
    }

    /// In double precision nothing but the order of sums differs, so that a wrong gradient of
    /// any single parameter shows.
    fn check_training(&self, loss: f64, norms: &BTreeMap<String, f64>) -> Result<()> {
        let context = self.context();
        let (store, model, images) = self.build(DType::F64)?;
        let labels: Vec<u32> = [3, 71].into_iter().cycle().take(self.input[0]).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let (got, (), gradients) = value_and_grad(|| {
            let (logits, own) = match model.auxiliary() {
                None => (model.forward_t(&images, true)?, None),
                Some(network) => {
                    let (logits, own) = network.forward_with_loss(&images, &labels)?;
                    (logits, Some(own))
                }
            };
            let loss = cross_entropy(&logits, &Target::Classes(&labels), &CrossEntropy::default())?;
            Ok((own.map_or(Ok(loss.clone()), |own| loss + own)?, ()))
        })?;
        let got = got.to_scalar::<f64>()?;
        assert!(
            (got / loss - 1.0).abs() < 1e-9,
            "{context}: the loss is {got}, not {loss}"
        );
        assert_eq!(store.params().len(), norms.len(), "{context}");
        for (name, var) in store.params() {
            let (Some(gradient), Some(want)) = (gradients.get(&var), norms.get(&name)) else {
                panic!("{context}: {name} is not on both sides")
            };
            let norm = gradient.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
            // Biases in front of a norm have no gradient but rounding on either side.
            let close = (norm - want).abs() < 1e-8 * want.max(1e-3);
            assert!(close, "{context}: gradient of {name} is {norm}, not {want}");
        }
        Ok(())
    }
}

/// Two tests for each script of tests/reference, and the list of all cases.
macro_rules! references {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            use super::*;

            pub fn cases() -> Vec<Case> {
                Case::read(include_str!(concat!("../reference/", stringify!($name), ".json")))
            }

            #[test]
            fn logits_equal_the_reference() -> Result<()> {
                cases().iter().try_for_each(Case::check_logits)
            }

            #[test]
            fn training_losses_and_gradients_equal_the_reference() -> Result<()> {
                let mut compared = 0;
                for case in cases() {
                    if let (Some(loss), Some(norms)) = (case.loss, &case.gradient_norms) {
                        case.check_training(loss, norms)?;
                        compared += 1;
                    }
                }
                assert!(compared >= 2, "ReLU and Mish, but there are {compared}");
                Ok(())
            }
        })*

        fn all_cases() -> Vec<Case> {
            [$($name::cases()),*].into_iter().flatten().collect()
        }
    };
}

references!(
    resnet,
    resnet_cifar,
    wide_resnet,
    densenet,
    vgg,
    mobilenet,
    shufflenet,
    peleenet,
    squeezenet,
    xception,
    efficientnet,
    simplenet,
    resnet9,
    plain,
    darknet,
    inception,
    capsnet
);

/// No network may come in without its reference, in each form, with ReLU and with Mish.
#[test]
fn every_network_has_a_reference() {
    let found = all_cases();
    let found: BTreeSet<(&str, &str, &str)> = found
        .iter()
        .map(|case| (&*case.model, &*case.stem, &*case.activation))
        .collect();
    for entry in entries() {
        for (name, stem) in Stem::ALL {
            if entry.form(stem).is_ok() {
                for activation in ["relu", "mish"] {
                    let case = (entry.name, name, activation);
                    assert!(found.contains(&case), "no reference for {case:?}");
                }
            }
        }
    }
}
