//! Distribution functions.

use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc;
use statrs::function::gamma::{gamma_ur, ln_gamma};

use super::quadrature::{simpson, solve};

/// P(Z <= z) of the standard normal distribution.
pub(super) fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// The quantile `p` of the standard normal distribution, with p in (0, 1).
pub(super) fn normal_quantile(p: f64) -> f64 {
    solve(p, -1.0, 1.0, normal_cdf)
}

fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// P(|T| >= |t|) of Student's t distribution with `df` degrees of freedom.
pub(super) fn t_two_sided(t: f64, df: f64) -> f64 {
    beta_reg(0.5 * df, 0.5, df / (df + t * t))
}

/// The t with P(|T| >= t) = `p`.
pub(super) fn t_two_sided_quantile(p: f64, df: f64) -> f64 {
    solve(-p, 0.0, 4.0, |t| -t_two_sided(t, df))
}

/// P(X >= x) of the chi-squared distribution.
pub(super) fn chi_squared_tail(x: f64, df: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    gamma_ur(0.5 * df, 0.5 * x)
}

/// P(T <= t) of the noncentral t distribution with noncentrality `delta`.
///
/// T = (Z + delta) / S for standard normal Z, and S squared times `df` chi-squared. The integral runs
/// over S: P(T <= t | S = s) = P(Z <= t s - delta).
pub(super) fn noncentral_t_cdf(t: f64, df: f64, delta: f64) -> f64 {
    // Resolves steps of P(Z <= t s - delta) up to |t| of about 100.
    const PAIRS: usize = 8000;
    // S has a standard deviation below 1 / sqrt(2 df). Beyond 13 of them its density is below 1e-18.
    let width = 13.0 / (2.0 * df).sqrt();
    let (low, high) = ((1.0 - width).max(0.0), 1.0 + width);
    let log_constant = std::f64::consts::LN_2 + 0.5 * df * (0.5 * df).ln() - ln_gamma(0.5 * df);
    let density = |s: f64| {
        if s <= 0.0 {
            // The density at 0 is positive for one degree of freedom only.
            return if df > 1.0 { 0.0 } else { log_constant.exp() };
        }
        (log_constant + (df - 1.0) * s.ln() - 0.5 * df * s * s).exp()
    };
    simpson(low, high, PAIRS, |s| density(s) * normal_cdf(t * s - delta))
}

/// P(Q <= q) of the range of `k` standard normal values: the studentized range with infinitely many
/// degrees of freedom.
pub(super) fn range_cdf(q: f64, k: usize) -> f64 {
    const PAIRS: usize = 2000;
    if q <= 0.0 {
        return 0.0;
    }
    let power = i32::try_from(k).unwrap_or(i32::MAX) - 1;
    // The largest value is at z, the others are at most q below it.
    let others = |z: f64| (normal_cdf(z) - normal_cdf(z - q)).powi(power);
    k as f64 * simpson(-9.0, 9.0, PAIRS, |z| normal_density(z) * others(z))
}

/// The q with P(Q <= q) = `p`.
pub(super) fn range_quantile(p: f64, k: usize) -> f64 {
    solve(p, 0.0, 8.0, |q| range_cdf(q, k))
}
