//! Bounds of what a hostile file can make the reader do.

/// The deepest nesting of values, far above the nesting of weights within a training state.
pub(super) const DEEPEST: usize = 100;
/// The longest name of a tensor or table, in bytes.
pub(super) const LONGEST_NAME: usize = 1000;
/// The largest number of items to look at, over all dictionaries, lists and objects. Many objects can
/// share one long dictionary.
const MOST_ITEMS: usize = 20_000_000;
/// The largest number of modules in a pickled module, and of tensors in a table.
pub(super) const MOST_TENSORS: usize = 100_000;

/// The number of items that were looked at.
#[derive(Default)]
pub(super) struct Items(usize);

impl Items {
    /// Adds some.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn count(&mut self, items: usize) -> Result<(), String> {
        self.0 += items;
        if self.0 > MOST_ITEMS {
            return Err("its pickle has too many values".to_owned());
        }
        Ok(())
    }
}

/// The bytes that tensors may have in all. Many views of one storage, or views with a stride of zero,
/// are larger than the file.
pub(super) struct Budget(usize);

impl Budget {
    /// The budget for a file of a length in bytes.
    pub(super) fn of(file: usize) -> Self {
        Self(file.saturating_mul(8).saturating_add(1 << 26))
    }

    /// Takes bytes from the budget.
    ///
    /// # Errors
    /// It does not have them.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let rest = self.0.checked_sub(bytes);
        self.0 = rest.ok_or("its tensors are far larger than the file")?;
        Ok(())
    }
}
