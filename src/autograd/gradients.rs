//! Gradients of tensors.

use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId};

use super::sum::sum;
use super::tape::span;

/// Gradients by tensor.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// The gradient of `tensor`, in its shape, if it has received one.
    pub fn get(&self, tensor: &Tensor) -> Option<&Tensor> {
        self.0.get(&tensor.id())
    }

    /// All gradients, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.0.values()
    }

    /// Removes and returns the gradient of `tensor`.
    pub fn remove(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.0.remove(&tensor.id())
    }

    /// Sets the gradient of `tensor`.
    pub fn insert(&mut self, tensor: &Tensor, gradient: Tensor) {
        self.0.insert(tensor.id(), gradient);
    }

    /// Adds the gradients of `other`. A tensor without a gradient takes the one of `other`.
    ///
    /// # Errors
    /// Two gradients of one tensor differ in shape or dtype.
    pub fn add(&mut self, other: Self) -> Result<()> {
        let mut added = other.0.into_iter();
        added.try_for_each(|(id, gradient)| self.accumulate(id, gradient))
    }

    /// All gradients with the ids of their tensors.
    pub(super) fn into_pairs(self) -> impl Iterator<Item = (TensorId, Tensor)> {
        self.0.into_iter()
    }

    /// Multiplies all gradients by `factor`.
    ///
    /// # Errors
    /// If the multiplication fails.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in self.0.values_mut() {
            *gradient = (&*gradient * factor)?.detach();
        }
        Ok(())
    }

    /// Adds a gradient of the tensor with this id.
    pub(super) fn accumulate(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let total = match self.0.remove(&id) {
            None => gradient,
            Some(other) => {
                let _entered = span("gradient sum", "backward").entered();
                sum(&other, &gradient)?
            }
        };
        self.0.insert(id, total);
        Ok(())
    }
}
