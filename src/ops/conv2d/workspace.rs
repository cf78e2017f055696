//! Scratch memory that each thread keeps between calls, and memory that is not initialised yet.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;

use candle_core::{Result, bail};

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

/// Sets all values of a slice.
pub fn fill<F: Element>(values: &mut [MaybeUninit<F>], value: F) -> &mut [F] {
    for v in values.iter_mut() {
        v.write(value);
    }
    // SAFETY: every element was just written.
    unsafe { assume_init(values) }
}

/// The slice as initialised values.
///
/// # Safety
/// Every element must be initialised.
pub unsafe fn assume_init<F: Element>(values: &mut [MaybeUninit<F>]) -> &mut [F] {
    // SAFETY: same layout, and the caller has written every element.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// A vector of `len` values, all written by `write`.
///
/// # Errors
/// If the memory cannot be allocated.
///
/// # Safety
/// `write` must write every element of its slice.
pub unsafe fn written<F: Element>(
    len: usize,
    write: impl FnOnce(&mut [MaybeUninit<F>]),
) -> Result<Vec<F>> {
    let mut values = Vec::new();
    if values.try_reserve_exact(len).is_err() {
        bail!("conv2d: not enough memory for a result of {len} values");
    }
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and `write` has written every element.
    unsafe { values.set_len(len) };
    Ok(values)
}
