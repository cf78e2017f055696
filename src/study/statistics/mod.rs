//! Statistics of repeated runs: summaries, tests, effect sizes and comparisons over several networks.
//!
//! A value is the outcome of a run, such as its accuracy. A sample is the values of all seeds with
//! one setting. Two samples are paired if value `i` of both comes from the same seed.
//!
//! Functions return `None` where a figure is not defined: for too few values, or if all values are
//! equal.

mod blocks;
mod bootstrap;
mod correction;
mod distribution;
mod effect;
mod interval;
mod median_interval;
mod moments;
mod power;
mod quadrature;
mod rank_test;
mod summary;
mod t_test;

pub use blocks::{BlockDifference, Friedman, block_difference, friedman};
pub use bootstrap::{BOOTSTRAP_RESAMPLES, bca, bca_of, percentile};
pub use correction::holm;
pub use effect::{CohensD, cohens_d, probability_of_superiority};
pub use interval::Interval;
pub use median_interval::median_interval;
pub use moments::{mean, median, std_dev};
pub use power::{detectable_difference, detectable_paired_difference};
pub use rank_test::{RankTest, mann_whitney, wilcoxon};
pub use summary::Summary;
pub use t_test::{TTest, paired_t_test, welch_t_test};
