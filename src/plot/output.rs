//! The output of a small random network over its two inputs.

use candle_core::{Device, Result, Tensor};
use rand::Rng;

use super::colours::colour;
use crate::activation::Activation;
use crate::data::{DataError, Image};
use crate::rng::Generator;

/// Units of each layer: two coordinates in, one value out.
const WIDTHS: [usize; 5] = [2, 64, 32, 16, 1];
/// The inputs are between 0 and this number.
const EXTENT: f64 = 10.0;

/// The output of a random network 2-64-32-16-1 over [0, 10]^2, with the activation after each layer:
/// the output landscapes of Misra, "Mish" (2019, arXiv:1908.08681), figure 2. The paper computes 400 x
/// 400 points.
///
/// Weights and biases are uniform in ±1/sqrt(fan-in), the default of PyTorch's `Linear`. The same seed
/// gives the same weights for every activation.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputLandscape {
    /// Points on a side.
    size: usize,
    /// Rows from y = 0 up, each from x = 0 on.
    values: Vec<f64>,
}

impl OutputLandscape {
    /// Computes `size` x `size` points, at least 2 x 2.
    ///
    /// # Errors
    /// If a tensor cannot be allocated.
    pub fn new(activation: &Activation, seed: u64, size: usize) -> Result<Self> {
        let size = size.max(2);
        let random = Generator::named(seed, "output landscape");
        let mut random = random.lock();
        let coordinate = |i: usize| EXTENT * i as f64 / (size - 1) as f64;
        let points = (0..size * size).flat_map(|i| [coordinate(i % size), coordinate(i / size)]);
        let points: Vec<f64> = points.collect();
        let mut values = Tensor::from_vec(points, (size * size, 2), &Device::Cpu)?;
        for pair in WIDTHS.windows(2) {
            let (inputs, outputs) = (pair[0], pair[1]);
            let bound = (inputs as f64).sqrt().recip();
            let mut uniform = |count: usize| -> Vec<f64> {
                let draw = |_| bound * (2.0 * random.random::<f64>() - 1.0);
                (0..count).map(draw).collect()
            };
            let weight =
                Tensor::from_vec(uniform(inputs * outputs), (outputs, inputs), &Device::Cpu)?;
            let bias = Tensor::from_vec(uniform(outputs), outputs, &Device::Cpu)?;
            let z = values.matmul(&weight.t()?)?.broadcast_add(&bias)?;
            let applied = z.flatten_all()?.to_vec1::<f64>()?;
            let applied: Vec<f64> = applied.into_iter().map(|z| activation.value(z)).collect();
            values = Tensor::from_vec(applied, z.shape(), &Device::Cpu)?;
        }
        Ok(Self {
            size,
            values: values.flatten_all()?.to_vec1()?,
        })
    }

    /// The values: rows from y = 0 up, each from x = 0 on.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The smallest and the largest value.
    pub fn range(&self) -> (f64, f64) {
        let values = self.values.iter();
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
    }

    /// Landscapes next to each other as a PNG file, y upwards. Each has the full range of colours for
    /// its own values.
    ///
    /// # Errors
    /// If the image cannot be encoded.
    pub fn png(landscapes: &[Self]) -> std::result::Result<Vec<u8>, DataError> {
        const GAP: usize = 8;
        let height = landscapes.iter().map(|one| one.size).max().unwrap_or(1);
        let widths = landscapes.iter().map(|one| one.size + GAP).sum::<usize>();
        let width = widths.saturating_sub(GAP).max(1);
        let mut pixels = vec![255; 3 * height * width];
        let mut left = 0;
        for landscape in landscapes {
            let (low, high) = landscape.range();
            let extent = if high > low { high - low } else { 1.0 };
            for (i, value) in landscape.values.iter().enumerate() {
                let (column, row) = (i % landscape.size, landscape.size - 1 - i / landscape.size);
                for (channel, byte) in colour((value - low) / extent).into_iter().enumerate() {
                    pixels[(channel * height + row) * width + left + column] = byte;
                }
            }
            left += landscape.size + GAP;
        }
        Image::new(pixels, height, width)?.to_png()
    }

    /// The values as x, y, value, in the order of [`OutputLandscape::values`].
    pub fn rows(&self) -> impl Iterator<Item = [f64; 3]> + '_ {
        let coordinate = |i: usize| EXTENT * i as f64 / (self.size - 1) as f64;
        let values = self.values.iter().enumerate();
        values.map(move |(i, value)| [coordinate(i % self.size), coordinate(i / self.size), *value])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landscape(activation: Activation, seed: u64) -> OutputLandscape {
        OutputLandscape::new(&activation, seed, 11).expect("a landscape")
    }

    #[test]
    fn the_identity_gives_a_plane() {
        let plane = landscape(Activation::Identity, 0);
        let values: Vec<[f64; 3]> = plane.rows().collect();
        assert_eq!((values[0][0], values[0][1]), (0.0, 0.0));
        assert_eq!((values[12][0], values[12][1]), (1.0, 1.0));
        let (origin, x, y) = (values[0][2], values[1][2], values[11][2]);
        for [a, b, value] in values {
            let expected = origin + a * (x - origin) + b * (y - origin);
            assert!((value - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn weights_depend_on_the_seed_alone() {
        assert_eq!(
            landscape(Activation::Mish, 3),
            landscape(Activation::Mish, 3)
        );
        assert_ne!(
            landscape(Activation::Mish, 3),
            landscape(Activation::Mish, 4)
        );
        // The last layer has an activation too.
        assert!(landscape(Activation::Relu, 3).range().0 >= 0.0);
        assert!(landscape(Activation::Sigmoid, 3).range().1 < 1.0);
    }

    #[test]
    fn landscapes_are_next_to_each_other() {
        let landscapes = [
            landscape(Activation::Mish, 0),
            landscape(Activation::Relu, 0),
        ];
        let png = OutputLandscape::png(&landscapes).expect("a file");
        assert_eq!(&png[1..4], b"PNG");
        let size = |at: usize| u32::from_be_bytes([png[at], png[at + 1], png[at + 2], png[at + 3]]);
        assert_eq!((size(16), size(20)), (11 + 8 + 11, 11));
    }
}
