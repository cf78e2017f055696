//! The tensors of a network that is built without values.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::error::ModelError;
use crate::registry::create;
use crate::spec::ModelSpec;
use crate::tensors::Tensors;

impl Tensors {
    /// Of the network of `spec`. Allocates no values.
    ///
    /// # Errors
    /// As [`create`].
    pub fn of(spec: &ModelSpec) -> std::result::Result<Self, ModelError> {
        let recorder = Recorder::default();
        let backend = Box::new(recorder.clone());
        let vb = VarBuilder::from_backend(backend, DType::F32, Device::Cpu);
        let model = create(spec, vb)?;
        let recorded = std::mem::take(&mut *recorder.lock());
        Ok(Self::new(recorded, model.classifier()))
    }
}

/// Records every tensor that is created, and provides zeros that share one value.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, Shape)>>>);

impl Recorder {
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

#[cfg(test)]
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
