//! Runs that continue with another number of epochs, and runs that must not continue.

use std::path::Path;

use candle_mish::train::run_folder::{BEST, CURVE, LAST, STATE};
use candle_mish::train::{Outcome, Recipe, RunState, ScheduleKind, TrainError};
use proptest::prelude::*;

use crate::trainer::{Session, metrics, recipe, timeless};

/// Steps in an epoch of the runs here.
const STEPS: usize = 6;

fn state(folder: &Path) -> RunState {
    RunState::read(&folder.join(STATE)).expect("a state")
}

/// Starts a run of `epochs` epochs and stops it after `stop` steps, if given.
fn start(folder: &Path, recipe: &Recipe, epochs: usize, stop: Option<u64>, val_split: f64) {
    let mut session = Session::new(folder);
    session.recipe = Recipe {
        epochs,
        ..recipe.clone()
    };
    session.data.val_split = val_split;
    session.stop_after = stop;
    session.run().expect("a run");
}

fn resume(
    folder: &Path,
    recipe: &Recipe,
    epochs: usize,
    val_split: f64,
) -> Result<Outcome, TrainError> {
    let mut session = Session::new(folder);
    session.recipe = Recipe {
        epochs,
        ..recipe.clone()
    };
    session.data.val_split = val_split;
    session.resume = true;
    Ok(session.run()?.0)
}

/// Both runs must have the same files, except for times and the state.
fn assert_equal(a: &Path, b: &Path, case: &str) {
    for file in [BEST, LAST, CURVE] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect(file);
        assert!(bytes(a) == bytes(b), "{case}: {file}");
    }
    assert_eq!(timeless(&metrics(a)), timeless(&metrics(b)), "{case}");
}

/// Schedules whose rates do not depend on the number of epochs, at least for the first two epochs.
fn extensible() -> Vec<Recipe> {
    let with = |sched| Recipe { sched, ..recipe() };
    vec![
        with(ScheduleKind::Constant),
        Recipe {
            decay_epochs: 1.5,
            warmup_epochs: 0.5,
            ..with(ScheduleKind::Step)
        },
        Recipe {
            decay_milestones: vec![1.0, 2.0, 4.0],
            ..with(ScheduleKind::MultiStep)
        },
        Recipe {
            warmup_epochs: 2.0,
            head_warmup_epochs: 1.0,
            ..with(ScheduleKind::Cosine)
        },
    ]
}

#[test]
fn an_extended_run_equals_one_that_asked_for_all_epochs() {
    let folder = tempfile::tempdir().expect("a folder");
    for (index, recipe) in extensible().iter().enumerate() {
        let straight = folder.path().join(format!("{index}"));
        start(&straight, recipe, 5, None, 0.0);
        // Finished, stopped between epochs and within one.
        for (epochs, stop) in [(2, None), (3, Some(6)), (2, Some(8))] {
            let case = format!("{}, {epochs} epochs, stop at {stop:?}", recipe.sched);
            let path = folder.path().join(format!("{index}-{epochs}-{stop:?}"));
            start(&path, recipe, epochs, stop, 0.0);
            let first = Recipe {
                epochs,
                ..recipe.clone()
            };
            state(&path).check_epochs(&first, 5, STEPS).expect(&case);
            let outcome = resume(&path, recipe, 5, 0.0).expect("a run");
            assert!(matches!(outcome, Outcome::Finished(_)), "{case}");
            assert_equal(&straight, &path, &case);
        }
    }
}

#[test]
fn a_run_with_validation_images_is_extended_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = &extensible()[0];
    let [straight, path] = ["straight", "extended"].map(|name| folder.path().join(name));
    start(&straight, recipe, 4, None, 0.2);
    start(&path, recipe, 2, None, 0.2);
    resume(&path, recipe, 4, 0.2).expect("a run");
    assert_equal(&straight, &path, "validation");
}

#[test]
fn a_stopped_run_can_be_shortened() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = &extensible()[0];
    let [straight, path] = ["straight", "shortened"].map(|name| folder.path().join(name));
    start(&straight, recipe, 2, None, 0.0);
    start(&path, recipe, 5, Some(8), 0.0);
    let refused =
        resume(&path, recipe, 1, 0.0).expect_err("it has finished one epoch and two steps");
    assert!(matches!(
        refused,
        TrainError::TooFewEpochs {
            epochs: 1,
            steps: 8,
            per_epoch: 6
        }
    ));
    let refused = state(&path).check_epochs(recipe, 1, STEPS);
    assert!(
        matches!(refused, Err(TrainError::TooFewEpochs { .. })),
        "{refused:?}"
    );
    resume(&path, recipe, 2, 0.0).expect("a run");
    assert_equal(&straight, &path, "shortened");
}

#[test]
fn rates_that_depend_on_the_number_of_epochs_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let cosine = extensible().pop().expect("a recipe");
    let one_cycle = Recipe {
        sched: ScheduleKind::OneCycle,
        ..recipe()
    };
    // One-cycle differs from its second step on, cosine from the second after its warm-up.
    for (name, recipe, stop) in [("onecycle", &one_cycle, 2), ("cosine", &cosine, 14)] {
        let path = folder.path().join(name);
        start(&path, recipe, 3, Some(stop), 0.0);
        let state = state(&path);
        let error = state
            .check_epochs(recipe, 5, STEPS)
            .expect_err("other rates");
        assert_eq!(
            error.to_string(),
            format!(
                "the learning rates of {name} depend on the number of epochs: a run of 3 epochs \
                 cannot become one of 5"
            )
        );
        state
            .check_epochs(recipe, 3, STEPS)
            .expect("the same number");
    }
}

#[test]
fn other_images_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    start(&path, &recipe(), 3, Some(8), 0.0);
    type Change<'a> = &'a dyn Fn(&mut Session<'_>);
    let resume = |change: Change<'_>| {
        let mut session = Session::new(&path);
        session.resume = true;
        change(&mut session);
        session.run().map(|(outcome, _)| outcome)
    };
    // All of them have six steps in an epoch.
    let cases: [(Change<'_>, &str); 3] = [
        (
            &|session| session.data.limit_train = Some(201),
            "it started with 200 training images, now there are 201",
        ),
        (
            &|session| session.data.limit_test = Some(69),
            "it started with 70 evaluation images, now there are 69",
        ),
        (
            &|session| session.data.seed = 1,
            "it started with 200 training images, now there are 200 with other labels",
        ),
    ];
    for (change, said) in cases {
        let error = resume(change).expect_err("other images");
        assert!(matches!(error, TrainError::OtherImages { .. }), "{error}");
        assert!(error.to_string().ends_with(said), "{error}");
    }
    resume(&|_| {}).expect("the same images");
}

#[test]
fn the_state_records_threads_and_the_description_of_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    start(&path, &recipe(), 1, Some(2), 0.0);
    let state = state(&path);
    assert_eq!(state.threads(), Some(rayon::current_num_threads()));
    assert_eq!(state.metadata()["model"], "test");
    assert!(!state.metadata().contains_key("progress"));
    assert_eq!(state.epochs(), 0);
}

proptest! {
    /// Bit for bit, at every step that the shorter run can have taken.
    #[test]
    fn decays_do_not_depend_on_the_number_of_epochs(
        epochs in 1usize..60,
        more in 1usize..60,
        steps_per_epoch in 1usize..50,
        decay_epochs in prop_oneof![0.01f64..2.0, 1.0f64..40.0],
        warmup in 0f64..1.0,
        sched in prop_oneof![
            Just(ScheduleKind::Constant), Just(ScheduleKind::Step), Just(ScheduleKind::MultiStep),
            Just(ScheduleKind::Exponential), Just(ScheduleKind::Plateau)
        ],
    ) {
        let short = Recipe {
            epochs,
            sched,
            decay_epochs,
            decay_milestones: vec![decay_epochs, 2.0 * decay_epochs, 50.0],
            warmup_epochs: warmup * epochs as f64,
            ..Recipe::default()
        };
        let long = Recipe { epochs: epochs + more, ..short.clone() };
        let [short, long] = [short, long].map(|recipe| recipe.schedule(steps_per_epoch));
        prop_assert!(long.begins_as(&short, (epochs * steps_per_epoch) as u64));
    }

    #[test]
    fn annealed_rates_depend_on_the_number_of_epochs(
        epochs in 2usize..60,
        more in 1usize..60,
        steps_per_epoch in 2usize..50,
        sched in prop_oneof![
            Just(ScheduleKind::OneCycle), Just(ScheduleKind::Cosine), Just(ScheduleKind::Tanh),
            Just(ScheduleKind::Poly)
        ],
    ) {
        let short = Recipe { epochs, sched, ..Recipe::default() };
        let long = Recipe { epochs: epochs + more, ..short.clone() };
        let [short, long] = [short, long].map(|recipe| recipe.schedule(steps_per_epoch));
        prop_assert!(!long.begins_as(&short, (epochs * steps_per_epoch) as u64));
        prop_assert!(long.begins_as(&short, 0));
    }
}
