//! The convolution and its gradients as compositions of Candle's ops, for devices without kernels
//! of this crate.
//!
//! Without groups they are Candle's convolutions. The inputs are padded and cropped so that the
//! steps of the kernel fit exactly; then the sizes of the gradients are correct on both axes.
//! Weights are made contiguous first, which Candle's own backward on Metal omits. With groups,
//! patches are multiplied by the weights, so the cost doesn't grow with the square of the groups.
//! Depthwise convolutions add up the products of one tap after the other.

use candle_core::{Result, Tensor};

use super::geometry::Geometry;
use super::{BiasGrad, Convolution, InputGrad, WeightGrad};
use crate::ops::composed::{Composed1, Composed2, Composed3, every, place, spread, wide};

const OP: &str = "conv2d";

impl Composed2 for Convolution {
    fn multiply_adds(&self, _x: &Tensor, weight: &Tensor) -> usize {
        weight.dims().iter().skip(1).product()
    }

    fn composed(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        forward(&self.geometry, x, weight, None)
    }
}

impl Composed3 for Convolution {
    fn multiply_adds(&self, _x: &Tensor, weight: &Tensor) -> usize {
        weight.dims().iter().skip(1).product()
    }

    fn composed(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        forward(&self.geometry, x, weight, Some(bias))
    }
}

impl Composed2 for InputGrad {
    fn composed(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let g = &self.0;
        let dtype = dy.dtype();
        let dy = wide(OP, dy)?.contiguous()?;
        let weight = wide(OP, weight)?.contiguous()?;
        let dx = match g.form() {
            Form::Plain => g.plain_input_grad(&dy, &weight)?,
            Form::Depthwise => g.depthwise_input_grad(&dy, &weight)?,
            Form::Grouped => g.grouped_input_grad(&dy, &weight)?,
        };
        g.input_part(&dx)?.to_dtype(dtype)
    }
}

impl Composed2 for WeightGrad {
    fn composed(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let g = &self.0;
        let dtype = x.dtype();
        let x = g.reached(&wide(OP, x)?)?;
        let dy = wide(OP, dy)?.contiguous()?;
        let dw = match g.form() {
            Form::Plain => g.plain_weight_grad(&x, &dy)?,
            Form::Depthwise => g.depthwise_weight_grad(&x, &dy)?,
            Form::Grouped => g.grouped_weight_grad(&x, &dy)?,
        };
        dw.to_dtype(dtype)
    }
}

impl Composed1 for BiasGrad {
    fn composed(&self, dy: &Tensor) -> Result<Tensor> {
        wide(OP, dy)?.sum((0, 2, 3))?.to_dtype(dy.dtype())
    }
}

fn forward(g: &Geometry, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = wide(OP, x)?;
    let weight = wide(OP, weight)?.contiguous()?;
    let y = match g.form() {
        Form::Plain => g.plain_forward(&x, &weight)?,
        Form::Depthwise => g.depthwise_forward(&g.reached(&x)?, &weight)?,
        Form::Grouped => g.grouped_forward(&g.reached(&x)?, &weight)?,
    };
    let y = match bias {
        None => y,
        Some(bias) => y.broadcast_add(&wide(OP, bias)?.reshape((1, g.c_out, 1, 1))?)?,
    };
    y.to_dtype(dtype)
}

enum Form {
    /// One group.
    Plain,
    /// One channel in each group.
    Depthwise,
    Grouped,
}

impl Geometry {
    fn form(&self) -> Form {
        match (self.groups, self.group_in(), self.group_out()) {
            (1, _, _) => Form::Plain,
            (_, 1, 1) => Form::Depthwise,
            _ => Form::Grouped,
        }
    }

    /// Rows and columns of the padded input up to the last that a tap reaches.
    fn reach(&self) -> (usize, usize) {
        (
            (self.out_h - 1) * self.stride.0 + (self.kh - 1) * self.dilation.0 + 1,
            (self.out_w - 1) * self.stride.1 + (self.kw - 1) * self.dilation.1 + 1,
        )
    }

    fn padded(&self, x: &Tensor) -> Result<Tensor> {
        let (ph, pw) = self.padding;
        x.pad_with_zeros(2, ph, ph)?.pad_with_zeros(3, pw, pw)
    }

    /// The padded input without the rows and columns that no tap reaches.
    fn reached(&self, x: &Tensor) -> Result<Tensor> {
        let (height, width) = self.reach();
        let x = self.padded(x)?.narrow(2, 0, height)?.narrow(3, 0, width)?;
        x.contiguous()
    }

    /// The transpose of [`Self::reached`]: zeros where no tap reaches.
    fn input_part(&self, dx: &Tensor) -> Result<Tensor> {
        let (ph, pw) = self.padding;
        let dx = place(dx, 2, 0, self.h + 2 * ph)?.narrow(2, ph, self.h)?;
        let dx = place(&dx, 3, 0, self.w + 2 * pw)?.narrow(3, pw, self.w)?;
        dx.contiguous()
    }

    /// The weight with one dilation for both axes, and that dilation. If the axes differ, zeros are
    /// inserted between the taps.
    fn dilated(&self, weight: &Tensor) -> Result<(Tensor, usize)> {
        let (dh, dw) = self.dilation;
        if dh == dw {
            return Ok((weight.clone(), dh));
        }
        let weight = spread(&spread(weight, 2, dh)?, 3, dw)?;
        Ok((weight.contiguous()?, 1))
    }

    /// The gradient of the output with one stride for both axes, and that stride. If the axes
    /// differ, zeros are inserted between the values.
    fn strided(&self, dy: &Tensor) -> Result<(Tensor, usize)> {
        let (sh, sw) = self.stride;
        if sh == sw {
            return Ok((dy.clone(), sh));
        }
        let dy = spread(&spread(dy, 2, sh)?, 3, sw)?;
        Ok((dy.contiguous()?, 1))
    }

    fn plain_forward(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (weight, dilation) = self.dilated(weight)?;
        let (x, padding) = match self.padding {
            (ph, pw) if ph == pw => (x.contiguous()?, ph),
            _ => (self.padded(x)?, 0),
        };
        let (sh, sw) = self.stride;
        if sh == sw {
            return x.conv2d(&weight, padding, sh, dilation, 1);
        }
        let y = x.conv2d(&weight, padding, 1, dilation, 1)?;
        let y = every(&y, 2, 0, sh, self.out_h)?;
        every(&y, 3, 0, sw, self.out_w)
    }

    fn plain_input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (weight, dilation) = self.dilated(weight)?;
        let (dy, stride) = self.strided(dy)?;
        dy.conv_transpose2d(&weight, 0, 0, stride, dilation)
    }

    /// A convolution of the input with the gradient. Images take the role of channels, and stride
    /// and dilation are exchanged.
    fn plain_weight_grad(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (dy, stride) = self.strided(dy)?;
        let x = x.transpose(0, 1)?.contiguous()?;
        let dy = dy.transpose(0, 1)?.contiguous()?;
        let (dh, dw) = self.dilation;
        let step = if dh == dw { dh } else { 1 };
        let taps = x.conv2d(&dy, 0, step, stride, 1)?;
        let taps = if dh == dw {
            taps
        } else {
            every(&every(&taps, 2, 0, dh, self.kh)?, 3, 0, dw, self.kw)?
        };
        taps.transpose(0, 1)?.contiguous()
    }

    /// The row and column of each tap, in row-major order.
    fn each_tap(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (kh, kw) = (self.kh, self.kw);
        (0..kh).flat_map(move |i| (0..kw).map(move |j| (i, j)))
    }

    /// The values of the reached input that tap (i, j) sees: `[n, c_in, out_h, out_w]`.
    fn seen(&self, x: &Tensor, (i, j): (usize, usize)) -> Result<Tensor> {
        let rows = every(x, 2, i * self.dilation.0, self.stride.0, self.out_h)?;
        every(&rows, 3, j * self.dilation.1, self.stride.1, self.out_w)
    }

    /// The transpose of [`Self::seen`]: the gradient of the values that tap (i, j) sees, at their
    /// positions in the reached input.
    fn back(&self, seen: &Tensor, (i, j): (usize, usize)) -> Result<Tensor> {
        let (height, width) = self.reach();
        let dx = spread(&spread(seen, 2, self.stride.0)?, 3, self.stride.1)?;
        place(
            &place(&dx, 2, i * self.dilation.0, height)?,
            3,
            j * self.dilation.1,
            width,
        )
    }

    /// The weights of one tap of a depthwise kernel: `[1, c, 1, 1]`.
    fn depthwise_tap(&self, weight: &Tensor, (i, j): (usize, usize)) -> Result<Tensor> {
        let tap = weight.narrow(2, i, 1)?.narrow(3, j, 1)?;
        tap.reshape((1, self.c_in, 1, 1))
    }

    fn depthwise_forward(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let product = |tap| {
            let seen = self.seen(x, tap)?;
            seen.broadcast_mul(&self.depthwise_tap(weight, tap)?)
        };
        sum(self.each_tap().map(product))
    }

    fn depthwise_input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let product = |tap| {
            let seen = dy.broadcast_mul(&self.depthwise_tap(weight, tap)?)?;
            self.back(&seen, tap)
        };
        sum(self.each_tap().map(product))
    }

    fn depthwise_weight_grad(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let product = |tap| (self.seen(x, tap)? * dy)?.sum((0, 2, 3));
        let taps = self.each_tap().map(product).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&taps, 1)?.reshape(&self.weight_shape())
    }

    /// The patches of the input: `[n, groups, c_in / groups * kh * kw, out_h * out_w]`.
    fn patches(&self, x: &Tensor) -> Result<Tensor> {
        let seen = self.each_tap().map(|tap| self.seen(x, tap));
        let seen = seen.collect::<Result<Vec<_>>>()?;
        let places = self.out_h * self.out_w;
        Tensor::stack(&seen, 2)?.reshape((self.n, self.groups, self.patch(), places))
    }

    /// The weights of each group, repeated for each image:
    /// `[n, groups, c_out / groups, c_in / groups * kh * kw]`.
    fn group_weights(&self, weight: &Tensor) -> Result<Tensor> {
        let sizes = (self.n, self.groups, self.group_out(), self.patch());
        let weight = weight.reshape((1, self.groups, self.group_out(), self.patch()))?;
        weight.broadcast_as(sizes)?.contiguous()
    }

    fn grouped_forward(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let y = self.group_weights(weight)?.matmul(&self.patches(x)?)?;
        y.reshape(&self.out_shape())
    }

    fn grouped_dy(&self, dy: &Tensor) -> Result<Tensor> {
        let places = self.out_h * self.out_w;
        dy.reshape((self.n, self.groups, self.group_out(), places))
    }

    fn grouped_input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let weight = self.group_weights(weight)?.transpose(2, 3)?.contiguous()?;
        let patches = weight.matmul(&self.grouped_dy(dy)?)?;
        let taps = self.kh * self.kw;
        let patches = patches.reshape((self.n, self.c_in, taps, self.out_h, self.out_w))?;
        let back = |(index, tap)| {
            let seen = patches.narrow(2, index, 1)?.squeeze(2)?;
            self.back(&seen.contiguous()?, tap)
        };
        sum(self.each_tap().enumerate().map(back))
    }

    fn grouped_weight_grad(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let patches = self.patches(x)?.transpose(2, 3)?.contiguous()?;
        let dw = self.grouped_dy(dy)?.matmul(&patches)?.sum(0)?;
        dw.reshape(&self.weight_shape())
    }
}

fn sum(mut terms: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let first = terms
        .next()
        .unwrap_or_else(|| candle_core::bail!("{OP}: no taps"))?;
    terms.try_fold(first, |sum, term| sum + term?)
}
