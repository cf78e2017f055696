//! A section as a layer.

use super::error::DarknetCfgError;
use super::function::Function;
use super::section::Section;

/// A layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Layer {
    Convolution(Convolution),
    MaxPool(MaxPool),
    GlobalAvgPool,
    /// A fully connected layer.
    Connected {
        outputs: usize,
        function: Function,
    },
    /// The sum of the previous output and other layers' outputs.
    Shortcut {
        from: Vec<usize>,
        function: Function,
    },
    /// Other layers' outputs, concatenated, or the part `group` of `groups` of each.
    Route {
        from: Vec<usize>,
        groups: usize,
        group: usize,
    },
    /// Another layer's output, each channel multiplied with the previous output.
    ScaleChannels {
        from: usize,
    },
    /// The previous output: dropout, which does nothing in evaluation, and what follows the logits.
    Same,
}

/// A convolution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Convolution {
    pub filters: usize,
    /// Height and width of the kernel.
    pub size: usize,
    /// (vertical, horizontal).
    pub stride: (usize, usize),
    pub padding: usize,
    pub dilation: usize,
    pub groups: usize,
    /// With batch norm, or else with a bias.
    pub batch_normalize: bool,
    pub function: Function,
}

/// The maximum of windows. The first window starts `padding / 2` before the first value, and there are
/// (size of the input + padding - size) / stride + 1 windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxPool {
    pub size: usize,
    /// (vertical, horizontal).
    pub stride: (usize, usize),
    pub padding: usize,
}

impl MaxPool {
    /// The number of windows along an axis of `size` values.
    pub fn windows(&self, size: usize, stride: usize) -> Option<usize> {
        let free = (size + self.padding).checked_sub(self.size)?;
        Some(free / stride + 1)
    }
}

/// Options of convolutions that change what they compute, and the value that changes nothing.
const CONVOLUTION: [(&str, &str); 16] = [
    ("antialiasing", "0"),
    ("assisted_excitation", "0"),
    ("binary", "0"),
    ("bin_output", "0"),
    ("cbn", "0"),
    ("coordconv", "0"),
    ("dontload", "0"),
    ("dontloadscales", "0"),
    ("flipped", "0"),
    ("numload", "0"),
    ("rotate", "0"),
    ("share_index", "-1000000000"),
    ("stretch", "0"),
    ("stretch_sway", "0"),
    ("sway", "0"),
    ("xnor", "0"),
];

impl Layer {
    /// The layer number `own` of a file.
    pub(super) fn of(section: &Section, own: usize) -> Result<Self, DarknetCfgError> {
        Ok(match section.kind.as_str() {
            "convolutional" | "conv" => Self::Convolution(convolution(section)?),
            "connected" | "conn" => {
                section.refuse(&[("batch_normalize", "0"), ("dontload", "0")])?;
                Self::Connected {
                    outputs: section.positive("output", 1)?,
                    function: function(section, "logistic")?,
                }
            }
            "maxpool" | "max" => Self::MaxPool(max_pool(section)?),
            "avgpool" | "avg" => Self::GlobalAvgPool,
            "shortcut" => {
                section.refuse(&[("weights_type", "none"), ("alpha", "1"), ("beta", "1")])?;
                Self::Shortcut {
                    from: section.layers("from", own)?,
                    function: function(section, "linear")?,
                }
            }
            "route" => {
                let groups = section.positive("groups", 1)?;
                let group = section.number("group_id", 0)?;
                if group >= groups {
                    let reason = format!("group_id is {group}, must be below groups, {groups}");
                    return Err(section.error(reason));
                }
                Self::Route {
                    from: section.layers("layers", own)?,
                    groups,
                    group,
                }
            }
            "scale_channels" => {
                section.refuse(&[("scale_wh", "0"), ("activation", "linear")])?;
                match section.layers("from", own)?.as_slice() {
                    [from] => Self::ScaleChannels { from: *from },
                    _ => return Err(section.error("from must name one layer")),
                }
            }
            "softmax" | "soft" => {
                section.refuse(&[("groups", "1"), ("temperature", "1")])?;
                if section.text("tree").is_some() {
                    return Err(section.error("a tree of classes is not supported"));
                }
                Self::Same
            }
            "dropout" | "cost" => Self::Same,
            "yolo" | "Gaussian_yolo" | "region" | "detection" => {
                return Err(section.error("a detector; only classifiers are supported"));
            }
            _ => return Err(section.error("this kind of layer is not supported")),
        })
    }

    /// The layer with another number of outputs, if it has weights.
    pub fn with_outputs(&self, count: usize) -> Self {
        match self.clone() {
            Self::Convolution(convolution) => Self::Convolution(Convolution {
                filters: count,
                ..convolution
            }),
            Self::Connected { function, .. } => Self::Connected {
                outputs: count,
                function,
            },
            other => other,
        }
    }

    /// The layers whose outputs it takes besides the previous one.
    pub fn from(&self) -> &[usize] {
        match self {
            Self::Shortcut { from, .. } | Self::Route { from, .. } => from,
            Self::ScaleChannels { from } => std::slice::from_ref(from),
            _ => &[],
        }
    }

    /// What follows the layer's sum.
    pub fn function(&self) -> Function {
        match self {
            Self::Convolution(convolution) => convolution.function,
            Self::Connected { function, .. } | Self::Shortcut { function, .. } => *function,
            _ => Function::None,
        }
    }
}

fn function(section: &Section, default: &str) -> Result<Function, DarknetCfgError> {
    let name = section.text("activation").unwrap_or(default);
    Function::named(name).ok_or_else(|| {
        let known: Vec<&str> = Function::names().collect();
        let name: String = name.escape_debug().take(60).collect();
        section.error(format!(
            "activation={name} is not supported; supported are {}",
            known.join(", ")
        ))
    })
}

fn convolution(section: &Section) -> Result<Convolution, DarknetCfgError> {
    section.refuse(&CONVOLUTION)?;
    let size = section.positive("size", 1)?;
    let padding = match section.number("pad", 0)? {
        0 => section.number("padding", 0)?,
        _ => size / 2,
    };
    // darknet ignores the dilation of a 1x1 kernel.
    let dilation = match size {
        1 => 1,
        _ => section.positive("dilation", 1)?,
    };
    Ok(Convolution {
        filters: section.positive("filters", 1)?,
        size,
        stride: stride(section)?,
        padding: padding * dilation,
        dilation,
        groups: section.positive("groups", 1)?,
        batch_normalize: section.number("batch_normalize", 0)? != 0,
        function: function(section, "logistic")?,
    })
}

fn max_pool(section: &Section) -> Result<MaxPool, DarknetCfgError> {
    section.refuse(&[
        ("antialiasing", "0"),
        ("maxpool_depth", "0"),
        ("maxpool_zero_nonmax", "0"),
    ])?;
    let size = section.positive("size", section.positive("stride", 1)?)?;
    let padding = section.number("padding", size - 1)?;
    if padding >= size {
        let reason = format!("padding is {padding}, must be below size, {size}");
        return Err(section.error(reason));
    }
    Ok(MaxPool {
        size,
        stride: stride(section)?,
        padding,
    })
}

fn stride(section: &Section) -> Result<(usize, usize), DarknetCfgError> {
    let both = section.positive("stride", 1)?;
    let vertical = section.positive("stride_y", both)?;
    Ok((vertical, section.positive("stride_x", both)?))
}
