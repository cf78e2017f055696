//! The format of PyTorch 0.2 to 1.5.
//!
//! Five pickles: a magic number, the version, the machine (its byte order), the object, and the keys of
//! the storages. Then for each key its number of elements in eight bytes, and the elements. The
//! pickle records the type of each storage.

use std::collections::HashMap;

use super::storage::{self, Stored};
use super::storages::Memory;
use crate::checkpoint::element::Element;
use crate::pickle::{self, Limits, Pickle, Value};

/// The magic number 0x1950a86a20f9469cfc6c as a pickle stores it: in binary, and in protocol 0.
const MAGIC: [&[u8]; 2] = [
    b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
    b"119547037146038801333356",
];
/// The only version that was ever written.
const VERSION: i64 = 1001;

/// Whether a file starts with the magic number.
pub(in crate::checkpoint) fn is_magic(start: &[u8]) -> bool {
    let few = Limits { instructions: 8 };
    let number = pickle::read(start, &few);
    number.is_ok_and(|number| has_magic(number.root()))
}

fn has_magic(number: Value<'_>) -> bool {
    number
        .big_int()
        .is_some_and(|digits| MAGIC.contains(&digits))
}

/// A file: its object and its storages.
pub(super) struct Legacy<'f> {
    pub pickle: Pickle<'f>,
    pub storages: Memory<'f>,
}

impl<'f> Legacy<'f> {
    pub(super) fn read(bytes: &'f [u8], limits: &Limits) -> Result<Self, String> {
        let mut rest = bytes;
        let number = next(&mut rest, limits)?;
        if !has_magic(number.root()) {
            return Err("it does not start with PyTorch's magic number".to_owned());
        }
        let version = next(&mut rest, limits)?.root().int();
        if version != Some(VERSION) {
            return Err("it has an unknown version of PyTorch's old format".to_owned());
        }
        let machine = next(&mut rest, limits)?;
        let little = machine.root().get("little_endian").and_then(Value::bool);
        let pickle = next(&mut rest, limits)?;
        let keys = next(&mut rest, limits)?;
        let sizes = sizes(&pickle);
        let mut storages = HashMap::new();
        for key in keys.root().items().ok_or("it has no list of storages")? {
            let key = storage::key(key).ok_or("it has a storage without a key")?;
            let size = sizes.get(&key);
            let size = size.ok_or_else(|| format!("its storage {key:?} has an unknown type"))?;
            storages.insert(key, data(&mut rest, *size)?);
        }
        let storages = Memory {
            storages,
            big_endian: little == Some(false),
            ..Memory::default()
        };
        Ok(Self { pickle, storages })
    }
}

/// Reads the next pickle and removes it from `rest`.
pub(super) fn next<'f>(rest: &mut &'f [u8], limits: &Limits) -> Result<Pickle<'f>, String> {
    let pickle = pickle::read(rest, limits).map_err(|e| e.to_string())?;
    *rest = &rest[pickle.len()..];
    Ok(pickle)
}

/// Reads the next storage, a number of elements and the elements of `size` bytes, and removes it from
/// `rest`.
pub(super) fn data<'f>(rest: &mut &'f [u8], size: usize) -> Result<&'f [u8], String> {
    let early =
        || "its data ends early: the file is incomplete, download or copy it again".to_owned();
    let (count, data) = rest.split_first_chunk().ok_or_else(early)?;
    let count = usize::try_from(i64::from_le_bytes(*count));
    let count = count.map_err(|_| "it has a storage of a negative length")?;
    let length = count.checked_mul(size).ok_or_else(early)?;
    let (data, after) = data.split_at_checked(length).ok_or_else(early)?;
    *rest = after;
    Ok(data)
}

/// The bytes per element of the storages that a pickle refers to, by their keys.
fn sizes(pickle: &Pickle<'_>) -> HashMap<String, usize> {
    let mut sizes = HashMap::new();
    for (class, key) in pickle.values().filter_map(storage::class_and_key) {
        if let Some(size) = storage::element_size(class) {
            sizes.entry(key).or_insert(size);
        }
    }
    sizes
}

/// A file whose object is one storage. Python's pickle module stores the storage of a tensor so.
pub(super) struct Embedded<'f> {
    pub bytes: &'f [u8],
    pub big_endian: bool,
    pub element: Element,
}

impl<'f> Embedded<'f> {
    pub(super) fn read(file: &'f [u8]) -> Result<Self, String> {
        let few = Limits { instructions: 1000 };
        let file = Legacy::read(file, &few)?;
        let id = file.pickle.root().persistent_id();
        let stored = Stored::of(id.ok_or("its storage has no type")?)?;
        let bytes = file.storages.storages.get(&stored.key).copied();
        Ok(Self {
            bytes: bytes.ok_or("its storage has no data")?,
            element: stored.element,
            big_endian: file.storages.big_endian,
        })
    }
}
