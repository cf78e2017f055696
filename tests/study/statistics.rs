//! Statistics equal SciPy's and statsmodels' (tests/reference/study_statistics.py).

use candle_mish::study::statistics::{
    BlockDifference, Interval, RankTest, Summary, TTest, bca, bca_of, block_difference, cohens_d,
    detectable_difference, detectable_paired_difference, friedman, holm, mann_whitney, mean,
    median_interval, paired_t_test, probability_of_superiority, welch_t_test, wilcoxon,
};
use serde_json::Value;

/// The relative tolerance against the references.
const TOLERANCE: f64 = 1e-9;

fn reference(part: &str) -> Vec<Value> {
    let text = include_str!("../reference/study_statistics.json");
    let all: Value = serde_json::from_str(text).expect("JSON");
    all[part].as_array().expect("cases").clone()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("a number: {value}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("numbers");
    values.iter().map(number).collect()
}

#[track_caller]
fn close(ours: f64, theirs: &Value) {
    let theirs = number(theirs);
    let bound = TOLERANCE * theirs.abs().max(1e-3);
    assert!((ours - theirs).abs() <= bound, "{ours} instead of {theirs}");
}

#[track_caller]
fn close_interval(ours: Interval, theirs: &Value) {
    close(ours.low, &theirs["low"]);
    close(ours.high, &theirs["high"]);
}

#[track_caller]
fn close_t_test(ours: TTest, theirs: &Value) {
    close(ours.t, &theirs["t"]);
    close(ours.df, &theirs["df"]);
    close(ours.p, &theirs["p"]);
    close_interval(ours.ci95, &theirs["ci95"]);
}

#[test]
fn summaries_equal_scipy() {
    for case in reference("samples") {
        let values = numbers(&case["values"]);
        let summary = Summary::of(&values).expect("values");
        assert_eq!(summary.n, values.len());
        close(summary.mean, &case["mean"]);
        close(summary.std.expect("two values"), &case["std"]);
        close(summary.sem.expect("two values"), &case["sem"]);
        close(summary.median, &case["median"]);
        close_interval(summary.ci95.expect("two values"), &case["ci95"]);
        match median_interval(&values) {
            Some(interval) => close_interval(interval, &case["median_ci95"]),
            None => assert!(case["median_ci95"].is_null(), "{case}"),
        }
    }
}

#[test]
fn bca_intervals_equal_scipy_given_its_resamples() {
    let mut checked = 0;
    for case in reference("samples") {
        if case["bootstrap"].is_null() {
            continue;
        }
        let values = numbers(&case["values"]);
        // The rule of the reference.
        let index = |i: u64| (i * 2_654_435_761 % (1 << 32)) >> 16;
        let value = |i: u64| values[index(i) as usize % values.len()];
        let n = values.len() as u64;
        let resampled: Vec<f64> = (0..999)
            .map(|row| mean(&(row * n..(row + 1) * n).map(value).collect::<Vec<f64>>()))
            .collect();
        let interval = bca_of(&values, mean, &resampled).expect("an interval");
        close_interval(interval, &case["bootstrap"]);
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[test]
fn tests_of_two_samples_equal_scipy_and_statsmodels() {
    for case in reference("pairs") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        close_t_test(welch_t_test(&a, &b).expect("a test"), &case["welch"]);
        let RankTest { statistic, p, .. } = mann_whitney(&a, &b).expect("a test");
        close(statistic, &case["mann_whitney"]["statistic"]);
        close(p, &case["mann_whitney"]["p"]);
        let d = cohens_d(&a, &b).expect("an effect");
        close(d.d, &case["cohens_d"]["d"]);
        close_interval(d.ci95, &case["cohens_d"]);
        let superiority = probability_of_superiority(&a, &b).expect("pairs");
        close(superiority, &case["superiority"]);
        let detectable = detectable_difference(&a, &b).expect("a difference");
        close(detectable, &case["detectable"]);
        if case["paired"].is_null() {
            assert_eq!(paired_t_test(&a, &b), None);
            continue;
        }
        close_t_test(paired_t_test(&a, &b).expect("a test"), &case["paired"]);
        let signed = wilcoxon(&a, &b).expect("a test");
        close(signed.statistic, &case["wilcoxon"]["statistic"]);
        close(signed.p, &case["wilcoxon"]["p"]);
        assert_eq!(Value::Bool(signed.exact), case["wilcoxon"]["exact"]);
        let detectable = detectable_paired_difference(&a, &b).expect("a difference");
        if !case["detectable_paired"].is_null() {
            close(detectable, &case["detectable_paired"]);
        }
    }
}

#[test]
fn holm_equals_statsmodels() {
    for case in reference("holm") {
        let adjusted = holm(&numbers(&case["p"]));
        let theirs = case["adjusted"].as_array().expect("values");
        assert_eq!(adjusted.len(), theirs.len());
        for (ours, theirs) in adjusted.iter().zip(theirs) {
            close(*ours, theirs);
        }
    }
    assert_eq!(holm(&[]), Vec::<f64>::new());
}

#[test]
fn comparisons_over_blocks_equal_scipy_and_statsmodels() {
    for case in reference("friedman") {
        let blocks: Vec<Vec<f64>> = case["values"]
            .as_array()
            .expect("blocks")
            .iter()
            .map(numbers)
            .collect();
        let found = friedman(&blocks).expect("a test");
        close(found.chi_squared, &case["chi_squared"]);
        close(found.p, &case["p"]);
        close(found.critical_difference, &case["critical_difference"]);
        for (i, rank) in found.mean_ranks.iter().enumerate() {
            close(*rank, &case["mean_ranks"][i]);
            for (j, p) in found.pairwise_p[i].iter().enumerate() {
                close(*p, &case["pairwise_p"][i][j]);
            }
        }
    }
    for case in reference("linear") {
        let blocks = case["blocks"].as_array().expect("blocks");
        let blocks: Vec<_> = blocks
            .iter()
            .map(|block| (numbers(&block["a"]), numbers(&block["b"])))
            .collect();
        let blocks: Vec<_> = blocks
            .iter()
            .map(|(a, b)| BlockDifference { a, b })
            .collect();
        let found = block_difference(&blocks).expect("a model");
        close(found.difference, &case["difference"]);
        close_t_test(found, &case);
    }
}

#[test]
fn figures_that_are_not_defined_are_none() {
    let (one, equal): (&[f64], &[f64]) = (&[60.0], &[60.0, 60.0]);
    assert_eq!(Summary::of(&[]), None);
    let single = Summary::of(one).expect("a value");
    assert_eq!((single.std, single.ci95, single.bca95), (None, None, None));
    assert_eq!(welch_t_test(one, equal), None);
    assert_eq!(welch_t_test(equal, equal), None);
    assert_eq!(paired_t_test(equal, equal), None);
    assert_eq!(cohens_d(equal, equal), None);
    assert_eq!(mann_whitney(&[], one), None);
    assert_eq!(wilcoxon(equal, equal), None);
    assert_eq!(probability_of_superiority(&[], one), None);
    assert_eq!(bca(equal, mean), None);
    assert_eq!(friedman(&[vec![1.0, 2.0]]), None);
    assert_eq!(friedman(&[vec![1.0, 1.0, 1.0], vec![2.0, 2.0, 2.0]]), None);
    assert_eq!(block_difference(&[]), None);
    assert_eq!(detectable_difference(one, one), None);
    assert_eq!(detectable_difference(equal, equal), None);
    assert_eq!(detectable_paired_difference(equal, equal), None);
    assert_eq!(cohens_d(&[f64::NAN, 1.0], &[1.0, 2.0]), None);
    assert_eq!(cohens_d(&[f64::INFINITY, 1.0], &[1.0, 2.0]), None);
}

/// Accuracies have four decimals, so that equal differences of them are common and differ by rounding.
#[test]
fn equal_differences_of_blocks_have_no_test() {
    let mut unequal = 0;
    for i in 0..1000 {
        let at = |thousandths: i32| f64::from(thousandths) / 1000.0;
        let (a, b) = (at(392 + i % 37), at(360 + i % 37));
        let (c, d) = (at(424 + i % 91), at(392 + i % 91));
        let blocks = [
            BlockDifference { a: &[a], b: &[b] },
            BlockDifference { a: &[c], b: &[d] },
        ];
        assert_eq!(block_difference(&blocks), None, "{a} {b} {c} {d}");
        unequal += u32::from(a - b != c - d);
    }
    assert!(unequal > 100, "{unequal} differences have rounding");
}

#[test]
fn bca_intervals_repeat_and_hold_the_mean() {
    let values = [60.1, 60.7, 60.2, 61.0, 60.4];
    let interval = bca(&values, mean).expect("an interval");
    assert_eq!(Some(interval), bca(&values, mean));
    assert!(interval.contains(mean(&values)), "{interval:?}");
}

#[test]
fn a_difference_of_the_detectable_size_is_found_in_four_of_five_repetitions() {
    use rand::{Rng, SeedableRng};
    // Uniform values of standard deviation 1 are close enough to normal for means of five.
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(0);
    let mut sample = |shift: f64| -> Vec<f64> {
        let half = 3f64.sqrt();
        (0..5)
            .map(|_| shift + random.random_range(-half..half))
            .collect()
    };
    // By noncentral t: the difference of two samples of 5 with standard deviation 1.
    let shift = 2.024_439_2;
    let found = (0..2000).filter(|_| {
        let (a, b) = (sample(shift), sample(0.0));
        welch_t_test(&a, &b).is_some_and(|test| test.p < 0.05)
    });
    let share = found.count() as f64 / 2000.0;
    assert!((0.74..0.86).contains(&share), "{share}");
}

/// The mean of equal numbers may differ from them in the last bit.
#[test]
fn samples_without_spread_have_no_test() {
    for (a, b) in [
        ([0.1; 3], [0.9; 3]),
        ([0.3; 3], [0.7; 3]),
        ([0.1135; 3], [0.1; 3]),
    ] {
        assert_eq!(welch_t_test(&a, &b), None);
        assert_eq!(paired_t_test(&a, &b), None);
        assert_eq!(cohens_d(&a, &b), None);
    }
    // Differences that only rounding tells apart.
    for (a, b) in [
        ([0.563, 0.581], [0.553, 0.571]),
        ([0.55, 0.57], [0.56, 0.58]),
    ] {
        assert_eq!(paired_t_test(&a, &b), None);
        assert!(welch_t_test(&a, &b).is_some());
    }
    assert!(welch_t_test(&[0.1; 3], &[0.1, 0.2, 0.3]).is_some());
    // An effect far beyond the precision of its interval still has an end.
    let far = cohens_d(&[1.0, 1.0 + 4.0 * f64::EPSILON], &[0.0, f64::EPSILON]);
    assert!(far.is_some_and(|found| found.d > 1e14));
}

#[test]
fn the_median_of_many_values_has_an_interval() {
    let values: Vec<f64> = (0..2000).map(f64::from).collect();
    let interval = median_interval(&values).expect("an interval");
    // scipy.stats.binom.ppf(0.025, 2000, 0.5) is 956.
    assert_eq!((interval.low, interval.high), (955.0, 1044.0));
}
