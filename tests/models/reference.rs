//! Every network against an independent implementation: tests/reference/`<name>.py` and its results
//! `<name>.json`.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{LayerRecord, ParamStore, summarize};
use candle_mish::ops::{CrossEntropy, Margin, Target, cross_entropy, margin_loss};
use candle_mish_models::{Model, ModelSpec, Shortcut, Stem, create, entries, find};
use candle_nn::VarBuilder;
use serde::Deserialize;

use crate::rule;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// The reference of a network in one form with one activation.
#[derive(Deserialize)]
struct Case {
    model: String,
    stem: String,
    activation: String,
    /// Layers with another activation.
    #[serde(default)]
    layer_activations: String,
    #[serde(default)]
    shortcut: Shortcut,
    /// The gain of the rule that makes the weights.
    gain: f64,
    /// The shape of the images.
    input: [usize; 4],
    params: usize,
    /// For one image.
    multiply_adds: u64,
    /// At the network's own image size.
    full: Option<Full>,
    /// The image size of a network that takes one size only, if it is not the default.
    img_size: Option<usize>,
    /// The digest of all names and shapes.
    tensors: String,
    classes: usize,
    /// The first logits of each image.
    logits: Vec<Vec<f64>>,
    /// The Euclidean norm of all logits.
    norm: f64,
    /// The loss of a training step.
    loss: Option<f64>,
    gradient_norms: Option<BTreeMap<String, f64>>,
}

/// The cost of one image of the network's own size.
#[derive(Deserialize)]
struct Full {
    size: usize,
    multiply_adds: u64,
}

/// The least difference between the logits of two images, relative to the root mean square of all.
/// Logits that hardly depend on the image do not test the first layers.
const IMAGES_DIFFER: f64 = 0.05;
/// The least difference between the logits with ReLU and with an activation other than Mish.
const ACTIVATIONS_DIFFER: f64 = 0.01;
/// The number of stored logits per image.
const STORED: usize = 5;

fn multiply_adds(layers: &[LayerRecord]) -> u64 {
    layers.iter().map(|layer| layer.multiply_adds).sum()
}

/// The largest value of a difference, relative to the root mean square of `logits`.
fn largest(difference: &Tensor, logits: &Tensor) -> Result<f64> {
    let largest = difference.abs()?.max_all()?.to_scalar::<f64>()?;
    let typical = logits.sqr()?.mean_all()?.sqrt()?.to_scalar::<f64>()?;
    Ok(largest / typical)
}

impl Case {
    fn read(json: &str) -> Vec<Self> {
        let reference: Reference = serde_json::from_str(json).expect("a stored reference");
        assert!(!reference.cases.is_empty());
        for case in &reference.cases {
            case.check_stored();
        }
        reference.cases
    }

    /// Refuses a truncated row, because the rest would not be compared.
    fn check_stored(&self) {
        let context = self.context();
        assert!(self.input[0] >= 2, "{context}: fewer than two images");
        assert_eq!(self.logits.len(), self.input[0], "{context}: logits");
        for row in &self.logits {
            assert_eq!(row.len(), STORED.min(self.classes), "{context}: logits");
        }
        let gradients = self.gradient_norms.as_ref();
        assert_eq!(self.loss.is_some(), gradients.is_some(), "{context}");
        assert!(gradients.is_none_or(|norms| !norms.is_empty()), "{context}");
    }

    fn stem(&self) -> Stem {
        self.stem.parse().expect("a known stem")
    }

    fn context(&self) -> String {
        let Self {
            model,
            stem,
            activation,
            layer_activations,
            ..
        } = self;
        format!("{model} {stem} {activation} {layer_activations}")
    }

    fn network(&self, activation: &str, vb: VarBuilder) -> Result<Box<dyn Model>> {
        let spec = ModelSpec {
            activation: activation.parse().expect("a known activation"),
            layer_activations: self.layer_activations.parse().expect("a list of layers"),
            num_classes: self.classes,
            stem: self.stem(),
            in_chans: self.input[1],
            img_size: self.img_size,
            shortcut: self.shortcut,
            ..ModelSpec::new(&self.model)
        };
        create(&spec, vb).map_err(candle_core::Error::wrap)
    }

    fn build(&self, dtype: DType) -> Result<(ParamStore, Box<dyn Model>, Tensor)> {
        let store = ParamStore::new(dtype, &Device::Cpu, 0);
        let model = self.network(&self.activation, store.var_builder())?;
        rule::fill(&store, self.gain)?;
        let images = rule::images(&self.input)?.to_dtype(dtype)?;
        Ok((store, model, images))
    }

    /// The logits in f32 are within 1e-4 of the double-precision reference, and the
    /// network has its parameters and multiply-adds. They depend on the image and the activation.
    fn check_logits(&self) -> Result<()> {
        let context = self.context();
        let (store, _, images) = self.build(DType::F32)?;
        let vb = store.frozen().var_builder();
        let frozen = self.network(&self.activation, vb.clone())?;
        let (logits, layers) = summarize(|| frozen.forward_t(&images, false))?;
        assert_eq!(logits.dims(), [self.input[0], self.classes], "{context}");
        assert_eq!(store.num_params(), self.params, "{context}: parameters");
        let digest = rule::digest(&store);
        assert_eq!(digest, self.tensors, "{context}: names or shapes");
        let per_image = multiply_adds(&layers) / self.input[0] as u64;
        assert_eq!(per_image, self.multiply_adds, "{context}: multiply-adds");
        let entry = find(&self.model).map_err(candle_core::Error::wrap)?;
        let form = entry.form(self.stem()).map_err(candle_core::Error::wrap)?;
        let size = (self.params, self.multiply_adds);
        if self.shortcut != Shortcut::default() {
            assert!(self.params < form.params, "{context}");
        } else if self.img_size.is_some() {
            // The form has 32x32 images.
            assert_ne!(self.multiply_adds, form.multiply_adds, "{context}");
        } else if self.stem() == Stem::Cifar {
            assert_eq!((form.params, form.multiply_adds), size, "{context}");
        } else if let Some(full) = &self.full {
            let size = (self.params, full.multiply_adds);
            assert_eq!((form.params, form.multiply_adds), size, "{context}");
            assert_eq!(form.input, (3, full.size, full.size), "{context}");
        }
        let logits = logits.to_dtype(DType::F64)?;
        let sensitivity = largest(&(logits.get(0)? - logits.get(1)?)?, &logits)?;
        assert!(
            sensitivity > IMAGES_DIFFER,
            "{context}: the images differ by {sensitivity} only"
        );
        if !["relu", "mish"].contains(&&*self.activation) {
            let rectified = self.network("relu", vb)?.forward_t(&images, false)?;
            let difference = largest(&(rectified.to_dtype(DType::F64)? - &logits)?, &logits)?;
            assert!(
                difference > ACTIVATIONS_DIFFER,
                "{context}: ReLU differs by {difference} only"
            );
        }
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

    /// In double precision only the order of sums differs, so that a wrong gradient of a single
    /// parameter shows.
    fn check_training(&self, loss: f64, norms: &BTreeMap<String, f64>) -> Result<()> {
        let context = self.context();
        let (store, model, images) = self.build(DType::F64)?;
        let labels: Vec<u32> = [3, 71].into_iter().cycle().take(self.input[0]).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let entry = find(&self.model).map_err(candle_core::Error::wrap)?;
        let margin = entry.recipe.contains("loss = 'margin'");
        let (got, (), gradients) = value_and_grad(|| {
            let (logits, own) = match model.auxiliary() {
                None => (model.forward_t(&images, true)?, None),
                Some(network) => {
                    let (logits, own) = network.forward_with_loss(&images, &labels)?;
                    (logits, Some(own))
                }
            };
            let loss = if margin {
                margin_loss(&logits, &labels, &Margin::default())?
            } else {
                let target = Target::Classes(&labels);
                cross_entropy(&logits, &target, &CrossEntropy::default())?
            };
            Ok((own.map_or(Ok(loss.clone()), |own| loss + own)?, ()))
        })?;
        let got = got.to_scalar::<f64>()?;
        assert!(
            (got / loss - 1.0).abs() < 1e-9,
            "{context}: the loss is {got}, not {loss}"
        );
        let params: BTreeMap<String, Var> = store.params().into_iter().collect();
        assert!(
            norms.keys().all(|name| params.contains_key(name)),
            "{context}"
        );
        for (name, var) in params {
            let (gradient, want) = match (gradients.get(&var), norms.get(&name)) {
                (Some(gradient), Some(want)) => (gradient, want),
                (None, None) => continue,
                _ => panic!("{context}: {name} has a gradient on one side only"),
            };
            let norm = gradient.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
            // The gradient of a bias before a norm is rounding on both sides.
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
    resnet_cifar_a,
    wide_resnet,
    densenet,
    vgg,
    mobilenet,
    shufflenet,
    peleenet,
    squeezenet,
    xception,
    efficientnet,
    tf_efficientnet,
    simplenet,
    resnet9,
    airbench,
    speedrun,
    plain,
    darknet,
    inception,
    capsnet,
    conv_dense
);

/// Every network has a reference in each form, with ReLU and with Mish.
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

/// Every family has reference gradients with both activations.
#[test]
fn every_family_has_reference_gradients() {
    let cases = all_cases();
    let trained = cases.iter().filter(|case| case.gradient_norms.is_some());
    let found: BTreeSet<(&str, &str)> = trained
        .map(|case| (find(&case.model).expect("listed").family, &*case.activation))
        .collect();
    for entry in entries() {
        for activation in ["relu", "mish"] {
            let case = (entry.family, activation);
            assert!(found.contains(&case), "no gradients for {case:?}");
        }
    }
}

/// The logits are compared for smaller images. Each network runs once at its own size.
#[test]
fn multiply_adds_at_the_own_size_equal_the_reference() -> Result<()> {
    let mut seen = BTreeSet::new();
    for case in all_cases() {
        let Some(full) = &case.full else { continue };
        if case.activation != "relu" || full.size == case.input[2] {
            continue;
        }
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        // A frozen store needs parameters that exist.
        case.network("relu", store.var_builder())?;
        let model = case.network("relu", store.frozen().var_builder())?;
        let image = rule::images((1, 3, full.size, full.size))?;
        let (logits, layers) = summarize(|| model.forward_t(&image, false))?;
        assert_eq!(logits.dims(), [1, case.classes], "{}", case.model);
        assert_eq!(multiply_adds(&layers), full.multiply_adds, "{}", case.model);
        seen.insert(case.model.clone());
    }
    assert!(seen.len() > 20, "only {seen:?}");
    Ok(())
}
