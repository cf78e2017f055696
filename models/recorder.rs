//! Networks that are built without values: for their tensors, and for the options that they use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::context::BuildContext;
use crate::error::ModelError;
use crate::registry::build;
use crate::spec::ModelSpec;
#[cfg(feature = "checkpoint")]
use crate::tensors::Tensors;

#[cfg(feature = "checkpoint")]
impl Tensors {
    /// Of the network of `spec`. Allocates no values.
    ///
    /// # Errors
    /// As [`create`].
    pub fn of(spec: &ModelSpec) -> std::result::Result<Self, ModelError> {
        let recorder = Recorder::default();
        let (model, _) = build(spec, &BuildContext::default(), recorder.var_builder())?;
        let recorded = std::mem::take(&mut *recorder.lock());
        Ok(Self::new(recorded, model.classifier()))
    }
}

/// Refuses an option of `spec` or `context` that has no effect on the network, such as a
/// `drop_path_rate` without residual blocks: timm's factory refuses options that a network does not
/// know. Allocates no values.
///
/// # Errors
/// [`ModelError::NoEffect`], or as [`create_with`](crate::create_with).
pub fn check_options(
    spec: &ModelSpec,
    context: &BuildContext,
) -> std::result::Result<(), ModelError> {
    let (_, used) = build(spec, context, Recorder::default().var_builder())?;
    match used.first_without_effect(spec, context) {
        Some(unused) => Err(ModelError::NoEffect(unused)),
        None => Ok(()),
    }
}

/// Records every tensor that is created, and provides zeros that share one value.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, Shape)>>>);

impl Recorder {
    fn var_builder(&self) -> VarBuilder<'static> {
        let backend = Box::new(self.clone());
        VarBuilder::from_backend(backend, DType::F32, Device::Cpu)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Shape)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for Recorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        self.lock().push((name.to_string(), shape.clone()));
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        bail!("the shape of {name} is not known")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().iter().any(|(known, _)| known == name)
    }
}

#[cfg(all(test, feature = "checkpoint"))]
mod tests {
    use candle_core::{DType, Device};
    use candle_mish::nn::ParamStore;

    use crate::registry::{create, entries};
    use crate::spec::{ModelSpec, Stem};
    use crate::tensors::Tensors;

    #[test]
    fn names_and_shapes_are_those_of_the_network() {
        for entry in entries().filter(|entry| entry.cifar.params < 10_000_000) {
            for (_, stem) in Stem::ALL {
                let spec = ModelSpec {
                    stem,
                    num_classes: 3,
                    ..ModelSpec::new(entry.name)
                };
                if entry.form(stem).is_err() {
                    continue;
                }
                let found = Tensors::of(&spec).expect("a network");
                let store = ParamStore::zeros(DType::F32, &Device::Cpu);
                let model = create(&spec, store.var_builder()).expect("a network");
                assert_eq!(found.classifier, model.classifier(), "{spec}");
                let wanted = store.tensors();
                assert_eq!(found.shapes.len(), wanted.len(), "{spec}");
                for (name, tensor) in wanted {
                    assert_eq!(
                        found.shapes.get(&name),
                        Some(tensor.shape()),
                        "{spec}: {name}"
                    );
                }
            }
        }
    }
}
