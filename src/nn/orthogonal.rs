//! Orthonormal bases by Gram-Schmidt, in blocks of columns.

use candle_core::{Result, Tensor};

/// Columns of a block. Blocks are orthogonalised against each other by products of matrices, columns
/// within a block one by one.
const BLOCK: usize = 32;

/// The matrix Q of the QR decomposition of `matrix` [M, N] with M >= N and a positive diagonal of
/// R. Its columns are orthonormal. If the entries of `matrix` are standard normal, Q is
/// uniformly distributed (Mezzadri, "How to generate random matrices from the classical compact
/// groups", 2007).
///
/// # Errors
/// If a product fails.
pub(super) fn orthonormal_columns(matrix: &Tensor) -> Result<Tensor> {
    let columns = matrix.dim(1)?;
    // Rows are contiguous: the transpose has the columns as rows.
    let rows = matrix.t()?.contiguous()?;
    let mut done: Vec<Tensor> = Vec::new();
    for start in (0..columns).step_by(BLOCK) {
        let count = BLOCK.min(columns - start);
        let mut block = rows.narrow(0, start, count)?;
        // Twice, because the first pass loses digits.
        for _ in 0..2 {
            for basis in &done {
                let shares = block.matmul(&basis.t()?)?;
                block = (block - shares.matmul(basis)?)?;
            }
        }
        done.push(within(&block)?);
    }
    Tensor::cat(&done, 0)?.t()
}

/// Orthonormal rows with the same span as the rows of `block`.
fn within(block: &Tensor) -> Result<Tensor> {
    let mut rows = block.to_vec2::<f64>()?;
    for i in 0..rows.len() {
        let (before, rest) = rows.split_at_mut(i);
        let Some(row) = rest.first_mut() else {
            continue;
        };
        for _ in 0..2 {
            for basis in before.iter() {
                let share = dot(row, basis);
                row.iter_mut().zip(basis).for_each(|(x, b)| *x -= share * b);
            }
        }
        let norm = dot(row, row).sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    Tensor::new(rows, block.device())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
