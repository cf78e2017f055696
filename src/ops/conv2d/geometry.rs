//! The sizes of a convolution, checked once.

use std::ops::Range;

use candle_core::{Result, bail};

/// How the kernel moves over the input. Pairs are (vertical, horizontal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dParams {
    /// Step of the kernel, at least 1.
    pub stride: (usize, usize),
    /// Zeros on each side of the input.
    pub padding: (usize, usize),
    /// Distance between neighbouring taps of the kernel, at least 1.
    pub dilation: (usize, usize),
    /// Groups of channels. Each group has its own convolution.
    pub groups: usize,
}

impl Default for Conv2dParams {
    /// Stride and dilation 1, no padding, one group.
    fn default() -> Self {
        Self {
            stride: (1, 1),
            padding: (0, 0),
            dilation: (1, 1),
            groups: 1,
        }
    }
}

/// Largest padded size of an axis. The product of two of them fits in an `isize`, so the kernels
/// can compute positions in a plane without checks.
const MAX_EXTENT: usize = i32::MAX as usize;

/// Most values of a tensor: the size in bytes of that many `f64` fits in an `isize`.
const MAX_VALUES: usize = isize::MAX as usize / size_of::<f64>();

/// The sizes of a convolution of `[n, c_in, h, w]` with `[c_out, c_in / groups, kh, kw]`, both
/// contiguous, to `[n, c_out, out_h, out_w]`. Pairs are (vertical, horizontal).
///
/// [`Geometry::new`] guarantees that the size of each tensor and of each padded plane fits in an
/// `isize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// Input channels of all groups.
    pub c_in: usize,
    /// Output channels of all groups.
    pub c_out: usize,
    /// Groups; divides `c_in` and `c_out`.
    pub groups: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Kernel height.
    pub kh: usize,
    /// Kernel width.
    pub kw: usize,
    /// Output height.
    pub out_h: usize,
    /// Output width.
    pub out_w: usize,
    /// Step of the kernel, at least 1.
    pub stride: (usize, usize),
    /// Zeros on each side.
    pub padding: (usize, usize),
    /// Distance between neighbouring taps, at least 1.
    pub dilation: (usize, usize),
}

impl Geometry {
    /// Checks the shapes of an input and a weight against each other and against `params`.
    ///
    /// # Errors
    /// If a shape is not of rank 4, if the channels do not fit the groups, if the weight, a stride
    /// or a dilation is zero, if the kernel is larger than the padded input, if an input that has
    /// images and channels has no rows or columns, or if a size is too large.
    pub fn new(x: &[usize], weight: &[usize], params: &Conv2dParams) -> Result<Self> {
        let (&[n, c_in, h, w], &[c_out, c_in_group, kh, kw]) = (x, weight) else {
            bail!(
                "conv2d: input and weight must have 4 dimensions, [n, c_in, h, w] and \
                 [c_out, c_in / groups, kh, kw], but are {x:?} and {weight:?}"
            );
        };
        let groups = params.groups;
        if groups == 0 || !c_out.is_multiple_of(groups) {
            bail!("conv2d: groups must divide the {c_out} output channels, but is {groups}");
        }
        if c_in_group.checked_mul(groups) != Some(c_in) {
            bail!(
                "conv2d: the weight {weight:?} with groups = {groups} takes {} input channels, \
                 but the input {x:?} has {c_in}",
                c_in_group.saturating_mul(groups)
            );
        }
        if c_out == 0 || kh == 0 || kw == 0 {
            bail!("conv2d: the weight {weight:?} is empty: it has no output channels or no taps");
        }
        let (stride, padding, dilation) = (params.stride, params.padding, params.dilation);
        if [stride.0, stride.1, dilation.0, dilation.1].contains(&0) {
            bail!("conv2d: stride and dilation must be at least 1, but are {params:?}");
        }
        let axis = |size, kernel, stride, padding, dilation| Axis {
            size,
            kernel,
            out: 0,
            stride,
            padding,
            dilation,
        };
        let vertical = axis(h, kh, stride.0, padding.0, dilation.0).with_out("height")?;
        let horizontal = axis(w, kw, stride.1, padding.1, dilation.1).with_out("width")?;
        if x.contains(&0) && n > 0 && c_in > 0 {
            bail!("conv2d: the input {x:?} has images and channels, but no rows or no columns");
        }
        let geometry = Self {
            n,
            c_in,
            c_out,
            groups,
            h,
            w,
            kh,
            kw,
            out_h: vertical.out,
            out_w: horizontal.out,
            // Even a larger stride gives one output, and a larger dilation requires a single tap.
            stride: (stride.0.min(MAX_EXTENT), stride.1.min(MAX_EXTENT)),
            padding,
            dilation: (dilation.0.min(MAX_EXTENT), dilation.1.min(MAX_EXTENT)),
        };
        let out_plane = [geometry.out_h, geometry.out_w];
        for (what, shape) in [
            ("input", x),
            ("weight", weight),
            ("output", &geometry.out_shape()),
            ("plane of the output", &out_plane),
        ] {
            check_size(what, shape)?;
        }
        Ok(geometry)
    }

    /// The rows of input, kernel and output.
    pub fn vertical(&self) -> Axis {
        Axis {
            size: self.h,
            kernel: self.kh,
            out: self.out_h,
            stride: self.stride.0,
            padding: self.padding.0,
            dilation: self.dilation.0,
        }
    }

    /// The columns of input, kernel and output.
    pub fn horizontal(&self) -> Axis {
        Axis {
            size: self.w,
            kernel: self.kw,
            out: self.out_w,
            stride: self.stride.1,
            padding: self.padding.1,
            dilation: self.dilation.1,
        }
    }

    /// Input channels of a group.
    pub fn group_in(&self) -> usize {
        self.c_in / self.groups
    }

    /// Output channels of a group.
    pub fn group_out(&self) -> usize {
        self.c_out / self.groups
    }

    /// Taps of the kernel: `kh * kw`.
    pub fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Weights of an output channel: `c_in / groups * kh * kw`.
    pub fn patch(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Values of a channel of an input image.
    pub fn in_plane(&self) -> usize {
        self.h * self.w
    }

    /// Values of a channel of an output image.
    pub fn out_plane(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Values of the input.
    pub fn in_len(&self) -> usize {
        len(&self.in_shape())
    }

    /// Values of the output.
    pub fn out_len(&self) -> usize {
        len(&self.out_shape())
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        len(&self.weight_shape())
    }

    /// Multiplications of a pass, including those with padding.
    pub fn multiplications(&self) -> usize {
        self.out_len().saturating_mul(self.patch())
    }

    /// Shape of the input.
    pub fn in_shape(&self) -> [usize; 4] {
        [self.n, self.c_in, self.h, self.w]
    }

    /// Shape of the weight.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.c_out, self.group_in(), self.kh, self.kw]
    }

    /// Shape of the output. As in PyTorch, an input without channels gives an output without
    /// channels.
    pub fn out_shape(&self) -> [usize; 4] {
        let channels = if self.c_in == 0 { 0 } else { self.c_out };
        [self.n, channels, self.out_h, self.out_w]
    }

    /// Whether there is nothing to multiply: no images or no input channels.
    pub fn is_empty(&self) -> bool {
        self.in_len() == 0 || self.out_len() == 0
    }

    /// Whether each group has one input channel: the case of the depthwise algorithm.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.c_in && self.groups > 1
    }
}

/// Values of a tensor. Tests for zeros first: the other dimensions of an empty tensor may overflow.
fn len(shape: &[usize; 4]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    shape.iter().product()
}

/// Fails if a tensor of this shape is too large.
fn check_size(what: &str, shape: &[usize]) -> Result<()> {
    let values = shape
        .iter()
        .try_fold(1, |len: usize, d| len.checked_mul(*d));
    if !shape.contains(&0) && values.is_none_or(|len| len > MAX_VALUES) {
        bail!("conv2d: the {what} {shape:?} is too large: it has more than {MAX_VALUES} values");
    }
    Ok(())
}

/// One axis of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Inputs.
    pub size: usize,
    /// Taps.
    pub kernel: usize,
    /// Outputs.
    pub out: usize,
    /// Inputs from one output to the next.
    pub stride: usize,
    /// Zeros on each side of the inputs.
    pub padding: usize,
    /// Inputs from one tap to the next.
    pub dilation: usize,
}

impl Axis {
    /// This axis with the number of outputs that its other sizes give.
    fn with_out(self, name: &str) -> Result<Self> {
        let Self {
            size,
            kernel,
            stride,
            padding,
            dilation,
            ..
        } = self;
        let padded = padding.checked_mul(2).and_then(|p| p.checked_add(size));
        let Some(padded) = padded.filter(|padded| *padded <= MAX_EXTENT) else {
            bail!(
                "conv2d: the {name} {size} with padding {padding} on each side is too large: at \
                 most {MAX_EXTENT} are supported"
            );
        };
        let span = dilation.checked_mul(kernel - 1);
        match span.and_then(|span| padded.checked_sub(span)) {
            None | Some(0) => bail!(
                "conv2d: the input is too small: a kernel of {kernel} taps with dilation \
                 {dilation} does not fit in the {name} {size} with padding {padding} on each side"
            ),
            Some(room) => Ok(Self {
                out: (room - 1) / stride + 1,
                ..self
            }),
        }
    }

    /// The outputs for which tap `k` is within the inputs:
    /// `0 <= output * stride + k * dilation - padding < size`.
    pub fn valid_outputs(&self, k: usize) -> Range<usize> {
        let first = (k * self.dilation) as isize - self.padding as isize;
        positions_inside(first, self.stride, self.out, self.size)
    }
}

/// The `i < count` with `0 <= first + i * step < size`.
#[inline(always)]
pub fn positions_inside(first: isize, step: usize, count: usize, size: usize) -> Range<usize> {
    let start = if first < 0 {
        first.unsigned_abs().div_ceil(step)
    } else {
        0
    };
    let end = match size as isize - first {
        room if room > 0 => (room as usize).div_ceil(step),
        _ => 0,
    };
    let start = start.min(count);
    start..end.clamp(start, count)
}
