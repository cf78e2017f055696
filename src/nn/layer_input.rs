//! The inputs of layers, observed while a network runs.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{ModuleT, Result, Tensor, bail};

use crate::autograd::is_recomputing;

/// The layers whose inputs can be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedLayer {
    /// Activations. Fused ops compute the norm and the activation separately while these are
    /// observed, so that there is an input.
    Activation,
    /// Batch norms.
    BatchNorm,
}

/// Receives the path of a layer, the layer and its input.
type Visit = Rc<dyn Fn(&str, &dyn ModuleT, &Tensor) -> Result<()>>;

thread_local! {
    static VISIT: RefCell<Option<(ObservedLayer, Visit)>> = const { RefCell::new(None) };
}

/// Restores the observer that there was before, even if the body fails or panics.
struct Scope(Option<(ObservedLayer, Visit)>);

impl Drop for Scope {
    fn drop(&mut self) {
        VISIT.replace(self.0.take());
    }
}

/// Runs `body` and shows `visit` the path and the input of each such layer that it applies on this
/// thread, in order. What `visit` runs is not observed.
///
/// # Errors
/// The errors of `body` and of `visit`.
pub fn visit_inputs<R>(
    of: ObservedLayer,
    visit: impl Fn(&str, &Tensor) -> Result<()> + 'static,
    body: impl FnOnce() -> Result<R>,
) -> Result<R> {
    visit_layers(of, move |path, _, input| visit(path, input), body)
}

/// As [`visit_inputs`], with the layer too.
pub(super) fn visit_layers<R>(
    of: ObservedLayer,
    visit: impl Fn(&str, &dyn ModuleT, &Tensor) -> Result<()> + 'static,
    body: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let scope = Scope(VISIT.replace(Some((of, Rc::new(visit)))));
    let result = body();
    drop(scope);
    result
}

/// The input of the layer at `path` in `body`, which ends when it reaches the layer.
///
/// # Errors
/// The errors of `body`, or if it does not apply such a layer.
pub fn input_of<R>(
    of: ObservedLayer,
    path: &str,
    body: impl FnOnce() -> Result<R>,
) -> Result<Tensor> {
    let found: Rc<RefCell<Option<Tensor>>> = Rc::default();
    let visit = {
        let (found, wanted) = (Rc::clone(&found), path.to_string());
        move |path: &str, input: &Tensor| {
            if path == wanted {
                found.replace(Some(input.clone()));
                bail!("the forward pass ends at {path}");
            }
            Ok(())
        }
    };
    let result = visit_inputs(of, visit, body);
    match (found.take(), result) {
        (Some(input), _) => Ok(input),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => bail!("the network has no such layer: {path}"),
    }
}

/// Whether the inputs of any layers are observed on this thread.
pub(super) fn observes() -> bool {
    VISIT.with_borrow(Option::is_some)
}

/// Whether the inputs of activations are observed on this thread.
pub(super) fn observes_activations() -> bool {
    VISIT.with_borrow(|visit| {
        visit
            .as_ref()
            .is_some_and(|(of, _)| *of == ObservedLayer::Activation)
    })
}

/// Reports the `layer` at `path` and its input.
pub(super) fn observe(
    kind: ObservedLayer,
    path: &str,
    layer: &dyn ModuleT,
    input: &Tensor,
) -> Result<()> {
    let observed = VISIT.with_borrow(|visit| visit.as_ref().is_some_and(|(of, _)| *of == kind));
    if !observed || is_recomputing() {
        // A part of a network that runs again was observed in the first forward pass.
        return Ok(());
    }
    // Taken during the call, which may run the layer.
    let scope = Scope(VISIT.take());
    match &scope.0 {
        Some((_, visit)) => visit(path, layer, input),
        None => Ok(()),
    }
}
