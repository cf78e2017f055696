//! The storages of a file.

use std::borrow::Cow;
use std::collections::HashMap;

use super::tensor::Strided;

/// The storages of a file.
pub(super) trait Storages {
    /// The bytes of a storage. The pickle records that it has `length` of them.
    fn bytes(&mut self, key: &str, length: u64) -> Result<Cow<'_, [u8]>, String>;

    /// Whether the elements are big-endian.
    fn big_endian(&self) -> bool;

    /// A tensor that is stored outside the pickle.
    fn tensor(&self, key: &str) -> Option<&Strided<'static>>;
}

/// Storages of a file that is in memory.
#[derive(Debug, Default)]
pub(super) struct Memory<'f> {
    pub storages: HashMap<String, &'f [u8]>,
    pub tensors: HashMap<String, Strided<'static>>,
    pub big_endian: bool,
}

impl Storages for Memory<'_> {
    fn bytes(&mut self, key: &str, _length: u64) -> Result<Cow<'_, [u8]>, String> {
        let found = self.storages.get(key);
        let found = found.ok_or_else(|| format!("it has no storage {key:?}"))?;
        Ok(Cow::Borrowed(found))
    }

    fn big_endian(&self) -> bool {
        self.big_endian
    }

    fn tensor(&self, key: &str) -> Option<&Strided<'static>> {
        self.tensors.get(key)
    }
}
