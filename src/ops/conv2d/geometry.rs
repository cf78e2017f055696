//! The sizes of one convolution, checked once.

use candle_core::{Result, bail};

use super::Conv2dParams;

/// The sizes of a convolution of `[n, c_in, h, w]` by `[c_out, c_in / groups, kh, kw]`, both
/// contiguous, giving `[n, c_out, out_h, out_w]`. Pairs are (vertical, horizontal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// Input channels, all groups together.
    pub c_in: usize,
    /// Output channels, all groups together.
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
    /// Steps of the kernel, at least 1.
    pub stride: (usize, usize),
    /// Zeros on each side.
    pub padding: (usize, usize),
    /// Distance of kernel taps, at least 1.
    pub dilation: (usize, usize),
}

impl Geometry {
    /// Checks the shapes of an input and a weight against each other and against `params`.
    ///
    /// # Errors
    /// Where the shapes are not of rank four, the channels do not fit the groups, a stride or
    /// dilation is zero, or the kernel is larger than the padded input.
    pub fn new(x: &[usize], weight: &[usize], params: &Conv2dParams) -> Result<Self> {
        let (&[n, c_in, h, w], &[c_out, c_in_group, kh, kw]) = (x, weight) else {
            bail!(
                "conv2d: input and weight must have 4 dimensions, [n, c_in, h, w] and \
                 [c_out, c_in / groups, kh, kw], but are {x:?} and {weight:?}"
            );
        };
        let groups = params.groups;
        if groups == 0 || c_out % groups != 0 {
            bail!("conv2d: groups must divide the {c_out} output channels, but is {groups}");
        }
        if c_in != c_in_group * groups {
            bail!(
                "conv2d: the weight {weight:?} with groups = {groups} takes {} input channels, \
                 but the input {x:?} has {c_in}",
                c_in_group * groups
            );
        }
        if kh == 0 || kw == 0 || c_in == 0 || c_out == 0 {
            bail!("conv2d: the weight {weight:?} is empty");
        }
        let extent = |axis: &str,
                      size: usize,
                      kernel: usize,
                      stride: usize,
                      padding: usize,
                      dilation: usize| {
            if stride == 0 || dilation == 0 {
                bail!("conv2d: stride and dilation must be at least 1, but are {params:?}");
            }
            let reach = dilation * (kernel - 1) + 1;
            match (size + 2 * padding).checked_sub(reach) {
                Some(room) => Ok(room / stride + 1),
                None => bail!(
                    "conv2d: the input is too small: a kernel reaching over {reach} does not fit in \
                     the {axis} {size} with padding {padding}"
                ),
            }
        };
        let (stride, padding, dilation) = (params.stride, params.padding, params.dilation);
        Ok(Self {
            n,
            c_in,
            c_out,
            groups,
            h,
            w,
            kh,
            kw,
            out_h: extent("height", h, kh, stride.0, padding.0, dilation.0)?,
            out_w: extent("width", w, kw, stride.1, padding.1, dilation.1)?,
            stride,
            padding,
            dilation,
        })
    }

    /// Input channels of one group.
    pub fn group_in(&self) -> usize {
        self.c_in / self.groups
    }

    /// Output channels of one group.
    pub fn group_out(&self) -> usize {
        self.c_out / self.groups
    }

    /// Weights of one output channel: `c_in / groups * kh * kw`.
    pub fn patch(&self) -> usize {
        self.group_in() * self.kh * self.kw
    }

    /// Values of one channel of an input image.
    pub fn in_plane(&self) -> usize {
        self.h * self.w
    }

    /// Values of one channel of an output image.
    pub fn out_plane(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Values of the input.
    pub fn in_len(&self) -> usize {
        self.n * self.c_in * self.in_plane()
    }

    /// Values of the output.
    pub fn out_len(&self) -> usize {
        self.n * self.c_out * self.out_plane()
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        self.c_out * self.patch()
    }

    /// Shape of the input.
    pub fn in_shape(&self) -> [usize; 4] {
        [self.n, self.c_in, self.h, self.w]
    }

    /// Shape of the weight.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.c_out, self.group_in(), self.kh, self.kw]
    }

    /// Shape of the output.
    pub fn out_shape(&self) -> [usize; 4] {
        [self.n, self.c_out, self.out_h, self.out_w]
    }

    /// Whether each group is one input channel: the depthwise kernels' case.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.c_in && self.groups > 1
    }

    /// The outputs `o` for which tap `k` of a row or column lies within the `size` inputs:
    /// `0 <= o * stride + k * dilation - padding < size`.
    pub(crate) fn valid(
        k: usize,
        size: usize,
        out: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> std::ops::Range<usize> {
        let shift = k * dilation;
        let start = padding.saturating_sub(shift).div_ceil(stride).min(out);
        let end = match (size + padding).checked_sub(shift + 1) {
            Some(last) => (last / stride + 1).min(out),
            None => 0,
        };
        start..end.max(start)
    }
}
