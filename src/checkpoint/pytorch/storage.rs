//! Storages: the flat memory that tensors are views of.

use std::borrow::Cow;

use crate::checkpoint::element::Element;
use crate::pickle::Value;

/// Where the elements of a tensor are.
#[derive(Debug, Clone)]
pub(super) enum Storage<'p> {
    /// In the file, outside the pickle.
    Stored(Stored),
    /// Within the pickle, as Python's pickle module writes tensors: a file of PyTorch before 1.6.
    Embedded(Cow<'p, [u8]>),
}

/// A storage in the file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Its key.
    pub key: String,
    /// The type of its elements.
    pub element: Element,
    /// Its length in bytes, as the pickle records it.
    pub length: u64,
    /// The first byte of the tensor's part: before 1.6, PyTorch has views of storages.
    pub start: usize,
}

impl<'p> Storage<'p> {
    /// Interprets the first argument of a call that rebuilds a tensor.
    ///
    /// # Errors
    /// What kind of tensor this is: one of another type, or without a storage.
    pub(super) fn of(value: Value<'p>) -> Result<Self, String> {
        let none = || "a tensor without a storage".to_owned();
        let Some((function, args)) = value.call() else {
            let id = value.persistent_id().ok_or_else(none)?;
            return Stored::of(id).map(Self::Stored);
        };
        if function.module != "torch.storage" || function.name != "_load_from_bytes" {
            return Err(none());
        }
        let bytes = args.first().and_then(|bytes| bytes.bytes());
        bytes.map(Self::Embedded).ok_or_else(none)
    }
}

impl Stored {
    /// Interprets a persistent identifier: "storage", the class, the key, the device, the length in
    /// elements and, before PyTorch 1.6, the part that a view covers as (key, offset, length).
    ///
    /// # Errors
    /// As [`Storage::of`].
    pub(super) fn of(id: Value<'_>) -> Result<Self, String> {
        let none = || "a tensor without a storage".to_owned();
        let parts: Vec<_> = id.items().ok_or_else(none)?.take(6).collect();
        let [kind, class, name, _, length, ref view @ ..] = parts[..] else {
            return Err(none());
        };
        if kind.text() != Some("storage") {
            return Err(none());
        }
        let class = class.global().ok_or_else(none)?;
        let element = Element::of_storage(class.name).ok_or_else(|| no_element(class.name))?;
        let view = view.first().and_then(|view| view.items());
        let start = match view {
            Some(mut view) => view.nth(1).and_then(Value::index).ok_or_else(none)?,
            None => 0,
        };
        let length = length.index().ok_or_else(none)? as u64;
        Ok(Self {
            key: key(name).ok_or_else(none)?,
            element,
            length: length.saturating_mul(element.size() as u64),
            start: start.checked_mul(element.size()).ok_or_else(none)?,
        })
    }
}

/// The class and the key of a reference to a storage.
pub(super) fn class_and_key(value: Value<'_>) -> Option<(&str, String)> {
    let mut parts = value.persistent_id()?.items()?;
    let (kind, class, name) = (parts.next()?, parts.next()?, parts.next()?);
    (kind.text() == Some("storage")).then_some(())?;
    Some((class.global()?.name, key(name)?))
}

/// Bytes per element of a class of storages, also of those that Candle has no type for.
pub(super) fn element_size(class: &str) -> Option<usize> {
    Some(match class {
        "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => 1,
        "QInt32Storage" => 4,
        "ComplexFloatStorage" => 8,
        "ComplexDoubleStorage" => 16,
        _ => Element::of_storage(class)?.size(),
    })
}

/// A key of a storage or tensor: text, or a number in PyTorch 0.1.
pub(super) fn key(value: Value<'_>) -> Option<String> {
    match value.int() {
        Some(number) => Some(number.to_string()),
        None => value.text().map(str::to_owned),
    }
}

/// What kind of tensor has a type that cannot be read.
pub(super) fn no_element(name: &str) -> String {
    let short: String = name.chars().take(60).collect();
    format!("a tensor of {short}, which Candle does not have")
}
