//! Finds the first layer whose output has a property, while a network runs.

use std::cell::RefCell;

use candle_core::{Result, Tensor};

struct Search {
    matches: fn(&Tensor) -> bool,
    found: Option<(String, &'static str)>,
}

thread_local! {
    static SEARCH: RefCell<Option<Search>> = const { RefCell::new(None) };
}

/// Runs `body` on this thread. Returns its result, and the path and type of the first layer with
/// parameters whose output `matches`.
///
/// # Errors
/// The errors of `body`.
pub fn first_layer<T>(
    matches: fn(&Tensor) -> bool,
    body: impl FnOnce() -> Result<T>,
) -> Result<(T, Option<(String, &'static str)>)> {
    let search = Search {
        matches,
        found: None,
    };
    let outer = SEARCH.replace(Some(search));
    let result = body();
    let search = SEARCH.replace(outer);
    Ok((result?, search.and_then(|search| search.found)))
}

/// Whether this thread searches for a layer.
pub(super) fn searches() -> bool {
    SEARCH.with_borrow(Option::is_some)
}

/// Shows the output of a layer to the search of this thread.
pub(super) fn show(path: &str, kind: &'static str, output: &Tensor) {
    SEARCH.with_borrow_mut(|search| {
        if let Some(search) = search
            && search.found.is_none()
            && (search.matches)(output)
        {
            search.found = Some((path.to_string(), kind));
        }
    });
}
