//! Filters that whiten the patches of images.

use candle_core::{DType, Device, Result, Tensor, bail};

/// Added to each variance, as in airbench94: it limits the gain of directions that hardly vary.
const EPS: f64 = 5e-4;

/// Sweeps of Jacobi's method. Ten already leave nothing but rounding.
const SWEEPS: usize = 30;

/// The principal components of the `side` x `side` patches of images [N, C, H, W], as filters
/// [C side², C, side, side] whose outputs are uncorrelated and have a mean square of about one.
///
/// # Errors
/// If there is no patch.
pub(crate) fn patch_whitening(images: &Tensor, side: usize) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    if count == 0 || height < side || width < side {
        bail!(
            "whitening: no patch of {side}x{side} in images {:?}",
            images.dims()
        );
    }
    let images = images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let size = channels * side * side;
    let mut covariance = vec![0.0; size * size];
    let mut patch = vec![0.0; size];
    for index in 0..count {
        let image = images.get(index)?.flatten_all()?.to_vec1::<f32>()?;
        for y in 0..=height - side {
            for x in 0..=width - side {
                for (i, value) in patch.iter_mut().enumerate() {
                    let (channel, dy, dx) = (i / (side * side), i / side % side, i % side);
                    *value = f64::from(image[(channel * height + y + dy) * width + x + dx]);
                }
                for (row, a) in covariance.chunks_exact_mut(size).zip(&patch) {
                    for (sum, b) in row.iter_mut().zip(&patch) {
                        *sum += a * b;
                    }
                }
            }
        }
    }
    let patches = (count * (height - side + 1) * (width - side + 1)) as f64;
    covariance.iter_mut().for_each(|sum| *sum /= patches);
    let filters = eigenvectors(covariance, size)
        .into_iter()
        .flat_map(|(value, vector)| {
            let factor = (value + EPS).sqrt().recip();
            vector.into_iter().map(move |x| (factor * x) as f32)
        });
    let filters: Vec<f32> = filters.collect();
    Tensor::from_vec(filters, (size, channels, side, side), &Device::Cpu)
}

/// The eigenvalues of a symmetric matrix of `size` rows, the smallest first, and their unit eigenvectors:
/// Jacobi's cyclic method (Golub and Van Loan, Matrix Computations, section 8.5).
fn eigenvectors(mut matrix: Vec<f64>, size: usize) -> Vec<(f64, Vec<f64>)> {
    // Row i becomes the eigenvector of the diagonal element i.
    let mut vectors = vec![0.0; size * size];
    for i in 0..size {
        vectors[i * size + i] = 1.0;
    }
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                let off_diagonal = matrix[p * size + q];
                if off_diagonal == 0.0 {
                    continue;
                }
                let theta = (matrix[q * size + q] - matrix[p * size + p]) / (2.0 * off_diagonal);
                let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                let sine = tangent * cosine;
                for k in 0..size {
                    rotate(&mut matrix, (k * size + p, k * size + q), cosine, sine);
                }
                for k in 0..size {
                    rotate(&mut matrix, (p * size + k, q * size + k), cosine, sine);
                    rotate(&mut vectors, (p * size + k, q * size + k), cosine, sine);
                }
                matrix[p * size + q] = 0.0;
                matrix[q * size + p] = 0.0;
            }
        }
    }
    let vectors = vectors.chunks_exact(size).enumerate();
    let mut found: Vec<_> = vectors
        .map(|(i, vector)| (matrix[i * size + i], vector.to_vec()))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

fn rotate(values: &mut [f64], (p, q): (usize, usize), cosine: f64, sine: f64) {
    let (a, b) = (values[p], values[q]);
    values[p] = cosine * a - sine * b;
    values[q] = sine * a + cosine * b;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_diagonalise() {
        // Eigenvalues 2 - sqrt(2), 2 and 2 + sqrt(2).
        let matrix = vec![2.0, -1.0, 0.0, -1.0, 2.0, -1.0, 0.0, -1.0, 2.0];
        let found = eigenvectors(matrix.clone(), 3);
        let root = 2f64.sqrt();
        for ((value, vector), want) in found.iter().zip([2.0 - root, 2.0, 2.0 + root]) {
            assert!((value - want).abs() < 1e-14, "{value} {want}");
            for (row, x) in matrix.chunks_exact(3).zip(vector) {
                let product: f64 = row.iter().zip(vector).map(|(a, b)| a * b).sum();
                assert!((product - value * x).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn whitened_patches_are_uncorrelated() -> Result<()> {
        // Neighbours and channels that resemble each other.
        let noise = Tensor::rand(-1f32, 1f32, (40, 3, 9, 9), &Device::Cpu)?;
        let shared = noise.narrow(1, 0, 1)?.broadcast_as(noise.shape())?;
        let images = (noise.narrow(3, 0, 8)? + (shared.narrow(3, 1, 8)? * 2.0)?)?;
        let filters = patch_whitening(&images, 2)?;
        assert_eq!(filters.dims(), [12, 3, 2, 2]);
        let outputs = images.conv2d(&filters, 0, 1, 1, 1)?;
        let outputs = outputs.transpose(0, 1)?.flatten_from(1)?.contiguous()?;
        let count = outputs.dim(1)? as f64;
        let correlations = (outputs.matmul(&outputs.t()?)? / count)?.to_vec2::<f32>()?;
        for (i, row) in correlations.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                let want = if i == j { 1.0 } else { 0.0 };
                assert!((value - want).abs() < 0.01, "{i} {j}: {value}");
            }
        }
        assert!(patch_whitening(&images, 10).is_err());
        Ok(())
    }
}
