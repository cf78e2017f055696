//! The largest eigenvalues of a symmetric matrix that is known by its products with vectors.

use candle_core::Result;
use rand::Rng;
use rand_distr::StandardNormal;
use serde::Serialize;

use crate::rng::Generator;

/// An approximate eigenvalue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Eigenvalue {
    /// The approximation.
    pub value: f64,
    /// The norm of `A v - value v` for its approximate unit eigenvector v: an eigenvalue is at most
    /// this far away.
    pub residual: f64,
}

/// When [`lanczos`] ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LanczosOptions {
    /// Eigenvalues to find.
    pub count: usize,
    /// Products at most, at least 1.
    pub products: usize,
    /// It ends once all residuals are at most this share of the largest magnitude.
    pub tolerance: f64,
    /// Determines the first vector.
    pub seed: u64,
}

/// The `count` largest eigenvalues of a symmetric matrix of `size` rows, in decreasing order, from its
/// products with vectors: the Lanczos method with complete orthogonalisation (Parlett, The Symmetric
/// Eigenvalue Problem, 1998). An eigenvalue that occurs several times is found once. It keeps a vector
/// for each product.
///
/// # Errors
/// The errors of `product`, or a product that is not finite.
pub fn lanczos(
    size: usize,
    options: &LanczosOptions,
    mut product: impl FnMut(&[f64]) -> Result<Vec<f64>>,
) -> Result<Vec<Eigenvalue>> {
    let random = Generator::named(options.seed, "lanczos");
    let mut random = random.lock();
    let mut vector: Vec<f64> = (0..size).map(|_| random.sample(StandardNormal)).collect();
    let length = norm(&vector);
    scale(&mut vector, length.recip());
    let (mut basis, mut diagonal, mut off_diagonal) = (Vec::new(), Vec::new(), Vec::new());
    let steps = options.products.clamp(1, size.max(1));
    loop {
        let mut next = product(&vector)?;
        let along = dot(&next, &vector);
        basis.push(vector);
        diagonal.push(along);
        // Twice is enough to be orthogonal to rounding.
        for _ in 0..2 {
            for known in &basis {
                let along = dot(&next, known);
                add(&mut next, -along, known);
            }
        }
        let rest = norm(&next);
        if !rest.is_finite() || !along.is_finite() {
            candle_core::bail!("a product of the matrix is not finite");
        }
        let found = largest(&diagonal, &off_diagonal, rest, options.count);
        let magnitude = diagonal
            .iter()
            .chain(&off_diagonal)
            .fold(rest, |m: f64, x| m.max(x.abs()));
        let converged = found.len() == options.count
            && found
                .iter()
                .all(|e| e.residual <= options.tolerance * found[0].value.abs());
        // The vectors so far span a space that the matrix does not leave.
        let complete = rest <= 1e-14 * magnitude;
        if basis.len() == steps || converged || complete {
            return Ok(found);
        }
        off_diagonal.push(rest);
        scale(&mut next, rest.recip());
        vector = next;
    }
}

/// The largest eigenvalues of a tridiagonal matrix. `next` is the off-diagonal element that follows.
fn largest(diagonal: &[f64], off_diagonal: &[f64], next: f64, count: usize) -> Vec<Eigenvalue> {
    let size = diagonal.len();
    let mut matrix = vec![vec![0.0; size]; size];
    for (i, value) in diagonal.iter().enumerate() {
        matrix[i][i] = *value;
    }
    for (i, value) in off_diagonal.iter().enumerate() {
        matrix[i][i + 1] = *value;
        matrix[i + 1][i] = *value;
    }
    let last_components = diagonalise(&mut matrix);
    let mut found: Vec<Eigenvalue> = (0..size)
        .map(|i| Eigenvalue {
            value: matrix[i][i],
            residual: (next * last_components[i]).abs(),
        })
        .collect();
    found.sort_by(|a, b| b.value.total_cmp(&a.value));
    found.truncate(count);
    found
}

/// Makes a symmetric matrix diagonal by Jacobi's rotations. Returns the last component of each
/// eigenvector.
fn diagonalise(matrix: &mut [Vec<f64>]) -> Vec<f64> {
    /// More sweeps than any matrix needs: the rest falls quadratically.
    const SWEEPS: usize = 60;
    let size = matrix.len();
    let elements = matrix.iter().flatten();
    let negligible = 1e-16 * elements.fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let mut last = vec![0.0; size];
    if let Some(component) = last.last_mut() {
        *component = 1.0;
    }
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..size {
            for q in p + 1..size {
                let element = matrix[p][q];
                if element.abs() <= negligible {
                    continue;
                }
                rotated = true;
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * element);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cos = t.hypot(1.0).recip();
                let sin = t * cos;
                for row in matrix.iter_mut() {
                    (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                }
                let rows = matrix[p].iter().zip(&matrix[q]);
                let (row_p, row_q) = rows
                    .map(|(a, b)| (cos * a - sin * b, sin * a + cos * b))
                    .unzip();
                (matrix[p], matrix[q]) = (row_p, row_q);
                (last[p], last[q]) = (cos * last[p] - sin * last[q], sin * last[p] + cos * last[q]);
            }
        }
        if !rotated {
            break;
        }
    }
    last
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn scale(a: &mut [f64], factor: f64) {
    a.iter_mut().for_each(|value| *value *= factor);
}

fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += factor * b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: LanczosOptions = LanczosOptions {
        count: 3,
        products: 40,
        tolerance: 1e-10,
        seed: 0,
    };

    /// Products with Q D Q, where Q mirrors at a vector and D has the eigenvalues.
    fn mirrored(eigenvalues: &[f64], x: &[f64]) -> Vec<f64> {
        let mirror = |x: &[f64]| {
            let normal: Vec<f64> = (0..x.len()).map(|i| (i as f64 + 1.0).sin()).collect();
            let mut x = x.to_vec();
            let along = dot(&normal, &x) / dot(&normal, &normal);
            add(&mut x, -2.0 * along, &normal);
            x
        };
        let x = mirror(x);
        let scaled: Vec<f64> = x.iter().zip(eigenvalues).map(|(x, e)| x * e).collect();
        mirror(&scaled)
    }

    #[test]
    fn eigenvalues_are_found_from_products() {
        let mut eigenvalues: Vec<f64> = (0..200).map(|i| (f64::from(i) * 0.37).sin()).collect();
        eigenvalues[17] = 9.0;
        eigenvalues[60] = 4.5;
        eigenvalues[61] = 4.0;
        eigenvalues[100] = -7.0;
        let product = |x: &[f64]| Ok(mirrored(&eigenvalues, x));
        let found = lanczos(200, &OPTIONS, product).expect("eigenvalues");
        for (found, expected) in found.iter().zip([9.0, 4.5, 4.0]) {
            assert!((found.value - expected).abs() < 1e-12, "{found:?}");
            assert!(found.residual <= 9e-10, "{found:?}");
        }
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn residuals_bound_the_error_before_it_converges() {
        let eigenvalues: Vec<f64> = (0..100).map(|i| f64::from(i) / 10.0).collect();
        let options = LanczosOptions {
            products: 8,
            ..OPTIONS
        };
        let product = |x: &[f64]| Ok(mirrored(&eigenvalues, x));
        let found = lanczos(100, &options, product).expect("eigenvalues");
        for Eigenvalue { value, residual } in found {
            let nearest = eigenvalues.iter().map(|e| (e - value).abs());
            let nearest = nearest.fold(f64::INFINITY, f64::min);
            assert!(
                nearest <= residual && residual > 1e-6,
                "{value}: {residual}"
            );
        }
    }

    #[test]
    fn a_small_space_ends_early() {
        let product = |x: &[f64]| Ok(x.iter().map(|x| 2.0 * x).collect());
        let found = lanczos(50, &OPTIONS, product).expect("eigenvalues");
        assert_eq!(found.len(), 1, "one eigenvalue, fifty times");
        assert!((found[0].value - 2.0).abs() < 1e-12);
        let error = lanczos(5, &OPTIONS, |x| Ok(vec![f64::NAN; x.len()]));
        assert!(error.is_err());
    }
}
