//! The backward pass over a tape.

use std::collections::{HashMap, HashSet};

use candle_core::{Result, Tensor, TensorId, bail};
use tracing::Span;

use super::foreign::{Seed, by_candle};
use super::gradients::Gradients;
use super::sum::whole;
use super::tape::{Application, Record, count, moved, recorded, span, tracked};

/// Takes a variable and its complete gradient.
pub type Ready<'a> = &'a mut dyn FnMut(&Tensor, &Tensor) -> Result<()>;

/// Reports the gradients of variables that no remaining record uses.
struct Reports<'a> {
    ready: Ready<'a>,
    /// The arguments of remaining records that are a variable.
    uses: HashMap<TensorId, usize>,
}

impl<'a> Reports<'a> {
    /// Counts the uses of variables in `records`. `None` if the gradients may get a contribution that
    /// does not come from these records.
    fn new(ready: Ready<'a>, records: &[Record], results: &HashSet<TensorId>) -> Option<Self> {
        let mut uses = HashMap::new();
        for record in records {
            if record.is_part() {
                return None;
            }
            for argument in record.application.arguments() {
                if argument.is_variable() {
                    *uses.entry(argument.id()).or_default() += 1;
                } else if argument.track_op() && !results.contains(&argument.id()) {
                    return None;
                }
            }
        }
        Some(Self { ready, uses })
    }

    /// Notes that the record with these variables as arguments is done.
    fn done(&mut self, variables: &[Tensor], gradients: &Gradients) -> Result<()> {
        for variable in variables {
            let Some(uses) = self.uses.get_mut(&variable.id()) else {
                continue;
            };
            *uses -= 1;
            if let (0, Some(gradient)) = (*uses, gradients.get(variable)) {
                (self.ready)(variable, gradient)?;
            }
        }
        Ok(())
    }
}

/// The gradients of a backward pass in progress.
#[derive(Default)]
struct Backward {
    gradients: Gradients,
    /// The results of the records.
    results: HashSet<TensorId>,
    /// The results of parts.
    parts: HashSet<TensorId>,
    /// Tensors that Candle's ops made, with their gradients.
    foreign: Vec<(Tensor, Tensor)>,
}

impl Backward {
    /// Notes the results of `records`, which will receive gradients.
    fn expect(&mut self, records: &[Record]) {
        let id = |record: &Record| record.result.id();
        self.results.extend(records.iter().map(id));
        let parts = records.iter().filter(|record| record.is_part());
        self.parts.extend(parts.map(id));
    }

    /// Adds a gradient of an op's argument.
    fn pass_on(&mut self, argument: Tensor, gradient: Option<Tensor>) -> Result<()> {
        let Some(gradient) = gradient.filter(|_| argument.track_op()) else {
            return Ok(());
        };
        let gradient = gradient.detach();
        if argument.is_variable() || self.results.contains(&argument.id()) {
            self.gradients.accumulate(argument.id(), gradient)
        } else {
            self.foreign.push((argument, gradient));
            Ok(())
        }
    }

    /// Continues through the ops of Candle.
    fn finish(mut self) -> Result<Gradients> {
        // One backward pass of Candle over the sum of the seeds continues from all tensors that its ops
        // made.
        let seeds = self.foreign.into_iter();
        let seeds = seeds.map(|(tensor, gradient)| tensor.apply_op1(Seed { gradient }));
        let Some(sum) = seeds.reduce(|a, b| a? + b?) else {
            return Ok(self.gradients);
        };
        for (id, gradient) in by_candle(sum?)?.into_pairs() {
            if self.parts.contains(&id) {
                bail!("{CANDLE_AFTER_PART}");
            }
            self.gradients.accumulate(id, gradient)?;
        }
        Ok(self.gradients)
    }
}

/// Candle's backward pass ends at the result of a part.
const CANDLE_AFTER_PART: &str = "gradient checkpointing: one of Candle's ops takes the result of a \
     part that is computed again; use an op of this crate there, or turn gradient checkpointing off";

/// The gradients of `loss`, which is the result of `records` or of an op of Candle on them. Those that
/// are complete before the end are reported to `ready`.
pub(super) fn backward(
    loss: Tensor,
    mut records: Vec<Record>,
    ready: Option<Ready<'_>>,
) -> Result<Gradients> {
    let mut state = Backward::default();
    state.expect(&records);
    if !state.results.contains(&loss.id()) {
        if !state.parts.is_empty() {
            bail!("{CANDLE_AFTER_PART}");
        }
        // The last op is Candle's, so its backward sees the whole graph.
        drop(records);
        return by_candle(loss);
    }
    let mut reports = ready.and_then(|ready| Reports::new(ready, &records, &state.results));
    state.gradients.insert(&loss, loss.ones_like()?.detach());
    drop(loss);
    while let Some(Record {
        application,
        products,
        result,
    }) = records.pop()
    {
        let variables: Vec<Tensor> = match &reports {
            None => Vec::new(),
            Some(_) => {
                let arguments = application.arguments();
                arguments.filter(|a| a.is_variable()).cloned().collect()
            }
        };
        let Some(gradient) = state.gradients.remove(&result) else {
            if let Some(reports) = &mut reports {
                reports.done(&variables, &state.gradients)?;
            }
            continue;
        };
        let gradient = whole(gradient)?;
        match application {
            Application::One(op, a) => {
                let span = span(op.name(), "backward").entered();
                let ga = op.bwd(&a, &result, &gradient)?;
                count_bytes(&span, &gradient, &[&a], [&ga]);
                span.exit();
                drop((result, gradient));
                state.pass_on(a, ga)?;
            }
            Application::Two(op, a, b) => {
                let span = span(op.name(), "backward").entered();
                let (ga, gb) = op.bwd(&a, &b, &result, &gradient)?;
                count(&span, products, &result, tracked(&[&a, &b]));
                count_bytes(&span, &gradient, &[&a, &b], [&ga, &gb]);
                span.exit();
                drop((result, gradient));
                state.pass_on(a, ga)?;
                state.pass_on(b, gb)?;
            }
            Application::Three(op, a, b, c) => {
                let span = span(op.name(), "backward").entered();
                let (ga, gb, gc) = op.bwd(&a, &b, &c, &result, &gradient)?;
                count(&span, products, &result, tracked(&[&a, &b]));
                count_bytes(&span, &gradient, &[&a, &b, &c], [&ga, &gb, &gc]);
                span.exit();
                drop((result, gradient));
                state.pass_on(a, ga)?;
                state.pass_on(b, gb)?;
                state.pass_on(c, gc)?;
            }
            Application::Part(part) => {
                drop(result);
                let (y, inner) = recorded(|| part.run_again())?;
                // The loop continues with the ops of the part, as if the forward pass had recorded
                // them.
                state.expect(&inner);
                records.extend(inner);
                state.pass_on(y, Some(gradient))?;
            }
        }
        if let Some(reports) = &mut reports {
            reports.done(&variables, &state.gradients)?;
        }
    }
    state.finish()
}

/// Records the bytes of a backward pass, unless it only passes its gradient on, as a sum does.
fn count_bytes<const N: usize>(
    span: &Span,
    gradient: &Tensor,
    arguments: &[&Tensor; N],
    results: [&Option<Tensor>; N],
) {
    let results = results.into_iter().flatten();
    if results.clone().any(|result| result.id() != gradient.id()) {
        moved(
            span,
            arguments.iter().copied().chain([gradient]).chain(results),
        );
    }
}
