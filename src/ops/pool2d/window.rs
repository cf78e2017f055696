//! The input positions of each output of a pool, along one axis.

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

/// The `count` input positions `start`, `start + step`, … of one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub start: usize,
    pub count: usize,
    /// Positions of the window in the padded input, for the divisor of a mean.
    pub padded: usize,
}

impl Axis {
    /// The number of outputs for `len` inputs, by PyTorch's rule: with `ceil_mode`, the last window
    /// may extend beyond the padded input, but must start inside the input or its left padding.
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
        if padding > kernel / 2 {
            bail!("{op}: padding {padding} is more than half of the kernel {kernel}");
        }
        if len == 0 {
            bail!("{op}: the input has no rows or no columns");
        }
        let Some((extent, padded, with_slack)) = self.sizes(len) else {
            bail!(
                "{op}: kernel {kernel}, stride {stride}, padding {padding} and dilation {dilation} \
                 are too large"
            );
        };
        if with_slack < extent {
            bail!(
                "{op}: the kernel's extent {extent} is larger than the input's {len} \
                 with {padding} of padding on both sides"
            );
        }
        let outputs = (with_slack - extent) / stride + 1;
        let last_starts_outside = ceil_mode && (outputs - 1) * stride >= padded - padding;
        match outputs - usize::from(last_starts_outside) {
            0 => bail!("{op}: an input of {len} gives no output"),
            outputs => Ok(outputs),
        }
    }

    /// Three sizes: the extent of a window, the padded input, and the padded input with the
    /// positions that `ceil_mode` adds at the end. `None` if one of them exceeds the largest size
    /// of a slice.
    fn sizes(&self, len: usize) -> Option<(usize, usize, usize)> {
        let extent = self.dilation.checked_mul(self.kernel - 1)?.checked_add(1)?;
        let padded = self.padding.checked_mul(2)?.checked_add(len)?;
        let slack = if self.ceil_mode { self.stride - 1 } else { 0 };
        let with_slack = padded.checked_add(slack)?;
        let last = with_slack.checked_add(extent)?.checked_add(self.stride)?;
        (last <= isize::MAX as usize).then_some((extent, padded, with_slack))
    }

    /// The taps of a window that can reach one of `len` inputs. Later ones read only padding.
    #[inline(always)]
    pub(super) fn taps(&self, len: usize) -> usize {
        self.kernel
            .min((self.padding + len).div_ceil(self.dilation))
    }

    /// A line of `padding` that is long enough for the taps of all windows: input `i` of `len` has
    /// its place at `i + self.padding`.
    ///
    /// A stride of 2 reads pairs, and the last pair may extend beyond the last window.
    #[inline(always)]
    pub(super) fn padded_line<T: Copy>(&self, len: usize, outputs: usize, padding: T) -> Vec<T> {
        let last = (outputs - 1) * self.stride + self.dilation * (self.taps(len) - 1);
        vec![padding; (last + self.stride.min(2)).max(self.padding + len)]
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

/// The windows that divide `len` inputs into `outputs` parts as evenly as possible, by PyTorch's
/// rule: they may overlap by one.
pub(super) fn adaptive(op: &str, len: usize, outputs: usize) -> Result<Vec<Window>> {
    if outputs.checked_mul(len).is_none() {
        bail!("{op}: {outputs} outputs are too many");
    }
    let window = |output: usize| {
        let start = output * len / outputs;
        let count = ((output + 1) * len).div_ceil(outputs) - start;
        Window {
            start,
            count,
            padded: count,
        }
    };
    Ok((0..outputs).map(window).collect())
}
