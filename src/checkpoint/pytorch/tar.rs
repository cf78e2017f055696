//! The tar archives of PyTorch 0.1.
//!
//! `storages` has a number of storages, for each a pickle (key, device, class) and its data, and a list
//! of views (key, key of the storage, offset, length). `tensors` has a number of tensors, for each a
//! pickle (key, key of the storage, class), the number of dimensions, sizes, strides and the offset.
//! `pickle` is the object, which refers to tensors by key.

use std::collections::HashMap;

use super::legacy::{data, next};
use super::storage::{self, Storage};
use super::storages::Memory;
use super::tensor::Strided;
use crate::checkpoint::element::Element;
use crate::checkpoint::error::one_line;
use crate::pickle::{Limits, Pickle, Value};

/// A file: its object, and its storages with the tensors.
pub(super) struct Tar<'f> {
    pub pickle: Pickle<'f>,
    pub storages: Memory<'f>,
}

impl<'f> Tar<'f> {
    pub(super) fn read(bytes: &'f [u8], limits: &Limits) -> Result<Self, String> {
        let files = files(bytes)?;
        let is_known = |name: &&str| files.contains_key(*name);
        let is_pytorch = ["sys_info", "pickle", "storages", "tensors"]
            .iter()
            .any(is_known);
        let file = |name: &str| match files.get(name) {
            Some(content) => Ok(*content),
            None if is_pytorch => Err(format!(
                "it has no {name:?}: the file is incomplete, download or copy it again"
            )),
            None => Err("it is a tar archive without weights: extract it first".to_owned()),
        };
        let pickle = next(&mut file("pickle")?, limits)?;
        let mut storages = Stored::read(file("storages")?, limits)?;
        let tensors = tensors(file("tensors")?, limits, &mut storages)?;
        Ok(Self {
            pickle,
            storages: Memory {
                storages: storages.bytes,
                tensors,
                big_endian: false,
            },
        })
    }
}

/// The files of an archive.
fn files(bytes: &[u8]) -> Result<HashMap<String, &[u8]>, String> {
    let mut archive = ::tar::Archive::new(bytes);
    let mut files = HashMap::new();
    let damaged = |error: std::io::Error| {
        let reason: String = one_line(&error).chars().take(80).collect();
        format!("it is a damaged tar archive: {reason}")
    };
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?;
        let name = name.to_string_lossy().trim_start_matches("./").to_owned();
        let start = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
        let length = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        let content = bytes.get(start..).and_then(|rest| rest.get(..length));
        let content = content.ok_or_else(|| {
            format!("its {name:?} ends early: the file is incomplete, download or copy it again")
        })?;
        files.insert(name, content);
    }
    Ok(files)
}

/// The storages with their types.
struct Stored<'f> {
    bytes: HashMap<String, &'f [u8]>,
    elements: HashMap<String, Element>,
}

impl<'f> Stored<'f> {
    fn read(mut rest: &'f [u8], limits: &Limits) -> Result<Self, String> {
        let mut stored = Self {
            bytes: HashMap::new(),
            elements: HashMap::new(),
        };
        for _ in 0..count(&mut rest, limits)? {
            let pickle = next(&mut rest, limits)?;
            let parts = parts::<3>(pickle.root()).ok_or("it has a storage without a type")?;
            let class = parts[2].global().map_or("no type", |class| class.name);
            let element = Element::of_storage(class);
            let element = element.ok_or("it has a storage of an unknown type")?;
            let key = storage::key(parts[0]).ok_or("it has a storage without a key")?;
            stored
                .bytes
                .insert(key.clone(), data(&mut rest, element.size())?);
            stored.elements.insert(key, element);
        }
        let views = next(&mut rest, limits)?;
        for view in views.root().items().into_iter().flatten() {
            stored
                .add_view(view)
                .ok_or("it has a damaged view of a storage")?;
        }
        Ok(stored)
    }

    fn add_view(&mut self, view: Value<'_>) -> Option<()> {
        let [key, root, offset, length] = parts(view)?;
        let (key, root) = (storage::key(key)?, storage::key(root)?);
        let element = *self.elements.get(&root)?;
        let start = offset.index()?.checked_mul(element.size())?;
        let length = length.index()?.checked_mul(element.size())?;
        let bytes = self.bytes.get(&root)?.get(start..)?.get(..length)?;
        self.bytes.insert(key.clone(), bytes);
        self.elements.insert(key, element);
        Some(())
    }
}

/// Reads `tensors`.
fn tensors(
    mut rest: &[u8],
    limits: &Limits,
    stored: &mut Stored<'_>,
) -> Result<HashMap<String, Strided<'static>>, String> {
    let mut tensors = HashMap::new();
    for _ in 0..count(&mut rest, limits)? {
        let pickle = next(&mut rest, limits)?;
        let tensor = tensor(pickle.root(), &mut rest, stored);
        let (key, tensor) = tensor.ok_or("it has a damaged tensor")?;
        tensors.insert(key, tensor);
    }
    Ok(tensors)
}

fn tensor(
    value: Value<'_>,
    rest: &mut &[u8],
    stored: &Stored<'_>,
) -> Option<(String, Strided<'static>)> {
    let [key, root, _] = parts(value)?;
    let root = storage::key(root)?;
    let element = *stored.elements.get(&root)?;
    let dimensions = number(rest, 4)?;
    // Four bytes of padding.
    number(rest, 4)?;
    if dimensions > rest.len() / 8 {
        return None;
    }
    let shape = (0..dimensions).map(|_| number(rest, 8));
    let shape = shape.collect::<Option<Vec<_>>>()?;
    let stride = (0..dimensions).map(|_| number(rest, 8));
    let stride = stride.collect::<Option<Vec<_>>>()?;
    let tensor = Strided {
        element: None,
        offset: number(rest, 8)?,
        shape,
        stride,
        storage: Storage::Stored(storage::Stored {
            length: stored.bytes.get(&root)?.len() as u64,
            key: root,
            element,
            start: 0,
        }),
    };
    Some((storage::key(key)?, tensor))
}

/// A pickled number of things, at most as many as there are bytes.
fn count(rest: &mut &[u8], limits: &Limits) -> Result<usize, String> {
    let count = next(rest, limits)?.root().index();
    let count = count.filter(|count| *count <= rest.len());
    count.ok_or_else(|| "it does not say how many storages and tensors it has".to_owned())
}

/// The parts of a tuple of `N`.
fn parts<const N: usize>(value: Value<'_>) -> Option<[Value<'_>; N]> {
    value
        .items()?
        .take(N + 1)
        .collect::<Vec<_>>()
        .try_into()
        .ok()
}

/// A little-endian number of four or eight bytes that is not negative.
fn number(rest: &mut &[u8], size: usize) -> Option<usize> {
    let (bytes, after) = rest.split_at_checked(size)?;
    *rest = after;
    let mut wide = [0; 8];
    wide[..size].copy_from_slice(bytes);
    usize::try_from(u64::from_le_bytes(wide)).ok()
}
