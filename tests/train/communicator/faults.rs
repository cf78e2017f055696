//! Ranks that fail, and losses that are not finite on one rank.

use candle_mish::train::communicator::{Communicator, Threads};
use candle_mish::train::{NanAction, NonFiniteOrigin, Outcome, TrainError};

use super::session::Session;

#[test]
fn a_loss_that_is_nan_on_one_rank_stops_all() {
    for broken in [0, 1] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run");
        let mut session = Session::new(&path, 2);
        session.broken = Some((broken, 3));
        for (outcome, _) in session.run() {
            let Err(TrainError::NonFiniteLoss { step, loss, .. }) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(step, 3);
            assert!(loss.is_nan());
        }
    }
}

#[test]
fn all_ranks_leave_out_an_update_that_is_nan_on_one_rank() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let mut session = Session::new(&path, 2);
    session.recipe.sync_bn = false;
    session.options.nan = NanAction::Skip;
    session.broken = Some((1, 3));
    // All ranks have the same weights, which `finish` checks.
    let (record, weights) = session.finish();
    assert_eq!(record.epochs[0].skipped, 1);
    let mut values = weights.values().flatten();
    assert!(values.all(|value| value.is_finite()));
}

#[test]
fn the_layer_of_a_nan_is_found_on_its_rank_and_reported_on_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let mut session = Session::new(&path, 2);
    session.recipe.clip_grad = None;
    session.recipe.lr = 1e30;
    let origins = session.run().into_iter().map(|(outcome, _)| match outcome {
        Err(
            TrainError::NonFiniteLoss { origin, .. } | TrainError::NonFiniteGradient { origin, .. },
        ) => origin.expect("an origin"),
        other => panic!("{other:?}"),
    });
    let origins: Vec<NonFiniteOrigin> = origins.collect();
    assert_eq!(origins[0], origins[1]);
}

#[test]
fn the_others_notice_a_rank_that_ends() {
    let mut ranks = Threads::group(3);
    let last = ranks.pop();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = ranks
            .iter()
            .map(|rank| scope.spawn(|| rank.barrier()))
            .collect();
        drop(last);
        for rank in waiting {
            let error = rank.join().expect("no panic").expect_err("rank 2 is gone");
            assert!(error.to_string().contains("rank 2 has ended"), "{error}");
        }
    });
}

#[test]
fn a_rank_that_cannot_write_ends_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    // The folder holds a run already, which only rank 0 sees.
    std::fs::create_dir(&path).expect("a folder");
    std::fs::write(path.join("config.toml"), "").expect("a file");
    let ended: Vec<_> = Session::new(&path, 2).run();
    assert!(matches!(ended[0].0, Err(TrainError::FolderTaken(_))));
    let error = ended[1].0.as_ref().expect_err("rank 0 is gone");
    assert!(!matches!(error, TrainError::FolderTaken(_)), "{error}");
    let finished = |outcome: &Result<Outcome, TrainError>| outcome.is_ok();
    assert!(!ended.iter().any(|(outcome, _)| finished(outcome)));
}
