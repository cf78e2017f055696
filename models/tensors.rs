//! The tensors of a network by name, without their values.

use std::collections::HashMap;

use candle_core::Shape;

/// The names and shapes of a network's tensors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tensors {
    /// The shape of each tensor.
    pub shapes: HashMap<String, Shape>,
    /// The name of the first convolution's weights.
    pub first_conv: Option<String>,
    /// The path of the classifier.
    pub classifier: String,
}

impl Tensors {
    /// From names in the order of creation.
    pub fn new(tensors: impl IntoIterator<Item = (String, Shape)>, classifier: &str) -> Self {
        let mut first_conv = None;
        let note = |(name, shape): (String, Shape)| {
            if first_conv.is_none() && shape.rank() == 4 {
                first_conv = Some(name.clone());
            }
            (name, shape)
        };
        let shapes = tensors.into_iter().map(note).collect();
        Self {
            shapes,
            first_conv,
            classifier: classifier.to_string(),
        }
    }
}
