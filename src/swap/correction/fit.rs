//! Least squares for a function with a few parameters, by Levenberg and Marquardt's method.

/// Steps at most. The functions are smooth and the start is close.
const STEPS: usize = 40;
/// The damping at which no step reduces the error any more.
const LARGEST_DAMPING: f64 = 1e8;

/// The parameters that minimise the sum of squares of `residuals`, starting from `start`.
/// `residuals` appends the residual of each sample for some parameters, or returns `false` if they are
/// not valid.
pub fn least_squares(start: &[f64], residuals: &dyn Fn(&[f64], &mut Vec<f64>) -> bool) -> Vec<f64> {
    let count = start.len();
    let mut best = start.to_vec();
    let at = |parameters: &[f64]| {
        let mut values = Vec::new();
        let valid = residuals(parameters, &mut values);
        let error: f64 = values.iter().map(|r| r * r).sum();
        (valid && error.is_finite()).then_some((values, error))
    };
    let Some((mut values, mut error)) = at(&best) else {
        return best;
    };
    let mut damping = 1e-3;
    for _ in 0..STEPS {
        let Some(jacobian) = jacobian(&best, &at) else {
            return best;
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let slopes: Vec<f64> = jacobian.iter().map(|column| dot(column, &values)).collect();
        let mut improved = false;
        while damping < LARGEST_DAMPING {
            let entry = |(i, j): (usize, usize)| {
                let entry = dot(&jacobian[i], &jacobian[j]);
                // A direction without effect stays as it is.
                if i == j {
                    entry * (1.0 + damping) + f64::MIN_POSITIVE
                } else {
                    entry
                }
            };
            let matrix = (0..count).map(|i| (0..count).map(|j| entry((i, j))).collect());
            let step = solve(matrix.collect(), slopes.clone());
            let next = best.iter().zip(&step).map(|(value, step)| value - step);
            let next: Vec<f64> = next.collect();
            if let Some((next_values, next_error)) = at(&next)
                && next_error < error
            {
                improved = (error - next_error) > 1e-9 * error;
                (best, values, error) = (next, next_values, next_error);
                damping /= 10.0;
                break;
            }
            damping *= 10.0;
        }
        if !improved {
            break;
        }
    }
    best
}

/// The residuals for some parameters, and the sum of their squares.
type Evaluation = (Vec<f64>, f64);

/// The derivatives of the residuals with respect to each parameter, by central differences.
fn jacobian(
    parameters: &[f64],
    at: &dyn Fn(&[f64]) -> Option<Evaluation>,
) -> Option<Vec<Vec<f64>>> {
    let column = |index: usize| {
        let step = 1e-5 * parameters[index].abs().max(1.0);
        let moved = |by: f64| {
            let mut moved = parameters.to_vec();
            moved[index] += by;
            Some(at(&moved)?.0)
        };
        let (above, below) = (moved(step)?, moved(-step)?);
        let slopes = above.iter().zip(&below);
        Some(
            slopes
                .map(|(above, below)| (above - below) / (2.0 * step))
                .collect(),
        )
    };
    (0..parameters.len()).map(column).collect()
}

/// The solution of a system of linear equations, by Gauss's elimination with pivots. An unknown that
/// nothing determines is 0.
pub fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let count = right.len();
    for column in 0..count {
        let pivot = (column..count).max_by(|a, b| {
            let size = |row: usize| matrix[row][column].abs();
            size(*a).total_cmp(&size(*b))
        });
        let pivot = pivot.unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (head, tail) = matrix.split_at_mut(column + 1);
        let own = &head[column];
        if own[column] == 0.0 {
            continue;
        }
        for (row, below) in tail.iter_mut().enumerate() {
            let factor = below[column] / own[column];
            for (value, own) in below.iter_mut().zip(own).skip(column) {
                *value -= factor * own;
            }
            right[column + 1 + row] -= factor * right[column];
        }
    }
    let mut solution = vec![0.0; count];
    for row in (0..count).rev() {
        let known: f64 = (row + 1..count).map(|j| matrix[row][j] * solution[j]).sum();
        let pivot = matrix[row][row];
        let value = (right[row] - known) / pivot;
        solution[row] = if pivot == 0.0 || !value.is_finite() {
            0.0
        } else {
            value
        };
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved_with_pivots() {
        let matrix = vec![
            vec![0.0, 2.0, 1.0],
            vec![1.0, 1.0, 0.0],
            vec![3.0, 0.0, 4.0],
        ];
        let solution = solve(matrix, vec![7.0, 3.0, 15.0]);
        for (found, expected) in solution.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-12, "{solution:?}");
        }
        assert_eq!(solve(vec![vec![0.0]], vec![1.0]), [0.0]);
    }

    #[test]
    fn the_parameters_of_a_curve_are_found() {
        let samples: Vec<f64> = (-20..20).map(|i| f64::from(i) / 5.0).collect();
        let curve = |x: f64, p: &[f64]| p[0] * (p[1] * x + p[2]).tanh();
        let wanted = [1.5, 0.7, -0.3];
        let residuals = |p: &[f64], out: &mut Vec<f64>| {
            out.extend(samples.iter().map(|x| curve(*x, p) - curve(*x, &wanted)));
            p[1] > 0.0
        };
        let found = least_squares(&[1.0, 1.0, 0.0], &residuals);
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
        }
        // A start that is not valid stays.
        assert_eq!(
            least_squares(&[1.0, -1.0, 0.0], &residuals),
            [1.0, -1.0, 0.0]
        );
    }
}
