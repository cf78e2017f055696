//! Statistics of the channels of a network's values.

use candle_core::{DType, Device, Result, Tensor, bail};

/// All values in double precision, row by row.
pub fn values(x: &Tensor) -> Result<Vec<f64>> {
    // On the CPU: not every device has f64.
    let x = x.detach().flatten_all()?.to_device(&Device::Cpu)?;
    x.to_dtype(DType::F64)?.to_vec1()
}

/// The values of a batch [N, C, …], plane by plane.
pub struct Planes {
    values: Vec<f64>,
    pub images: usize,
    pub channels: usize,
    pub size: usize,
}

impl Planes {
    /// # Errors
    /// If `x` has no channels.
    pub fn of(x: &Tensor) -> Result<Self> {
        let &[images, channels, ref rest @ ..] = x.dims() else {
            bail!("expected [N, C, ..], not {:?}", x.dims());
        };
        Ok(Self {
            size: rest.iter().product(),
            values: values(x)?,
            images,
            channels,
        })
    }

    /// The values of a channel of an image.
    pub fn plane(&self, image: usize, channel: usize) -> &[f64] {
        &self.values[(image * self.channels + channel) * self.size..][..self.size]
    }
}

/// Sums over the values of each channel.
#[derive(Default)]
pub struct Moments {
    /// Values in a channel.
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Adds a batch [N, C, …].
    ///
    /// # Errors
    /// If `x` has no channels.
    pub fn add(&mut self, x: &Tensor) -> Result<()> {
        self.add_planes(&Planes::of(x)?);
        Ok(())
    }

    /// As [`Moments::add`].
    pub fn add_planes(&mut self, planes: &Planes) {
        self.sums.resize(planes.channels, 0.0);
        self.squares.resize(planes.channels, 0.0);
        for image in 0..planes.images {
            for channel in 0..planes.channels {
                for value in planes.plane(image, channel) {
                    self.sums[channel] += value;
                    self.squares[channel] += value * value;
                }
            }
        }
        self.count += (planes.images * planes.size) as f64;
    }

    /// The mean of each channel.
    pub fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count).collect()
    }

    /// The unbiased variance of each channel.
    pub fn variances(&self) -> Vec<f64> {
        let pairs = self.sums.iter().zip(&self.squares);
        let variance = |(sum, square): (&f64, &f64)| {
            let squares = square - sum * sum / self.count;
            (squares / (self.count - 1.0).max(1.0)).max(0.0)
        };
        pairs.map(variance).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_each_channel() -> Result<()> {
        let x = Tensor::new(
            &[[[1f32, 2.0], [5.0, 5.0]], [[3.0, 6.0], [5.0, 5.0]]],
            &Device::Cpu,
        )?;
        let mut moments = Moments::default();
        moments.add(&x.narrow(0, 0, 1)?)?;
        moments.add(&x.narrow(0, 1, 1)?)?;
        assert_eq!(moments.means(), [3.0, 5.0]);
        // (4 + 1 + 0 + 9) / 3
        assert_eq!(moments.variances(), [14.0 / 3.0, 0.0]);
        Ok(())
    }
}
