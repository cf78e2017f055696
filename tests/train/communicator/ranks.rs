//! Several ranks against one process, and against themselves.

use std::collections::HashMap;

use candle_mish::train::communicator::{Communicator, Threads};
use candle_mish::train::{DistBn, EvalMetric, Outcome, Recipe, ScheduleKind, TrainError};

use super::session::Session;

/// The largest difference of a tensor's values relative to its largest value.
fn difference(a: &HashMap<String, Vec<f32>>, b: &HashMap<String, Vec<f32>>) -> f32 {
    assert_eq!(a.len(), b.len());
    let of_tensor = |(name, a): (&String, &Vec<f32>)| {
        let b = &b[name];
        assert_eq!(a.len(), b.len(), "{name}");
        let largest = a.iter().fold(0.0, |largest: f32, a| largest.max(a.abs()));
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max) / largest
    };
    a.iter().map(of_tensor).fold(0.0, f32::max)
}

/// One process and several ranks with the same recipe.
fn compare(recipe: impl Fn(&mut Recipe), ranks: &[usize], bucket_cap_mb: f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let session = |ranks: usize| {
        let path = folder.path().join(ranks.to_string());
        let mut session = Session::new(&path, ranks);
        session.bucket_cap_mb = bucket_cap_mb;
        recipe(&mut session.recipe);
        session.finish()
    };
    let (one, weights) = session(1);
    for ranks in ranks {
        let (several, others) = session(*ranks);
        let difference = difference(&weights, &others);
        assert!(difference < 1e-5, "{ranks} ranks: {difference}");
        for (one, several) in one.epochs.iter().zip(&several.epochs) {
            assert_eq!(one.step, several.step);
            assert_eq!(one.train_top1, several.train_top1);
            assert_eq!((one.top1, one.top5), (several.top1, several.top5));
            assert!((one.train_loss / several.train_loss - 1.0).abs() < 1e-5);
            assert!((one.loss / several.loss - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn several_ranks_repeat_one_process() {
    compare(|_| {}, &[2, 4], 25.0);
}

#[test]
fn buckets_of_one_parameter_give_the_same() {
    compare(|_| {}, &[3], 1e-6);
}

#[test]
fn accumulation_averages_and_augmentation_repeat_one_process() {
    let recipe = |recipe: &mut Recipe| {
        recipe.grad_accum_steps = 3;
        recipe.batch_size = 8;
        recipe.model_ema = true;
        recipe.model_ema_decay = Some(0.9);
        recipe.mixup = 0.2;
        recipe.cutmix = 1.0;
        recipe.reprob = 0.3;
        recipe.degrees = 5.0;
    };
    compare(recipe, &[2], 25.0);
}

#[test]
fn the_same_ranks_give_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, bucket_cap_mb| {
        let path = folder.path().join(name);
        let mut session = Session::new(&path, 3);
        session.recipe.sync_bn = false;
        session.dropout = 0.2;
        session.bucket_cap_mb = bucket_cap_mb;
        let (record, weights) = session.finish();
        let losses: Vec<f64> = record.epochs.iter().map(|epoch| epoch.loss).collect();
        (losses, weights)
    };
    let first = run("first", 25.0);
    assert_eq!(first, run("second", 25.0));
    // Rank 0 adds first, whatever the bucket.
    assert_eq!(first, run("buckets", 1e-6));
}

/// The running mean of a run of one step.
fn running_mean(ranks: usize, part: (usize, usize), dist_bn: Option<DistBn>) -> Vec<f32> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let mut session = Session::new(&path, ranks);
    session.part = part;
    session.recipe.sync_bn = false;
    session.recipe.dist_bn = dist_bn;
    session.recipe.epochs = 1;
    session.recipe.batch_size = 96;
    let (_, mut weights) = session.finish();
    weights.remove("bn.running_mean").expect("a mean")
}

#[test]
fn statistics_are_means_over_ranks_or_those_of_rank_0() {
    let whole = running_mean(1, (0, 1), None);
    let reduced = running_mean(2, (0, 1), None);
    let of_rank_0 = running_mean(1, (0, 2), None);
    let sent = running_mean(2, (0, 1), Some(DistBn::Broadcast));
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&whole, &reduced), "{whole:?} {reduced:?}");
    assert_eq!(of_rank_0, sent);
    assert!(!close(&whole, &sent));
}

#[test]
fn the_last_part_of_an_evaluation_may_be_smaller() {
    let folder = tempfile::tempdir().expect("a folder");
    // 49 images in batches of 24: parts of 0 and 1 images of the last batch.
    let run = |ranks: usize| {
        let path = folder.path().join(ranks.to_string());
        let mut session = Session::new(&path, ranks);
        session.test_images = 49;
        session.recipe.lr = 1e-9;
        session.finish().0.last
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one.images, 49);
    assert_eq!((one.top1, one.top5), (three.top1, three.top5));
    assert!((one.loss - three.loss).abs() < 1e-6);
}

#[test]
fn a_batch_that_the_ranks_cannot_divide_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    for (outcome, _) in Session::new(&path, 5).run() {
        let error = outcome.expect_err("24 images on 5 ranks");
        let refused = matches!(
            error,
            TrainError::IndivisibleBatch {
                images: 24,
                ranks: 5
            }
        );
        assert!(refused, "{error}");
    }
}

#[test]
fn a_run_resumes_bit_for_bit_and_with_other_ranks() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["whole", "stopped"].map(|name| folder.path().join(name));
    let session = |path| {
        let mut session = Session::new(path, 2);
        session.recipe.sync_bn = false;
        session.recipe.model_ema = true;
        session.recipe.grad_accum_steps = 2;
        session.recipe.batch_size = 12;
        session.recipe.epochs = 3;
        // A rate that depends on the evaluations so far.
        session.recipe.sched = ScheduleKind::Plateau;
        session.recipe.patience_epochs = Some(0);
        session.recipe.eval_metric = EvalMetric::Loss;
        session.recipe.lr = 1.0;
        session.dropout = 0.2;
        session
    };
    let (record, whole) = session(&paths[0]).finish();
    let rates: Vec<f64> = record.epochs.iter().map(|epoch| epoch.lr).collect();
    assert!(rates[2] < rates[0], "{rates:?}");
    let mut stopped = session(&paths[1]);
    // A signal to one rank stops all, in the middle of epoch 3.
    stopped.stop = Some((1, 9));
    for (outcome, _) in stopped.run() {
        let outcome = outcome.expect("stopped");
        assert_eq!(outcome, Outcome::Interrupted { step: 9 });
    }
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).expect("a folder");
    for name in ["config.toml", "state.safetensors"] {
        std::fs::copy(paths[1].join(name), copy.join(name)).expect("a copy");
    }
    let mut resumed = session(&paths[1]);
    resumed.resume = true;
    assert_eq!(resumed.finish().1, whole);
    let mut others = session(&copy);
    others.resume = true;
    others.ranks = 3;
    let (record, weights) = others.finish();
    assert_eq!(record.epochs.len(), 3);
    assert_ne!(weights, whole);
}

#[test]
fn ranks_exchange_bytes_and_sums() {
    let ended: Vec<_> = std::thread::scope(|scope| {
        let start = |rank: Threads| {
            scope.spawn(move || {
                let mut sums = [1.5f32, rank.rank() as f32];
                rank.all_reduce_sum(&mut sums).expect("a sum");
                let mut sent = vec![rank.rank() as u8; 2];
                rank.broadcast(0, &mut sent).expect("bytes");
                let all = rank.all_gather(&vec![7; rank.rank()]).expect("bytes");
                rank.barrier().expect("all ranks");
                (sums, sent, all)
            })
        };
        let threads: Vec<_> = Threads::group(3).into_iter().map(start).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|ended| ended.expect("no panic")).collect()
    });
    for (sums, sent, all) in ended {
        assert_eq!(sums, [4.5, 3.0]);
        assert_eq!(sent, [0, 0]);
        assert_eq!(all, [vec![], vec![7], vec![7, 7]]);
    }
}
