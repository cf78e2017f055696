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

/// An op of the tape with its inputs and its result.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub inputs: Vec<Held>,
    pub result: Held,
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
        let scale = |bytes: usize| bytes * batch / self.batch.max(1);
        let size = |held: &Held, bytes: usize| {
            if held.variable { bytes } else { scale(bytes) }
        };
        // The forward pass keeps all that the tape holds. Going back, values are freed with the first
        // op that uses them.
        let mut seen = HashSet::new();
        let freed = self.tape.iter().map(|op| {
            let values = op.inputs.iter().chain([&op.result]);
            let new = values.filter(|held| !held.variable && seen.insert(held.storage));
            new.map(|held| scale(held.stored)).sum::<usize>()
        });
        let freed: Vec<usize> = freed.collect();
        let mut saved: usize = freed.iter().sum();
        let mut gradients: HashMap<usize, usize> = HashMap::new();
        let (mut waiting, mut peak) = (0, saved);
        if let Some(last) = self.tape.last() {
            let bytes = size(&last.result, last.result.gradient);
            gradients.extend(last.result.tracked.map(|id| (id, bytes)));
            waiting = bytes;
        }
        for (op, freed) in self.tape.iter().zip(freed).rev() {
            let of_result = op.result.tracked.and_then(|id| gradients.remove(&id));
            let Some(of_result) = of_result else {
                saved -= freed;
                continue;
            };
            let tracked = op.inputs.iter().filter(|held| held.tracked.is_some());
            let made = tracked.clone().map(|held| size(held, held.gradient));
            peak = peak.max(saved + waiting + made.sum::<usize>());
            saved -= freed;
            waiting -= of_result;
            for held in tracked {
                let bytes = size(held, held.gradient);
                if let Some(id) = held.tracked
                    && gradients.insert(id, bytes).is_none()
                {
                    waiting += bytes;
                }
            }
        }
        peak.max(waiting)
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
        let op = |inputs: &[Held], result| Applied {
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
}
