//! The range test: its rates, its running mean, and what it suggests.

use candle_mish::train::lr_find::{RangeTest, Sweep};

#[test]
fn a_sweep_multiplies_the_rate_by_the_same_factor() {
    let sweep = Sweep {
        start_lr: 1e-6,
        end_lr: 1.0,
        num_iter: 7,
    };
    for step in 0..7 {
        let expected = 10f64.powi(step as i32 - 6);
        assert!((sweep.lr(step) / expected - 1.0).abs() < 1e-12);
    }
}

/// Losses of a test over `steps` powers of ten, 10 steps for each.
fn test(steps: usize, loss: impl Fn(f64) -> f64) -> RangeTest {
    let mut test = RangeTest::default();
    for step in 0..10 * steps {
        let lr = 1e-8 * 10f64.powf(step as f64 / 10.0);
        if !test.push(lr, loss(lr)) {
            break;
        }
    }
    test
}

#[test]
fn the_running_mean_has_no_bias_at_the_start() {
    let test = test(3, |_| 2.5);
    assert_eq!(test.points.len(), 30);
    for point in &test.points {
        assert!((point.smoothed - 2.5).abs() < 1e-12, "{point:?}");
    }
    // As fastai and Lightning compute it, with a weight of 0.98.
    let mut test = RangeTest::default();
    let mut mean = 0.0;
    for step in 1..=20 {
        let loss = f64::from(step).sin() + 3.0;
        mean = 0.98 * mean + 0.02 * loss;
        test.push(0.1, loss);
        let expected = mean / (1.0 - 0.98_f64.powi(step));
        let found = test.points[step as usize - 1].smoothed;
        assert!((found / expected - 1.0).abs() < 1e-10, "{step}: {found}");
    }
}

/// A loss that falls around a rate of 1e-3 and rises from 1e-1 on.
fn typical(lr: f64) -> f64 {
    let x = lr.log10();
    4.0 / (1.0 + (3.0 * (x + 3.0)).exp()) + 0.5 + (4.0 * (x + 0.5)).exp()
}

#[test]
fn it_suggests_where_the_loss_falls_and_ends_where_it_diverges() {
    let found = test(12, typical);
    assert!(found.diverged && found.points.len() < 120);
    let suggestion = found.suggestion().expect("a suggestion");
    assert!(
        (1e-4..1e-1).contains(&suggestion.steepest),
        "{suggestion:?}"
    );
    assert!(suggestion.steepest < 10.0 * suggestion.minimum_tenth);
    let lowest = found
        .points
        .iter()
        .min_by(|a, b| a.smoothed.total_cmp(&b.smoothed));
    assert_eq!(suggestion.minimum_tenth, lowest.expect("points").lr / 10.0);
    let svg = found.svg("a & b");
    for part in [
        "<svg",
        "a &amp; b",
        "steepest",
        "minimum / 10",
        "running mean",
    ] {
        assert!(svg.contains(part), "no '{part}'");
    }
}

#[test]
fn without_a_fall_there_is_no_suggestion() {
    assert_eq!(test(5, |_| 1.0).suggestion(), None);
    assert_eq!(test(5, |lr| 1.0 + lr).suggestion(), None);
    assert_eq!(test(1, typical).suggestion(), None);
    assert_eq!(RangeTest::default().suggestion(), None);
    assert!(RangeTest::default().svg("empty").contains("<svg"));
}

#[test]
fn rates_that_the_test_does_not_cover_are_not_suggested() {
    // The loss still falls at the end, or varies as between batches.
    let falling = test(7, typical);
    assert!(!falling.rises());
    assert_eq!(falling.suggestion(), None);
    let noise = test(4, |lr| 4.6 + 0.1 * (1e3 * lr.ln()).sin());
    assert!(!noise.rises());
    assert_eq!(noise.suggestion(), None);
    // A tenth of the rate with the lowest loss is below the first rate.
    let mut early = RangeTest::default();
    for step in 0..100 {
        let loss = 1.0 + 0.1 * (f64::from(step) - 30.0).abs();
        early.push(1e-3 * 10f64.powf(f64::from(step) / 100.0), loss);
    }
    assert!(early.rises());
    assert_eq!(early.suggestion(), None);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_test() {
    for bad in [f64::NAN, f64::INFINITY] {
        let found = test(5, |lr| if lr < 9e-6 { 1.0 } else { bad });
        assert!(found.diverged);
        assert!(found.points.iter().all(|point| point.smoothed.is_finite()));
        assert_eq!(found.points.len(), 30);
    }
}
