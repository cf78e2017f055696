//! What depends on the evaluations: plateau, early stopping and the best epoch.

use std::path::Path;

use candle_mish::train::run_folder::{BEST, CURVE, LAST, STATE};
use candle_mish::train::{
    EpochRecord, EvalMetric, Outcome, Recipe, Record, RunState, ScheduleKind,
};

use crate::trainer::{Session, metrics, recipe, timeless};

/// A run of `epochs` epochs with rates so small that the accuracy stalls.
fn stalling(epochs: usize) -> Recipe {
    Recipe {
        epochs,
        lr: 1e-6,
        sched: ScheduleKind::Constant,
        ..recipe()
    }
}

fn plateau(epochs: usize) -> Recipe {
    Recipe {
        sched: ScheduleKind::Plateau,
        patience_epochs: Some(1),
        decay_rate: 0.5,
        warmup_epochs: 1.5,
        ..stalling(epochs)
    }
}

fn run(folder: &Path, recipe: &Recipe, resume: bool, stop_after: Option<u64>) -> Outcome {
    let mut session = Session::new(folder);
    session.recipe = recipe.clone();
    session.resume = resume;
    session.stop_after = stop_after;
    session.run().expect("a run").0
}

fn finish(folder: &Path, recipe: &Recipe, resume: bool) -> Record {
    match run(folder, recipe, resume, None) {
        Outcome::Finished(record) => *record,
        outcome => panic!("{outcome:?}"),
    }
}

fn assert_equal(a: &Path, b: &Path, case: &str) {
    for file in [BEST, LAST, CURVE] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect(file);
        assert!(bytes(a) == bytes(b), "{case}: {file}");
    }
    assert_eq!(timeless(&metrics(a)), timeless(&metrics(b)), "{case}");
}

fn rates(record: &Record) -> Vec<f64> {
    record.epochs.iter().map(|epoch| epoch.lr).collect()
}

/// An epoch has six steps.
#[test]
fn a_plateau_lowers_the_rate_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    let recipe = plateau(8);
    let record = finish(&straight, &recipe, false);
    let rates = rates(&record);
    assert!(rates[7] <= 0.5 * recipe.lr, "{rates:?}");
    assert!(
        rates.windows(2).skip(1).all(|pair| pair[1] <= pair[0]),
        "{rates:?}"
    );
    // Within the warm-up, and before and after the first decay.
    for stops in [vec![4, 12], vec![20], vec![30, 43]] {
        let path = folder.path().join(format!("{stops:?}"));
        for (i, stop) in stops.iter().enumerate() {
            let outcome = run(&path, &recipe, i > 0, Some(*stop));
            assert_eq!(outcome, Outcome::Interrupted { step: *stop });
        }
        let resumed = finish(&path, &recipe, true);
        assert_eq!(resumed.best_epoch, record.best_epoch);
        assert_equal(&straight, &path, &format!("{stops:?}"));
    }
}

#[test]
fn a_plateau_can_have_more_epochs() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, path] = ["straight", "extended"].map(|name| folder.path().join(name));
    finish(&straight, &plateau(8), false);
    finish(&path, &plateau(5), false);
    let state = RunState::read(&path.join(STATE)).expect("a state");
    state
        .check_epochs(&plateau(5), 8, 6)
        .expect("the same rates");
    finish(&path, &plateau(8), true);
    assert_equal(&straight, &path, "extended");
}

/// A plateau whose past rates would have been others with the new recipe is another run: the
/// warm-up takes part of the decision.
#[test]
fn rates_of_a_plateau_come_from_the_evaluations() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = finish(folder.path(), &plateau(8), false);
    let mut schedule = plateau(8).schedule(6);
    for (epoch, record) in record.epochs.iter().enumerate() {
        assert_eq!(schedule.lr(6 * epoch as u64 + 5), record.lr, "{epoch}");
        schedule.observe(record.top1);
    }
}

#[test]
fn a_run_stops_early_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let straight = folder.path().join("straight");
    let recipe = Recipe {
        early_stop_patience: Some(3),
        ..stalling(40)
    };
    let record = finish(&straight, &recipe, false);
    let done = record.epochs.len();
    assert!(record.stopped_early && done < 40, "{done}");
    assert_eq!(done, record.best_epoch + 3);
    // Nothing changes by another resume, with more epochs or fewer.
    for epochs in [40, 60, done] {
        let again = finish(
            &straight,
            &Recipe {
                epochs,
                ..recipe.clone()
            },
            true,
        );
        assert_eq!(again.epochs, record.epochs);
        assert_eq!(again.stopped_early, epochs != done);
    }
    let path = folder.path().join("stopped");
    let stop = 6 * (done as u64 - 1) + 2;
    let outcome = run(&path, &recipe, false, Some(stop));
    assert_eq!(outcome, Outcome::Interrupted { step: stop });
    assert!(finish(&path, &recipe, true).stopped_early);
    assert_equal(&straight, &path, "stopped");
    // A run that ends before is as without the option.
    let path = folder.path().join("short");
    let short = finish(
        &path,
        &Recipe {
            epochs: 2,
            ..recipe
        },
        false,
    );
    assert!(!short.stopped_early && short.epochs.len() == 2);
}

fn records(values: &[(f64, f64)]) -> Vec<EpochRecord> {
    let record = |(i, (top1, loss)): (usize, &(f64, f64))| {
        let fields = serde_json::json!({
            "epoch": i + 1, "step": i, "lr": 0.1, "train_loss": 1.0, "train_top1": 0.5, "loss": loss,
            "top1": top1, "top5": 1.0, "images_per_second": 1.0, "seconds": 1.0,
        });
        serde_json::from_value(fields).expect("a record")
    };
    values.iter().enumerate().map(record).collect()
}

#[test]
fn early_stopping_counts_epochs_without_enough_improvement() {
    let records = records(&[
        (0.1, 3.0),
        (0.2, 2.5),
        (0.21, 2.6),
        (0.22, 2.7),
        (0.22, 2.4),
        (0.2, 2.5),
    ]);
    let stops = |recipe: &Recipe| (0..=6).find(|n| recipe.stops_early(&records[..*n]));
    let with = |patience, delta, metric| Recipe {
        early_stop_patience: Some(patience),
        early_stop_min_delta: delta,
        eval_metric: metric,
        ..Recipe::default()
    };
    assert_eq!(stops(&with(1, None, EvalMetric::Top1)), Some(5));
    assert_eq!(stops(&with(2, None, EvalMetric::Top1)), Some(6));
    assert_eq!(stops(&with(2, Some(0.05), EvalMetric::Top1)), Some(4));
    assert_eq!(stops(&with(2, None, EvalMetric::Loss)), Some(4));
    assert_eq!(stops(&with(3, None, EvalMetric::Loss)), None);
    assert_eq!(stops(&with(3, Some(0.1), EvalMetric::Loss)), Some(5));
    assert_eq!(stops(&Recipe::default()), None);
}

#[test]
fn the_metric_chooses_the_best_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    for metric in [EvalMetric::Top1, EvalMetric::Loss] {
        let recipe = Recipe {
            eval_metric: metric,
            epochs: 6,
            ..recipe()
        };
        let record = finish(&folder.path().join(format!("{metric}")), &recipe, false);
        let best = &record.epochs[record.best_epoch - 1];
        for epoch in &record.epochs {
            match metric {
                EvalMetric::Top1 => assert!(epoch.top1 <= best.top1),
                EvalMetric::Loss => assert!(epoch.loss >= best.loss),
            }
        }
    }
}
