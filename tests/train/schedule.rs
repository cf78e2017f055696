//! Schedules against PyTorch's.

use candle_mish::train::{Recipe, Schedule, ScheduleKind, Warmup};
use serde_json::Value;

use crate::optimizer::REFERENCE;

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
    let one_cycle = Schedule::OneCycle {
        max_lr: 0.3,
        pct_start: 0.25,
        div_factor: 25.0,
        final_div_factor: 1e4,
        total_steps: 41,
    };
    check("one-cycle", &one_cycle);
    let late = Schedule::OneCycle {
        max_lr: 0.3,
        pct_start: 0.8,
        div_factor: 10.0,
        final_div_factor: 100.0,
        total_steps: 20,
    };
    check("one-cycle, late", &late);
    let cosine = Schedule::Cosine {
        lr: 0.3,
        min_lr: 0.01,
        warmup: Warmup::default(),
        total_steps: 30,
    };
    check("cosine", &cosine);
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
    let schedule = Schedule::Cosine {
        lr: 1.0,
        min_lr: 0.0,
        warmup: Warmup { lr: 0.2, steps: 4 },
        total_steps: 14,
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
