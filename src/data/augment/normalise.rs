//! The conversion of bytes to normalised floats.

/// The mean and standard deviation of each of `channels` channels. A single channel, which is grey,
/// has the averages over the colours.
pub(crate) fn channel_moments(mean: [f32; 3], std: [f32; 3], channels: usize) -> Vec<(f32, f32)> {
    let average = |values: [f32; 3]| values.iter().sum::<f32>() / 3.0;
    match channels {
        1 => vec![(average(mean), average(std))],
        _ => mean.into_iter().zip(std).collect(),
    }
}

/// Converts bytes to normalised floats with a table for each channel.
#[derive(Debug, Clone)]
pub(in crate::data) struct Normaliser {
    /// A table for each channel.
    tables: Vec<[f32; 256]>,
}

impl Normaliser {
    /// Maps byte `b` of channel `c` to `(b / 255 - mean[c]) / std[c]`, with the
    /// [`channel_moments`].
    pub(in crate::data) fn new(mean: [f32; 3], std: [f32; 3], channels: usize) -> Self {
        let table = |(mean, std): (f32, f32)| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
        };
        let moments = channel_moments(mean, std, channels);
        Self {
            tables: moments.into_iter().map(table).collect(),
        }
    }

    /// Normalises `image` into `out`, both `[channels, height, width]`.
    pub(in crate::data) fn apply(&self, image: &[u8], out: &mut [f32]) {
        let plane = image.len() / self.tables.len();
        if plane == 0 {
            return;
        }
        let planes = image.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((source, target), table) in planes.zip(self.tables.iter()) {
            for (value, &byte) in target.iter_mut().zip(source) {
                *value = table[usize::from(byte)];
            }
        }
    }
}
