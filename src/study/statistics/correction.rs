//! Correction of p-values for the number of comparisons.

/// p-values adjusted by Holm's step-down method (Holm, 1979), in the order of `p`. The family-wise
/// error rate of rejecting values of at most 0.05 is 5 %.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(p[i] * (p.len() - rank) as f64);
        adjusted[i] = largest.min(1.0);
    }
    adjusted
}
