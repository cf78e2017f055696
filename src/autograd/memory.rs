//! The memory of a forward and backward pass, from the tape of a small batch.

use std::collections::{HashMap, HashSet};

/// A tensor of the tape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// The address of its values, which several tensors may share.
    pub storage: usize,
    /// The bytes of its values.
    pub stored: usize,
    /// The bytes of a gradient of the tensor.
    pub gradient: usize,
    /// Identifies its gradient, if it has one.
    pub tracked: Option<usize>,
    /// Whether it is a variable: its values stay, and its gradient is kept to the end.
    pub variable: bool,
}

/// A record of the tape.
#[derive(Debug, Clone)]
pub(super) enum Applied {
    /// An op with its inputs and its result.
    Op { inputs: Vec<Held>, result: Held },
    /// A part of the network that the backward pass runs again.
    Part {
        input: Held,
        /// The result of the first forward pass.
        result: Held,
        /// The ops of the second forward pass.
        tape: Vec<Applied>,
        /// The result of the second forward pass.
        output: Held,
    },
}

impl Applied {
    fn result(&self) -> &Held {
        match self {
            Self::Op { result, .. } | Self::Part { result, .. } => result,
        }
    }

    /// The tensors that the tape keeps for this record.
    fn values(&self) -> impl Iterator<Item = &Held> {
        let inputs = match self {
            Self::Op { inputs, .. } => inputs.as_slice(),
            Self::Part { input, .. } => std::slice::from_ref(input),
        };
        inputs.iter().chain([self.result()])
    }
}

/// What the tape of one batch holds, from which the memory of a step with any batch size follows.
#[derive(Debug, Clone)]
pub struct StepMemory {
    /// In the order of the forward pass.
    tape: Vec<Applied>,
    /// Images in the batch.
    batch: usize,
}

impl StepMemory {
    pub(super) fn new(tape: Vec<Applied>, batch: usize) -> Self {
        Self { tape, batch }
    }

    /// The largest number of bytes that activations and gradients of a step of `batch` images take
    /// together, without the weights. All but the gradients of weights are proportional to `batch`.
    pub fn peak(&self, batch: usize) -> usize {
        let mut step = Simulation {
            batches: (batch, self.batch.max(1)),
            ..Simulation::default()
        };
        let freed = step.forward(&self.tape);
        if let Some(last) = self.tape.last() {
            step.add_gradient(last.result());
        }
        step.note_peak(0);
        step.backward(&self.tape, freed);
        step.peak
    }
}

/// The bytes in use while a step runs.
#[derive(Default)]
struct Simulation {
    /// Images of the step, and of the batch that the tape is from.
    batches: (usize, usize),
    /// The storages that the tape has kept so far.
    seen: HashSet<usize>,
    /// The values that the tape keeps.
    saved: usize,
    /// The gradients of tensors.
    gradients: HashMap<usize, usize>,
    /// Their sum.
    waiting: usize,
    peak: usize,
}

impl Simulation {
    /// Keeps the values of `tape`. Returns the bytes that each record frees in the backward pass: values
    /// are freed with the first op that uses them.
    fn forward(&mut self, tape: &[Applied]) -> Vec<usize> {
        let mut freed = Vec::with_capacity(tape.len());
        for record in tape {
            let mut bytes = 0;
            for held in record.values() {
                if !held.variable && self.seen.insert(held.storage) {
                    bytes += self.scaled(held.stored);
                }
            }
            self.saved += bytes;
            freed.push(bytes);
        }
        freed
    }

    fn backward(&mut self, tape: &[Applied], freed: Vec<usize>) {
        for (record, freed) in tape.iter().zip(freed).rev() {
            let Some(of_result) = self.remove_gradient(record.result()) else {
                self.saved -= freed;
                continue;
            };
            match record {
                Applied::Op { inputs, .. } => {
                    let tracked = inputs.iter().filter(|held| held.tracked.is_some());
                    let made = tracked.clone().map(|held| self.size(held)).sum::<usize>();
                    self.note_peak(of_result + made);
                    self.saved -= freed;
                    tracked.for_each(|held| self.add_gradient(held));
                }
                Applied::Part {
                    result,
                    tape,
                    output,
                    ..
                } => {
                    // No other tensor has the storage of a part's result. The input stays until the
                    // part's ops have used it.
                    let result = self.scaled(result.stored);
                    self.saved -= result;
                    let of_tape = self.forward(tape);
                    self.add_gradient(output);
                    self.note_peak(0);
                    self.backward(tape, of_tape);
                    self.saved -= freed - result;
                }
            }
        }
    }

    fn scaled(&self, bytes: usize) -> usize {
        let (batch, measured) = self.batches;
        bytes * batch / measured
    }

    /// The bytes of a gradient.
    fn size(&self, held: &Held) -> usize {
        match held.variable {
            true => held.gradient,
            false => self.scaled(held.gradient),
        }
    }

    fn add_gradient(&mut self, held: &Held) {
        let bytes = self.size(held);
        if let Some(id) = held.tracked
            && self.gradients.insert(id, bytes).is_none()
        {
            self.waiting += bytes;
        }
    }

    /// The bytes of the gradient, which is no longer counted.
    fn remove_gradient(&mut self, held: &Held) -> Option<usize> {
        let bytes = held.tracked.and_then(|id| self.gradients.remove(&id))?;
        self.waiting -= bytes;
        Some(bytes)
    }

    /// Notes the bytes in use, with `more` that are not counted otherwise.
    fn note_peak(&mut self, more: usize) {
        self.peak = self.peak.max(self.saved + self.waiting + more);
    }
}

#[cfg(test)]
mod tests {
    use super::{Applied, Held, StepMemory};

    fn activation(id: usize, bytes: usize) -> Held {
        Held {
            storage: id,
            stored: bytes,
            gradient: bytes,
            tracked: Some(id),
            variable: false,
        }
    }

    fn weight(id: usize, bytes: usize) -> Held {
        Held {
            variable: true,
            ..activation(id, bytes)
        }
    }

    /// x of 8 bytes, untracked; a = x w (100 bytes), b = f(a) (100), c = b v (4).
    #[test]
    fn a_chain_holds_its_activations_and_then_its_gradients() {
        let x = Held {
            tracked: None,
            ..activation(0, 8)
        };
        let (a, b, c) = (activation(1, 100), activation(2, 100), activation(3, 4));
        let (w, v) = (weight(10, 1000), weight(11, 50));
        let op = |inputs: &[Held], result| Applied::Op {
            inputs: inputs.to_vec(),
            result,
        };
        let tape = vec![op(&[x, w], a), op(&[a], b), op(&[b, v], c)];
        let memory = StepMemory::new(tape, 1);
        // At the last op of the backward pass: x and a, the gradients of a, v and w.
        assert_eq!(memory.peak(1), 108 + 100 + 50 + 1000);
        // With more images, at the middle op: x, a, b, the gradients of b, a and v.
        assert_eq!(memory.peak(100), 100 * (208 + 200) + 50);
        assert_eq!(StepMemory::new(Vec::new(), 1).peak(5), 0);
    }

    /// y = f(g(h(x))), of 100 bytes each. `f(g(h(x)))` runs again as a whole, and z = l(y) has 4 bytes.
    #[test]
    fn a_part_holds_its_activations_in_the_backward_pass_only() {
        let op = |input, result| Applied::Op {
            inputs: vec![input],
            result,
        };
        let chain = |first: usize, x: Held| {
            let [a, b, c] = [0, 1, 2].map(|i| activation(first + i, 100));
            (vec![op(x, a), op(a, b), op(b, c)], c)
        };
        let part = |first: usize, x: Held, result: Held| {
            let (tape, output) = chain(first, x);
            Applied::Part {
                input: x,
                result,
                tape,
                output,
            }
        };
        let x = Held {
            tracked: None,
            ..activation(0, 8)
        };
        let (y, z, loss) = (activation(1, 100), activation(2, 100), activation(3, 4));
        let tape = vec![part(10, x, y), part(20, y, z), op(z, loss)];
        let memory = StepMemory::new(tape, 1);
        // At the last op of the second part: x and y, its three activations, the gradients of two.
        assert_eq!(memory.peak(1), 8 + 100 + 300 + 200);
        assert_eq!(memory.peak(10), 10 * memory.peak(1));
        let (mut plain, y) = chain(10, x);
        let (second, z) = chain(20, y);
        plain.extend(second);
        plain.push(op(z, loss));
        // At the op before the last: x, six activations, the gradients of two.
        assert_eq!(StepMemory::new(plain, 1).peak(1), 8 + 600 + 200);
    }
}
