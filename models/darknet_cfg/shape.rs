//! The shape of each layer's output.

use super::layer::{Convolution, Layer};

/// The limit of the values of one image's map.
const LARGEST: usize = 1 << 28;

/// The shape of an output, and how much smaller it is than the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// The image's height divided by the map's, without rounding. `None` after a pool over the whole
    /// map and after a fully connected layer.
    pub reduction: Option<usize>,
}

impl Shape {
    /// An image.
    pub fn image(channels: usize, size: usize) -> Self {
        Self {
            channels,
            height: size,
            width: size,
            reduction: Some(1),
        }
    }

    /// The number of values.
    pub fn values(&self) -> usize {
        // Below `LARGEST`.
        self.channels * self.height * self.width
    }

    /// Whether it has one row and one column.
    pub fn is_vector(&self) -> bool {
        (self.height, self.width) == (1, 1)
    }

    fn vector(channels: usize) -> Self {
        Self {
            channels,
            height: 1,
            width: 1,
            reduction: None,
        }
    }

    fn checked(self) -> Result<Self, String> {
        let values = self.channels.checked_mul(self.height);
        let values = values.and_then(|values| values.checked_mul(self.width));
        match values {
            Some(values) if values <= LARGEST => Ok(self),
            _ => Err(format!("its output is too large: {self}")),
        }
    }

    fn spatial(&self) -> (usize, usize) {
        (self.height, self.width)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

impl Layer {
    /// The shape of the output, from the shapes of all outputs before it. The last of them is the
    /// input, the first one the image.
    pub fn shape(&self, image: Shape, before: &[Shape]) -> Result<Shape, String> {
        let input = before.last().copied().unwrap_or(image);
        let at = |layer: &usize| before.get(*layer).copied().unwrap_or(input);
        match self {
            Self::Same => Ok(input),
            Self::GlobalAvgPool => Ok(Shape::vector(input.channels)),
            Self::Connected { outputs, .. } => Ok(Shape::vector(*outputs)),
            Self::Convolution(convolution) => convolution.shape(input),
            Self::MaxPool(pool) => {
                let (vertical, horizontal) = pool.stride;
                let rows = pool.windows(input.height, vertical);
                let columns = pool.windows(input.width, horizontal);
                let (height, width) = rows.zip(columns).ok_or_else(|| too_small(input))?;
                Ok(Shape {
                    height,
                    width,
                    reduction: input.reduction.map(|r| r.saturating_mul(vertical)),
                    ..input
                })
            }
            Self::Shortcut { from, .. } => {
                for other in from.iter().map(at) {
                    if stride(other.spatial(), input.spatial()).is_none() {
                        return Err(format!("it adds {other} to {input}"));
                    }
                }
                Ok(input)
            }
            Self::Route { from, groups, .. } => {
                let first = from.first().map_or(input, at);
                let mut channels = 0usize;
                for other in from.iter().map(at) {
                    if other.spatial() != first.spatial() {
                        return Err(format!("it concatenates {first} and {other}"));
                    }
                    if !other.channels.is_multiple_of(*groups) {
                        return Err(format!("it divides {other} into {groups} groups"));
                    }
                    channels = channels.saturating_add(other.channels / groups);
                }
                Shape { channels, ..first }.checked()
            }
            Self::ScaleChannels { from } => {
                let other = at(from);
                if !input.is_vector() || input.channels != other.channels {
                    return Err(format!("it multiplies {other} with {input}"));
                }
                Ok(other)
            }
        }
    }
}

impl Convolution {
    fn shape(&self, input: Shape) -> Result<Shape, String> {
        let Self {
            filters, groups, ..
        } = *self;
        if !input.channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            let channels = input.channels;
            return Err(format!(
                "groups={groups} does not divide {channels} input channels and filters={filters}"
            ));
        }
        let outputs = |size: usize, stride: usize| {
            let reach = (self.size - 1).checked_mul(self.dilation)?.checked_add(1)?;
            let padded = self.padding.checked_mul(2)?.checked_add(size)?;
            Some(padded.checked_sub(reach)? / stride + 1)
        };
        let rows = outputs(input.height, self.stride.0);
        let columns = outputs(input.width, self.stride.1);
        let (height, width) = rows.zip(columns).ok_or_else(|| too_small(input))?;
        let shape = Shape {
            channels: filters,
            height,
            width,
            reduction: input.reduction.map(|r| r.saturating_mul(self.stride.0)),
        };
        shape.checked()
    }
}

/// Every how many rows and columns of a map of size `from` a map of size `to` has.
pub(crate) fn stride(from: (usize, usize), to: (usize, usize)) -> Option<usize> {
    let stride = from.0.checked_div(to.0)?;
    let same = from.1.checked_div(to.1)? == stride;
    (same && stride >= 1).then_some(stride)
}

fn too_small(input: Shape) -> String {
    format!("its kernel is larger than its input, {input}")
}
