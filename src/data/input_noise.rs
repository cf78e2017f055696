//! Gaussian noise on normalised images.

use rand_distr::StandardNormal;

use super::random::Draw;

/// Adds a normal value with standard deviation `std` to each value of an image.
pub(super) fn add_noise(image: &mut [f32], std: f64, draw: &mut Draw) {
    for value in image {
        let normal: f32 = draw.sample(&StandardNormal);
        *value += std as f32 * normal;
    }
}

#[cfg(test)]
mod tests {
    use super::add_noise;
    use crate::data::random::Draw;

    #[test]
    fn noise_has_the_mean_and_deviation_asked_for() {
        for std in [0.5, 8.0] {
            let mut image = vec![1.0f32; 40_000];
            add_noise(&mut image, std, &mut Draw::named(&[3], "noise"));
            let count = image.len() as f64;
            let mean = image.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
            let squares = image.iter().map(|x| (f64::from(*x) - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count).sqrt();
            assert!((mean - 1.0).abs() < 0.02 * std, "{std}: {mean}");
            assert!((deviation / std - 1.0).abs() < 0.02, "{std}: {deviation}");
        }
    }
}
