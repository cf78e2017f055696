//! The allocator of the programs.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};
use mimalloc::MiMalloc;

/// Feature maps are large and short-lived. mimalloc keeps freed memory for the next one. The
/// system's allocator returns it, and the next use pays for page faults.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the bindings lack.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps freed memory for the whole run. By default, mimalloc returns what has been free for a second.
/// A training step of an ImageNet network takes longer than that, so all of its feature maps would pay
/// for page faults in every step. The environment variable `MIMALLOC_PURGE_DELAY`, in milliseconds, has
/// precedence.
pub fn keep_freed_memory() {
    // SAFETY: sets an integer that mimalloc reads when it frees memory. -1 is a documented value.
    unsafe { mi_option_set_default(PURGE_DELAY, -1) }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_the_purge_delay() {
        // SAFETY: reads an integer.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            assert_eq!(delay(), 1000, "mimalloc's default");
            keep_freed_memory();
            assert_eq!(delay(), -1);
        }
    }
}
