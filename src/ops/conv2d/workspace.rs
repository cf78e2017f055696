//! Scratch memory that each thread keeps between calls, and slices not yet initialised.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;

use super::element::Element;

thread_local! {
    static WORKSPACES: RefCell<HashMap<TypeId, Vec<Box<dyn Any>>>> = RefCell::default();
}

/// Runs `f` with a buffer of this thread that keeps its size, and what it holds, between calls.
/// A nested call, or one of a stolen task, gets a buffer of its own.
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

/// The first `len` values of a workspace, of any value, growing it as needed.
pub fn sized<F: Element>(buffer: &mut Vec<F>, len: usize) -> &mut [F] {
    if buffer.len() < len {
        buffer.resize(len, F::ZERO);
    }
    &mut buffer[..len]
}

/// A destination that tasks write to in disjoint places.
#[derive(Clone, Copy)]
pub struct Destination(pub *mut f32);

// SAFETY: tasks write to disjoint places, and nothing is read through it.
unsafe impl Sync for Destination {}
// SAFETY: as above.
unsafe impl Send for Destination {}

/// Sets all of a slice.
pub fn fill<F: Element>(values: &mut [MaybeUninit<F>], value: F) -> &mut [F] {
    for v in values.iter_mut() {
        v.write(value);
    }
    // SAFETY: every element was just written.
    unsafe { assume_init(values) }
}

/// A slice known to be initialised.
///
/// # Safety
/// Every element must have been written.
pub unsafe fn assume_init<F: Element>(values: &mut [MaybeUninit<F>]) -> &mut [F] {
    // SAFETY: same layout, and the caller has written every element.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// A vector that `write` fills completely.
///
/// # Safety
/// `write` must write every element of the slice that it is given.
pub unsafe fn written<F: Element>(len: usize, write: impl FnOnce(&mut [MaybeUninit<F>])) -> Vec<F> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is there and `write` has written every element.
    unsafe { values.set_len(len) };
    values
}
