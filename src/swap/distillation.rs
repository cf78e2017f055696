//! Training on the outputs of the original network, without labels.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use candle_nn::ModuleT;

use super::fine_tune::{FineTune, Objective};
use super::variant::Variant;
use crate::data::Batch;
use crate::nn::{ObservedLayer, visit_inputs};
use crate::ops::{add, distillation_loss, squared_error};

/// Distillation: the original network teaches the swapped one.
#[derive(Debug, Clone)]
pub struct Distillation {
    /// The training. Of its recipe, label smoothing and mixed labels have no effect.
    pub training: FineTune,
    /// The temperature of the probabilities.
    pub temperature: f64,
    /// The weight of the features: the squared distance of the inputs of the last activation of each
    /// stage, relative to their square, averaged over the stages. 0 uses the logits only.
    pub feature_weight: f64,
}

impl Distillation {
    pub(super) fn check(&self) -> Result<()> {
        let Self {
            temperature,
            feature_weight,
            ..
        } = *self;
        if !(temperature.is_finite() && temperature > 0.0) {
            bail!("temperature is {temperature:?}, must be positive");
        }
        if !(feature_weight.is_finite() && feature_weight >= 0.0) {
            bail!("feature_weight is {feature_weight:?}, must not be negative");
        }
        self.training.recipe.validate().map_err(Error::wrap)
    }
}

/// The original network. All variants are trained on the same batches, so the logits of each batch are
/// computed once.
pub(super) struct Teacher<'a> {
    options: &'a Distillation,
    network: &'a dyn ModuleT,
    /// The paths of the activations whose inputs are compared.
    features: Vec<String>,
    /// By the number of the batch.
    logits: RefCell<Vec<Tensor>>,
}

impl<'a> Teacher<'a> {
    /// The network for evaluation; `features` are the paths of the last activation of each stage.
    pub fn new(options: &'a Distillation, network: &'a dyn ModuleT, features: &[String]) -> Self {
        let uses = options.feature_weight > 0.0;
        Self {
            options,
            network,
            features: if uses { features.to_vec() } else { Vec::new() },
            logits: RefCell::default(),
        }
    }

    /// The loss of `student` compared with the teacher.
    pub fn objective<'b>(&'b self, student: &'b Variant) -> Box<Objective<'b>> {
        Box::new(|update, number, batch| {
            let (logits, features) = self.outputs(number, batch)?;
            update.add_loss(|| {
                let forward = || Ok((student.forward)(&batch.images, &batch.labels)?.0);
                let (own, own_features) = with_features(&self.features, forward)?;
                let mut loss = distillation_loss(&own, &logits, self.options.temperature)?;
                for (own, wanted) in own_features.iter().zip(&features) {
                    loss = add(&loss, &self.feature_loss(own, wanted)?)?;
                }
                Ok((loss, own))
            })
        })
    }

    fn feature_loss(&self, own: &Tensor, wanted: &Tensor) -> Result<Tensor> {
        let square = wanted.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let square = square.sqr()?.sum_all()?.to_scalar::<f64>()?;
        let share = self.options.feature_weight / self.features.len() as f64;
        // `squared_error` divides by the number of rows.
        let rows = own.dim(0)? as f64;
        squared_error(own, wanted, rows * share / square.max(f64::MIN_POSITIVE))
    }

    /// The teacher's logits and features of a batch.
    fn outputs(&self, number: usize, batch: &Batch) -> Result<(Tensor, Vec<Tensor>)> {
        if self.features.is_empty()
            && let Some(logits) = self.logits.borrow().get(number)
        {
            return Ok((logits.clone(), Vec::new()));
        }
        let forward = || self.network.forward_t(&batch.images, false);
        let (logits, features) = with_features(&self.features, forward)?;
        let logits = logits.detach();
        if self.features.is_empty() {
            self.logits.borrow_mut().push(logits.clone());
        }
        Ok((logits, features.iter().map(Tensor::detach).collect()))
    }
}

/// Runs `forward` and returns its result with the inputs of the activations at `paths`, in order.
fn with_features(
    paths: &[String],
    forward: impl FnOnce() -> Result<Tensor>,
) -> Result<(Tensor, Vec<Tensor>)> {
    if paths.is_empty() {
        return Ok((forward()?, Vec::new()));
    }
    let found: Rc<RefCell<Vec<Option<Tensor>>>> = Rc::new(RefCell::new(vec![None; paths.len()]));
    let visit = {
        let (found, paths) = (Rc::clone(&found), paths.to_vec());
        move |path: &str, input: &Tensor| {
            if let Some(index) = paths.iter().position(|own| own == path) {
                found.borrow_mut()[index] = Some(input.clone());
            }
            Ok(())
        }
    };
    let output = visit_inputs(ObservedLayer::Activation, visit, forward)?;
    let features: Option<Vec<Tensor>> = found.take().into_iter().collect();
    let Some(features) = features else {
        bail!("distillation: an activation was not applied");
    };
    Ok((output, features))
}
