//! A whole `.cfg` file.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use candle_mish::activation::{Activation, LayerActivations};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::DarknetCfgError;
use super::layer::Layer;
use super::section::{Section, sections};
use super::shape::Shape;

/// The limit of the image size.
const LARGEST_IMAGE: usize = 4096;

/// A classifier of darknet: the content of its `.cfg` file. Prints as the file without comments and
/// white space, and parses from a file.
///
/// ```
/// use candle_mish_models::DarknetCfg;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "
/// [net]
/// height=32
/// width=32
/// channels=3
///
/// [convolutional]
/// batch_normalize=1
/// filters=16
/// size=3
/// stride=2
/// pad=1
/// activation=mish
///
/// [avgpool]
///
/// [convolutional]
/// filters=10
/// activation=linear
/// ";
/// let cfg: DarknetCfg = text.parse()?;
/// assert_eq!((cfg.num_classes(), cfg.image_size()), (10, 32));
/// assert_eq!(cfg.activation().to_string(), "mish");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DarknetCfg(Arc<Content>);

struct Content {
    text: String,
    image_size: usize,
    channels: usize,
    layers: Vec<Layer>,
    /// The line of each layer's section.
    lines: Vec<usize>,
    /// The number of the layer that computes the logits.
    head: usize,
    num_classes: usize,
}

impl DarknetCfg {
    /// Height and width of the images.
    pub fn image_size(&self) -> usize {
        self.0.image_size
    }

    /// The channels of the images.
    pub fn channels(&self) -> usize {
        self.0.channels
    }

    /// The number of logits.
    pub fn num_classes(&self) -> usize {
        self.0.num_classes
    }

    /// The activation of most layers. Layers without one and gates do not count. The identity if no
    /// layer has one.
    pub fn activation(&self) -> Activation {
        let own = || {
            self.0
                .layers
                .iter()
                .filter_map(|layer| layer.function().activation())
        };
        let mut most = (0, Activation::Identity);
        for activation in own() {
            let count = own().filter(|other| *other == activation).count();
            if count > most.0 {
                most = (count, activation);
            }
        }
        most.1
    }

    /// The layers whose activation is not [`DarknetCfg::activation`].
    pub fn layer_activations(&self) -> LayerActivations {
        let most = self.activation();
        let layers = self.0.layers.iter().enumerate();
        let others = layers.filter_map(|(index, layer)| {
            let own = layer.function().activation().filter(|own| *own != most)?;
            Some((format!("{}.act", self.path(index)), own))
        });
        others.collect()
    }

    /// Whether a shortcut takes every second (or n-th) row and column of a larger map. Versions of
    /// darknet differ in what it then adds.
    pub fn has_strided_shortcuts(&self) -> bool {
        let shapes = self.shapes(self.0.channels, self.0.num_classes);
        let shapes = shapes.unwrap_or_default();
        let height = |layer: usize| shapes.get(layer).map_or(0, |shape| shape.height);
        let mut layers = self.0.layers.iter().enumerate();
        layers.any(|(index, layer)| {
            let is_shortcut = matches!(layer, Layer::Shortcut { .. });
            let mut from = layer.from().iter();
            is_shortcut && from.any(|from| height(*from) > height(index))
        })
    }

    /// The layers, from the images on.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.0.layers
    }

    /// The number of the layer that computes the logits. After it come pools and layers that change
    /// nothing.
    pub(crate) fn head(&self) -> usize {
        self.0.head
    }

    /// The path of a layer in a checkpoint.
    pub(crate) fn path(&self, layer: usize) -> String {
        if layer == self.0.head {
            HEAD.to_string()
        } else {
            format!("layers.{layer}")
        }
    }

    /// The shapes of all outputs, with other image channels and another number of classes.
    ///
    /// # Errors
    /// If layers do not fit each other.
    pub(crate) fn shapes(
        &self,
        channels: usize,
        num_classes: usize,
    ) -> Result<Vec<Shape>, DarknetCfgError> {
        let Content {
            image_size,
            layers,
            lines,
            head,
            ..
        } = &*self.0;
        let image = Shape::image(channels, *image_size);
        let mut shapes: Vec<Shape> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let line = lines.get(index).copied().unwrap_or_default();
            let error = |reason| DarknetCfgError::new(line, reason);
            let shape = if index == *head {
                layer.with_outputs(num_classes).shape(image, &shapes)
            } else {
                layer.shape(image, &shapes)
            };
            shapes.push(shape.map_err(error)?);
        }
        Ok(shapes)
    }

    /// The number of values of all tensors. Sums that are too large are the largest number.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn num_values(&self) -> usize {
        let tensors = self.tensors().into_iter();
        let values = tensors.map(|(_, shape)| {
            let sizes = shape.into_iter();
            sizes.fold(1, |product: usize, size| product.saturating_mul(size))
        });
        values.fold(0, |sum: usize, values| sum.saturating_add(values))
    }

    /// The names and shapes of the tensors in the order of the `.weights` file.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let shapes = self.shapes(self.0.channels, self.0.num_classes);
        // They were valid when the file was parsed.
        let shapes = shapes.unwrap_or_default();
        let mut tensors = Vec::new();
        for (index, layer) in self.0.layers.iter().enumerate() {
            let input = match index.checked_sub(1) {
                Some(before) => shapes[before],
                None => Shape::image(self.0.channels, self.0.image_size),
            };
            let path = self.path(index);
            let mut add = |name: &str, shape: Vec<usize>| {
                tensors.push((format!("{path}.{name}"), shape));
            };
            match layer {
                Layer::Convolution(convolution) => {
                    let filters = convolution.filters;
                    if convolution.batch_normalize {
                        for name in ["bias", "weight", "running_mean", "running_var"] {
                            add(&format!("bn.{name}"), vec![filters]);
                        }
                    } else {
                        add("conv.bias", vec![filters]);
                    }
                    let inputs = input.channels / convolution.groups;
                    let size = convolution.size;
                    add("conv.weight", vec![filters, inputs, size, size]);
                }
                Layer::Connected { outputs, .. } => {
                    add("fc.bias", vec![*outputs]);
                    add("fc.weight", vec![*outputs, input.values()]);
                }
                _ => {}
            }
        }
        tensors
    }
}

/// The path of the layer that computes the logits.
pub(crate) const HEAD: &str = "head";

impl FromStr for DarknetCfg {
    type Err = DarknetCfgError;

    fn from_str(text: &str) -> Result<Self, DarknetCfgError> {
        let sections = sections(text)?;
        let Some((net, rest)) = sections.split_first() else {
            return Err(DarknetCfgError::new(1, "it has no [SECTION]"));
        };
        let (image_size, channels) = images(net)?;
        let layers = rest.iter().enumerate();
        let layers: Result<Vec<Layer>, _> = layers
            .map(|(index, section)| Layer::of(section, index))
            .collect();
        let layers = layers?;
        let (head, num_classes) = head(net, rest, &layers)?;
        let mut text = String::new();
        sections
            .iter()
            .for_each(|section| section.write_to(&mut text));
        let cfg = Self(Arc::new(Content {
            text,
            image_size,
            channels,
            layers,
            lines: rest.iter().map(|section| section.line).collect(),
            head,
            num_classes,
        }));
        let shapes = cfg.shapes(channels, num_classes)?;
        if let (Some(last), Some(section)) = (shapes.last(), rest.last())
            && !last.is_vector()
        {
            let reason = format!("its output {last} is a map: a classifier ends with [avgpool]");
            return Err(section.error(reason));
        }
        Ok(cfg)
    }
}

/// The size and the channels of the images.
fn images(net: &Section) -> Result<(usize, usize), DarknetCfgError> {
    if !["net", "network"].contains(&net.kind.as_str()) {
        return Err(net.error("the first section must be [net]"));
    }
    let [height, width] = [net.positive("height", 0)?, net.positive("width", 0)?];
    if height != width {
        let reason = format!("images of {height}x{width} are not supported, only square ones");
        return Err(net.error(reason));
    }
    if height > LARGEST_IMAGE {
        let reason = format!("height is {height}, must be at most {LARGEST_IMAGE}");
        return Err(net.error(reason));
    }
    Ok((height, net.positive("channels", 0)?))
}

/// The number of the layer that computes the logits, and their number.
fn head(
    net: &Section,
    sections: &[Section],
    layers: &[Layer],
) -> Result<(usize, usize), DarknetCfgError> {
    let weighted = |layer: &Layer| matches!(layer, Layer::Convolution(_) | Layer::Connected { .. });
    let Some(head) = layers.iter().rposition(weighted) else {
        return Err(net.error("it has no layer with weights"));
    };
    let after = layers.iter().zip(sections).skip(head + 1);
    for (layer, section) in after {
        if !matches!(layer, Layer::GlobalAvgPool | Layer::Same) {
            return Err(section.error("a classifier has no such layer after its logits"));
        }
    }
    match &layers[head] {
        Layer::Convolution(convolution) if convolution.batch_normalize => {
            Err(sections[head].error("batch_normalize=1 is not supported in the last layer"))
        }
        Layer::Convolution(convolution) => Ok((head, convolution.filters)),
        Layer::Connected { outputs, .. } => Ok((head, *outputs)),
        _ => Err(sections[head].error("it has no outputs")),
    }
}

impl PartialEq for DarknetCfg {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl fmt::Display for DarknetCfg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for DarknetCfg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DarknetCfg").field(&self.0.text).finish()
    }
}

impl Serialize for DarknetCfg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DarknetCfg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
