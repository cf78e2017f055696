//! The time that observers add to a training step. `mish bench train resnet20` has the time of a step.

use std::time::Duration;

use candle_mish::train::EvaluationSet;
use candle_mish::train::observer::{
    Curve, Lines, Metrics, Observer, RunStart, StepReport, SummaryCsv, TensorBoard,
};
use criterion::{Criterion, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let mut observers: Vec<Box<dyn Observer>> = vec![
        Box::new(Metrics::new(&file("metrics.jsonl"))),
        Box::new(SummaryCsv::new(&file("summary.csv"))),
        Box::new(Curve::new(&file("curve.svg"), "a run")),
        Box::new(Lines::new(Duration::from_secs(30), |_| {})),
        // Three values of an event file in every step. The default is every 50 steps.
        Box::new(TensorBoard::new(&file("tensorboard"), 1)),
    ];
    for observer in &mut observers {
        let start = RunStart {
            records: &[],
            step: 0,
            epochs: 1,
            evaluated_on: EvaluationSet::Test,
        };
        observer.start(&start).expect("a file");
    }
    let mut report = StepReport {
        epoch: 1,
        batch: 0,
        batches: 391,
        step: 0,
        lr: 0.1,
        loss: 2.5,
        images_per_second: 900.0,
    };
    criterion.bench_function("all observers, a step", |bencher| {
        bencher.iter(|| {
            report.step += 1;
            for observer in &mut observers {
                observer.step(&report).expect("a file");
            }
        });
    });
}

criterion_group!(benches, steps);
criterion_main!(benches);
