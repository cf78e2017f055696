//! The parameters of pools with a fixed kernel.

use candle_core::Result;

use super::window::Axis;

/// Kernel, stride, padding and dilation of a pool as (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dParams {
    /// Size of the window.
    pub kernel: (usize, usize),
    /// Step from one window to the next.
    pub stride: (usize, usize),
    /// Rows and columns added on both sides of the input: minus infinity for the maximum, zero for
    /// the average. At most half of the kernel.
    pub padding: (usize, usize),
    /// Distance between neighbouring positions of a window; averages take (1, 1) only.
    pub dilation: (usize, usize),
    /// Whether a last window that extends beyond the padded input counts.
    pub ceil_mode: bool,
}

impl Pool2dParams {
    /// Adjacent windows of size `kernel`, without padding: the stride is the kernel.
    pub fn new(kernel: (usize, usize)) -> Self {
        Self {
            kernel,
            stride: kernel,
            padding: (0, 0),
            dilation: (1, 1),
            ceil_mode: false,
        }
    }

    /// Sets the step from one window to the next.
    pub fn with_stride(self, stride: (usize, usize)) -> Self {
        Self { stride, ..self }
    }

    /// Sets the padding on both sides.
    pub fn with_padding(self, padding: (usize, usize)) -> Self {
        Self { padding, ..self }
    }

    /// Sets the distance between neighbouring positions of a window.
    pub fn with_dilation(self, dilation: (usize, usize)) -> Self {
        Self { dilation, ..self }
    }

    /// Sets whether a last window that extends beyond the padded input counts.
    pub fn with_ceil_mode(self, ceil_mode: bool) -> Self {
        Self { ceil_mode, ..self }
    }

    /// The output size (rows, columns) for an input of `size` (rows, columns).
    ///
    /// # Errors
    /// As [`max_pool2d`](super::max_pool2d).
    pub fn output_size(&self, size: (usize, usize)) -> Result<(usize, usize)> {
        let (rows, columns) = self.axes();
        Ok((
            rows.outputs("pool2d", size.0)?,
            columns.outputs("pool2d", size.1)?,
        ))
    }

    /// The axes (rows, columns).
    pub(super) fn axes(&self) -> (Axis, Axis) {
        let axis = |kernel, stride, padding, dilation| Axis {
            kernel,
            stride,
            padding,
            dilation,
            ceil_mode: self.ceil_mode,
        };
        (
            axis(
                self.kernel.0,
                self.stride.0,
                self.padding.0,
                self.dilation.0,
            ),
            axis(
                self.kernel.1,
                self.stride.1,
                self.padding.1,
                self.dilation.1,
            ),
        )
    }
}
