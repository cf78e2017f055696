//! Time per op: a `tracing` layer over the spans of `candle_mish::autograd`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The name of the spans.
const SPAN: &str = "op";

/// The name of time outside of spans.
const OTHER: &str = "(other)";

/// One op's share in one pass.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// The op, or "(other)" for time outside of ops.
    pub op: String,
    /// forward, backward or update. Empty outside of ops.
    pub pass: String,
    /// Share of the total time, from 0 to 1.
    pub share: f64,
    /// Milliseconds per step.
    pub ms: f64,
    /// Calls per step.
    pub calls: f64,
    /// Billions of operations per second. A multiply-add counts as two. 0 if the op reports none.
    pub gflops: f64,
    /// Billions of bytes per second, of the tensors that the op reads and writes, each counted once. 0 if
    /// the op reports none.
    pub gb_per_second: f64,
}

/// The time and the work of some steps.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Sorted by share, the largest first.
    pub shares: Vec<Share>,
    /// Multiply-adds of the convolutions and linear layers in one step.
    pub multiply_adds: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    time: Duration,
    calls: usize,
    multiply_adds: u64,
    bytes: u64,
}

/// The open span of an op.
#[derive(Debug, Clone, Default)]
struct Op {
    name: String,
    pass: String,
    multiply_adds: u64,
    bytes: u64,
}

impl Visit for Op {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "op" => self.name = value.to_string(),
            "pass" => self.pass = value.to_string(),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "multiply_adds" => self.multiply_adds = value,
            "bytes" => self.bytes = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// The time at which an outermost op began.
struct Entered(Instant);

#[derive(Clone, Default)]
struct Sums(Arc<Mutex<HashMap<(String, String), Sum>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Sums {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && span.name() == SPAN
        {
            let mut op = Op::default();
            attributes.record(&mut op);
            span.extensions_mut().insert(op);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(op) = span.extensions_mut().get_mut::<Op>()
        {
            values.record(op);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && !span.scope().skip(1).any(|outer| outer.name() == SPAN)
        {
            span.extensions_mut().insert(Entered(Instant::now()));
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        // An op within another op counts as part of the outer one.
        if let Some(Entered(start)) = extensions.remove()
            && let Some(op) = extensions.get_mut::<Op>()
        {
            let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let sum = sums.entry((op.name.clone(), op.pass.clone())).or_default();
            sum.time += start.elapsed();
            sum.calls += 1;
            sum.multiply_adds += op.multiply_adds;
            sum.bytes += op.bytes;
        }
    }
}

/// Calls `step` `steps` times, at least once, and measures the time per op.
///
/// # Errors
/// The first error of a step.
pub fn profile(
    steps: usize,
    step: &mut dyn FnMut() -> candle_core::Result<()>,
) -> candle_core::Result<Profile> {
    let sums = Sums::default();
    let steps = steps.max(1);
    let subscriber = tracing_subscriber::registry().with(sums.clone());
    let total = tracing::subscriber::with_default(subscriber, || {
        let start = Instant::now();
        for _ in 0..steps {
            step()?;
        }
        candle_core::Result::Ok(start.elapsed())
    })?;
    let sums = sums.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(summary(&sums, total, steps as f64))
}

fn summary(sums: &HashMap<(String, String), Sum>, total: Duration, steps: f64) -> Profile {
    let in_ops = sums.values().map(|sum| sum.time).sum();
    let other = Sum {
        time: total.saturating_sub(in_ops),
        ..Sum::default()
    };
    let share = |op: &str, pass: &str, sum: &Sum| {
        let seconds = sum.time.as_secs_f64();
        let operations = 2e-9 * sum.multiply_adds as f64;
        Share {
            op: op.to_string(),
            pass: pass.to_string(),
            share: seconds / total.as_secs_f64().max(f64::MIN_POSITIVE),
            ms: 1e3 * seconds / steps,
            calls: sum.calls as f64 / steps,
            gflops: operations / seconds.max(f64::MIN_POSITIVE),
            gb_per_second: 1e-9 * sum.bytes as f64 / seconds.max(f64::MIN_POSITIVE),
        }
    };
    let ops = sums.iter().map(|((op, pass), sum)| share(op, pass, sum));
    let mut shares: Vec<Share> = ops.chain([share(OTHER, "", &other)]).collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    let multiply_adds: u64 = sums.values().map(|sum| sum.multiply_adds).sum();
    Profile {
        shares,
        multiply_adds: multiply_adds as f64 / steps,
    }
}

/// The shares as a table.
pub fn table(shares: &[Share]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "op",
        "pass",
        "share",
        "ms per step",
        "calls",
        "GFLOP/s",
        "GB/s",
    ]);
    let known = |rate: f64, decimals: usize| match rate > 0.0 {
        true => format!("{rate:.decimals$}"),
        false => String::new(),
    };
    for share in shares {
        table.add_row([
            share.op.clone(),
            share.pass.clone(),
            format!("{:.1} %", 100.0 * share.share),
            format!("{:.2}", share.ms),
            format!("{:.0}", share.calls),
            known(share.gflops, 0),
            known(share.gb_per_second, 1),
        ]);
    }
    for column in 2..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};
    use candle_mish::autograd::value_and_grad;
    use candle_mish::ops::{Conv2dParams, conv2d};

    use super::profile;

    #[test]
    fn passes_are_counted_apart_with_their_products() {
        let image = Tensor::zeros((2, 3, 5, 5), DType::F32, &Device::Cpu).expect("zeros");
        let weight = Var::zeros((4, 3, 3, 3), DType::F32, &Device::Cpu).expect("zeros");
        let mut step = || {
            let forward = || Ok((conv2d(&image, &weight, None, &Conv2dParams::default())?, ()));
            value_and_grad(forward).map(|_| ())
        };
        let profile = profile(3, &mut step).expect("profiled");
        let products = (2 * 4 * 3 * 3 * 27) as f64;
        // The image gets no gradient, so that both passes take as much work.
        assert_eq!(profile.multiply_adds, 2.0 * products);
        for pass in ["forward", "backward"] {
            let mut found = profile.shares.iter().filter(|share| share.pass == pass);
            let share = found.next().expect("a share");
            assert_eq!((share.op.as_str(), share.calls), ("conv2d", 1.0));
            assert!(found.next().is_none());
        }
        // Image, weight and result; backward the gradients of the result and of the weight as well.
        let bytes = |pass: &str| {
            let share = profile.shares.iter().find(|share| share.pass == pass);
            share.map(|share| (1e6 * share.gb_per_second * share.ms).round())
        };
        let [image, weight, result] =
            [2 * 3 * 25, 4 * 27, 2 * 4 * 9].map(|count| 4.0 * f64::from(count));
        assert_eq!(bytes("forward"), Some(image + weight + result));
        assert_eq!(bytes("backward"), Some(image + 2.0 * weight + result));
        let sum: f64 = profile.shares.iter().map(|share| share.share).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
