//! Describes the tensors of a tape.

use std::collections::{HashMap, HashSet};

use candle_core::{Result, Storage, Tensor, TensorId};

use super::memory::{Applied, Held, StepMemory};
use super::tape::{Application, Record, recorded};

/// Runs `forward` on a batch of `batch` images and returns what a step with its backward pass keeps
/// in memory. Results of Candle's ops count if an op of this crate takes them.
///
/// # Errors
/// The errors of `forward`.
pub fn step_memory(batch: usize, forward: impl FnOnce() -> Result<Tensor>) -> Result<StepMemory> {
    let (_loss, records) = recorded(forward)?;
    let tape = Inventory::default().take(records)?;
    Ok(StepMemory::new(tape, batch))
}

#[derive(Default)]
struct Inventory {
    /// Tensors of a gradient are numbered: candle's ids cannot be read.
    numbers: HashMap<TensorId, usize>,
    /// The results of parts, which are variables for Candle only.
    parts: HashSet<TensorId>,
    /// All records so far: the address of a freed tensor could be used again.
    alive: Vec<Record>,
}

impl Inventory {
    /// Describes `records`. Parts run again for their own records.
    fn take(&mut self, records: Vec<Record>) -> Result<Vec<Applied>> {
        let mut tape = Vec::with_capacity(records.len());
        for record in records {
            tape.push(match &record.application {
                Application::One(_, a) => self.op(&[a], &record.result),
                Application::Two(_, a, b) => self.op(&[a, b], &record.result),
                Application::Three(_, a, b, c) => self.op(&[a, b, c], &record.result),
                Application::Part(part) => {
                    self.parts.insert(record.result.id());
                    let (output, inner) = recorded(|| part.run_again())?;
                    Applied::Part {
                        input: self.held(&part.input),
                        result: self.held(&record.result),
                        tape: self.take(inner)?,
                        output: self.held(&output),
                    }
                }
            });
            self.alive.push(record);
        }
        Ok(tape)
    }

    fn op(&mut self, inputs: &[&Tensor], result: &Tensor) -> Applied {
        Applied::Op {
            inputs: inputs.iter().map(|tensor| self.held(tensor)).collect(),
            result: self.held(result),
        }
    }

    fn held(&mut self, tensor: &Tensor) -> Held {
        let next = self.numbers.len();
        let numbers = &mut self.numbers;
        let number = || *numbers.entry(tensor.id()).or_insert(next);
        let (storage, layout) = tensor.storage_and_layout();
        let size = tensor.dtype().size_in_bytes();
        let gradient = layout.shape().elem_count() * size;
        Held {
            storage: std::ptr::from_ref::<Storage>(&storage) as usize,
            stored: stored_bytes(&storage).unwrap_or(gradient),
            gradient,
            tracked: tensor.track_op().then(number),
            variable: tensor.is_variable() && !self.parts.contains(&tensor.id()),
        }
    }
}

/// The bytes of a tensor's values, which may be more than its elements. `None` on a GPU, whose
/// values are not counted.
fn stored_bytes(storage: &Storage) -> Option<usize> {
    use candle_core::CpuStorage as Cpu;
    let Storage::Cpu(values) = storage else {
        return None;
    };
    let count = match values {
        Cpu::F32(values) => values.len(),
        Cpu::F64(values) => values.len(),
        Cpu::F16(values) => values.len(),
        Cpu::BF16(values) => values.len(),
        Cpu::U8(values) => values.len(),
        Cpu::U32(values) => values.len(),
        Cpu::I64(values) => values.len(),
        _ => return None,
    };
    Some(count * storage.dtype().size_in_bytes())
}
