//! Scratch memory that each thread keeps between calls, and the pointer through which tasks write
//! one result.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;

use super::element::Element;

thread_local! {
    static WORKSPACES: RefCell<HashMap<TypeId, Vec<Box<dyn Any>>>> = RefCell::default();
}

/// Runs `f` with a buffer of this thread. The buffer keeps its size and its values between calls.
/// A nested call gets another buffer, and so does a task that the thread steals meanwhile.
pub fn with_workspace<F: Element, T>(f: impl FnOnce(&mut Vec<F>) -> T) -> T {
    let id = TypeId::of::<F>();
    let mut buffer: Box<Vec<F>> = WORKSPACES
        .with_borrow_mut(|all| all.entry(id).or_default().pop())
        .and_then(|buffer| buffer.downcast().ok())
        .unwrap_or_default();
    let result = f(&mut buffer);
    WORKSPACES.with_borrow_mut(|all| all.entry(id).or_default().push(buffer));
    result
}

/// The first `len` values of a workspace, which grows as needed. The values are arbitrary.
pub fn sized<F: Element>(buffer: &mut Vec<F>, len: usize) -> &mut [F] {
    if buffer.len() < len {
        buffer.resize(len, F::ZERO);
    }
    &mut buffer[..len]
}

/// A result that several tasks write, each to its own part.
#[derive(Clone, Copy)]
pub struct Destination(pub *mut f32);

// SAFETY: tasks write to disjoint parts, and none reads through the pointer.
unsafe impl Sync for Destination {}
// SAFETY: as above.
unsafe impl Send for Destination {}
