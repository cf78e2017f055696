//! A part of a network whose activations are computed again in the backward pass.

use std::cell::Cell;
use std::rc::Rc;

use candle_core::{Result, Tensor};

use crate::rng::{Generator, GeneratorState};

/// The forward pass of a part of a network.
pub type Forward = Rc<dyn Fn(&Tensor) -> Result<Tensor>>;

thread_local! {
    static RECOMPUTING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread repeats the forward pass of a part of a network, inside the backward pass.
/// Layers then leave alone what the first forward pass has changed, such as running statistics.
pub fn is_recomputing() -> bool {
    RECOMPUTING.get()
}

/// Restores the flag, even if the forward pass fails or panics.
struct Recomputing {
    outer: bool,
}

impl Recomputing {
    fn enter() -> Self {
        let outer = RECOMPUTING.replace(true);
        Self { outer }
    }
}

impl Drop for Recomputing {
    fn drop(&mut self) {
        RECOMPUTING.set(self.outer);
    }
}

/// A part of a network with its input.
pub(super) struct Part {
    forward: Forward,
    /// The source of its random numbers.
    generator: Generator,
    /// The generator before the first forward pass.
    before: GeneratorState,
    pub input: Tensor,
}

impl Part {
    pub fn new(generator: &Generator, forward: Forward, input: &Tensor) -> Self {
        Self {
            forward,
            generator: generator.clone(),
            before: generator.state(),
            input: input.clone(),
        }
    }

    /// The first forward pass.
    pub fn run(&self) -> Result<Tensor> {
        (self.forward)(&self.input)
    }

    /// The second forward pass, with the random numbers of the first. The generator then continues
    /// from where it was.
    pub fn run_again(&self) -> Result<Tensor> {
        let now = self.generator.state();
        self.generator.restore(&self.before);
        let scope = Recomputing::enter();
        let result = (self.forward)(&self.input);
        drop(scope);
        self.generator.restore(&now);
        result
    }
}
