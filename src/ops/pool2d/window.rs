//! Which input positions each output of a pool sees, along one axis.

use candle_core::{Result, bail};

/// One axis of a pool with a fixed kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    pub ceil_mode: bool,
}

/// The input positions `start`, `start + step`, … (`count` of them) that one output sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub start: usize,
    pub count: usize,
    /// Positions of the window before it was cut to the input, for the mean's divisor.
    pub padded: usize,
}

impl Axis {
    /// The number of outputs for `len` inputs, by PyTorch's rule: with `ceil_mode` a last
    /// window may hang over the end, but must start inside the input or its left padding.
    pub(super) fn outputs(&self, op: &str, len: usize) -> Result<usize> {
        let Self {
            kernel,
            stride,
            padding,
            dilation,
            ceil_mode,
        } = *self;
        if kernel == 0 || stride == 0 || dilation == 0 {
            bail!(
                "{op}: kernel, stride and dilation must be at least 1, \
                 not {kernel}, {stride} and {dilation}"
            );
        }
        let extent = dilation * (kernel - 1) + 1;
        if padding > kernel / 2 {
            bail!("{op}: padding {padding} is more than half of the kernel {kernel}");
        }
        if len == 0 {
            bail!("{op}: the input has no rows or no columns");
        }
        if len + 2 * padding < extent && !(ceil_mode && len + 2 * padding + stride > extent) {
            bail!(
                "{op}: the kernel's extent {extent} is larger than the input's {len} \
                 with {padding} of padding on both sides"
            );
        }
        let slack = if ceil_mode { stride - 1 } else { 0 };
        let outputs = (len + 2 * padding + slack - extent) / stride + 1;
        let last_starts_outside = ceil_mode && (outputs - 1) * stride >= len + padding;
        match outputs - usize::from(last_starts_outside) {
            0 => bail!("{op}: an input of {len} gives no output"),
            outputs => Ok(outputs),
        }
    }

    /// The window of each output for `len` inputs.
    pub(super) fn windows(&self, op: &str, len: usize) -> Result<Vec<Window>> {
        let window = |output: usize| {
            let begin = output * self.stride;
            let past = self.padding.saturating_sub(begin).div_ceil(self.dilation);
            let start = begin + past * self.dilation - self.padding;
            let fit = len.saturating_sub(start).div_ceil(self.dilation);
            let end = (begin + self.kernel).min(len + 2 * self.padding);
            Window {
                start,
                count: fit.min(self.kernel - past.min(self.kernel)),
                padded: end.saturating_sub(begin),
            }
        };
        Ok((0..self.outputs(op, len)?).map(window).collect())
    }
}

/// The windows that divide `len` inputs among `outputs` as evenly as possible, by PyTorch's
/// rule: they may overlap by one.
pub(super) fn adaptive(len: usize, outputs: usize) -> Vec<Window> {
    let window = |output: usize| {
        let start = output * len / outputs;
        let count = ((output + 1) * len).div_ceil(outputs) - start;
        Window {
            start,
            count,
            padded: count,
        }
    };
    (0..outputs).map(window).collect()
}
