//! Schedules compared with timm's and PyTorch's.

use candle_mish::train::schedule::{Cosine, Curve, Cycles, MultiStep, OneCycle, Schedule, Warmup};
use candle_mish::train::{Recipe, ScheduleKind};
use proptest::prelude::*;
use serde_json::Value;

use crate::optimizer::REFERENCE;

/// Made by `tests/reference/schedules.py`.
const SCHEDULES: &str = include_str!("../reference/schedules.json");

fn numbers(list: &Value) -> Vec<f64> {
    serde_json::from_value(list.clone()).expect("a list of numbers")
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-12 * expected.abs()
}

#[test]
fn every_schedule_follows_timm_and_pytorch() {
    let reference: Value = serde_json::from_str(SCHEDULES).expect("valid JSON");
    let cases = reference["cases"].as_object().expect("cases");
    for name in ScheduleKind::NAMES {
        let found = cases.values().any(|case| case["recipe"]["sched"] == *name);
        assert!(found, "no case of {name}");
    }
    for (name, case) in cases {
        let recipe: Recipe = serde_json::from_value(case["recipe"].clone()).expect(name);
        recipe.validate().expect(name);
        let updates = case["updates"].as_u64().expect("a number") as usize;
        let metrics = case.get("metrics").map(numbers).unwrap_or_default();
        let momenta = case.get("momenta").map(numbers);
        let rates = numbers(&case["rates"]);
        assert!(rates.len() >= 24, "{name}");
        let mut schedule = recipe.schedule(updates);
        let filled = recipe.clone().with_schedule_defaults();
        filled.validate().expect(name);
        assert_eq!(filled.schedule(updates), schedule, "{name}");
        for (step, expected) in rates.into_iter().enumerate() {
            // A plateau sees the evaluation of each epoch.
            if step > 0 && step % updates == 0 {
                let epoch = step / updates - 1;
                metrics
                    .get(epoch)
                    .into_iter()
                    .for_each(|m| schedule.observe(*m));
            }
            let got = schedule.rates(step as u64);
            assert!(
                close(got.lr, expected),
                "{name}, step {step}: {} instead of {expected}",
                got.lr
            );
            match &momenta {
                None => assert_eq!(got.momentum, None, "{name}"),
                Some(momenta) => {
                    let got = got.momentum.expect("a momentum");
                    assert!(close(got, momenta[step]), "{name}, step {step}: {got}");
                }
            }
        }
    }
}

fn one_cycle() -> OneCycle {
    OneCycle {
        max_lr: 0.3,
        pct_start: 0.25,
        div_factor: 25.0,
        final_div_factor: 1e4,
        total: 41.0,
        momentum: None,
    }
}

fn cosine(lr: f64, min_lr: f64, steps: f64) -> Curve {
    Curve::Cosine(Cosine {
        lr,
        min_lr,
        cycles: Cycles::over(steps, 1, 1.0, 1.0),
        k_decay: 1.0,
    })
}

fn check(case: &str, schedule: &Schedule) {
    let reference: Value = serde_json::from_str(REFERENCE).expect("valid JSON");
    let expected = reference["schedules"][case].as_array().expect("a list");
    for (step, expected) in expected.iter().enumerate() {
        let (got, expected) = (
            schedule.lr(step as u64),
            expected.as_f64().expect("a number"),
        );
        assert!(
            (got - expected).abs() < 1e-12,
            "{case}, step {step}: {got} instead of {expected}"
        );
    }
}

#[test]
fn schedules_follow_pytorch() {
    check("one-cycle", &Curve::OneCycle(one_cycle()).into());
    let late = OneCycle {
        pct_start: 0.8,
        div_factor: 10.0,
        final_div_factor: 100.0,
        total: 20.0,
        ..one_cycle()
    };
    check("one-cycle, late", &Curve::OneCycle(late).into());
    check("cosine", &cosine(0.3, 0.01, 30.0).into());
    let step = Recipe {
        lr: 0.3,
        sched: ScheduleKind::Step,
        decay_epochs: 7.0,
        decay_rate: 0.5,
        epochs: 30,
        ..Recipe::default()
    };
    check("step", &step.schedule(1));
    let multi_step = Recipe {
        sched: ScheduleKind::MultiStep,
        decay_milestones: vec![3.0, 10.0, 25.0],
        decay_rate: 0.1,
        ..step
    };
    check("multistep", &multi_step.schedule(1));
}

#[test]
fn a_warm_up_is_linear_and_meets_the_schedule() {
    let schedule = Schedule {
        warmup: Warmup {
            lr: 0.2,
            length: 4.0,
            prefix: true,
        },
        ..cosine(1.0, 0.0, 10.0).into()
    };
    let rates: Vec<f64> = (0..6).map(|step| schedule.lr(step)).collect();
    for (got, expected) in rates.iter().zip([0.2, 0.4, 0.6, 0.8, 1.0]) {
        assert!((got - expected).abs() < 1e-12, "{rates:?}");
    }
    assert!(rates[5] < 1.0);
    assert!((schedule.lr(9) - 0.5).abs() < 1e-12);
    assert!(schedule.lr(14).abs() < 1e-12 && schedule.lr(1000).abs() < 1e-12);
}

#[test]
fn no_schedule_fails_on_a_short_run() {
    let kinds = ScheduleKind::NAMES
        .iter()
        .map(|name| name.parse().expect("a name"));
    for sched in kinds {
        for (epochs, steps_per_epoch, pct_start) in
            [(1, 1, 0.0), (1, 1, 1.0), (1, 2, 0.25), (3, 1, 0.1)]
        {
            let recipe = Recipe {
                sched,
                epochs,
                pct_start,
                warmup_epochs: 1.0,
                ..Recipe::default()
            };
            let schedule = recipe.schedule(steps_per_epoch);
            for step in 0..10 {
                let lr = schedule.lr(step);
                assert!((0.0..=recipe.lr).contains(&lr), "{schedule:?} {step}: {lr}");
            }
        }
    }
}

/// A list of all milestones, as PyTorch's `MultiStepLR` takes it.
fn listed(recipe: &Recipe, total_steps: u64) -> Schedule {
    let epoch = total_steps as f64 / recipe.epochs as f64;
    let steps = |epochs: f64| (epochs * epoch).round();
    let decays = (recipe.epochs as f64 / recipe.decay_epochs).floor() as u64;
    let curve = Curve::MultiStep(MultiStep {
        lr: recipe.lr,
        gamma: recipe.decay_rate,
        milestones: (1..=decays)
            .map(|i| steps(i as f64 * recipe.decay_epochs))
            .collect(),
    });
    Schedule {
        warmup: Warmup {
            lr: recipe.warmup_lr,
            length: steps(recipe.warmup_epochs),
            prefix: false,
        },
        ..curve.into()
    }
}

proptest! {
    #[test]
    fn computed_decays_have_the_bits_of_listed_milestones(
        epochs in 1usize..300,
        decay_epochs in prop_oneof![0.01f64..2.0, 1.0f64..400.0, (1u32..60).prop_map(f64::from)],
        total_steps in 1u64..3000,
        decay_rate in 0.05f64..1.5,
        warmup in 0f64..1.0,
    ) {
        let recipe = Recipe {
            epochs,
            sched: ScheduleKind::Step,
            decay_epochs,
            decay_rate,
            warmup_epochs: warmup * epochs as f64,
            ..Recipe::default()
        };
        let (computed, listed) = (recipe.schedule_over(total_steps), listed(&recipe, total_steps));
        for step in (0..total_steps + 2).step_by(1 + total_steps as usize / 200) {
            prop_assert_eq!(computed.lr(step).to_bits(), listed.lr(step).to_bits(), "{}", step);
        }
    }
}

#[test]
fn a_tiny_interval_of_decays_needs_no_list() {
    let recipe = |decay_epochs| Recipe {
        sched: ScheduleKind::Step,
        decay_epochs,
        ..Recipe::default()
    };
    let schedule = recipe(1e-6).schedule(100);
    assert_eq!(schedule.lr(0), 0.3 * 0.1f64.powf(5_000.0));
    assert_eq!(schedule.lr(500), 0.0);
    for refused in [1e-300, 1e-9, 1e300] {
        assert!(recipe(refused).validate().is_err(), "{refused}");
        // Without the check it neither panics nor allocates.
        assert!(recipe(refused).schedule(100).lr(999) <= 0.3);
    }
}
