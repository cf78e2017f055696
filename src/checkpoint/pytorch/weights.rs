//! Loading the tensors of a table.

use std::collections::{BTreeMap, HashMap};

use candle_core::Tensor;

use super::legacy;
use super::limits::Budget;
use super::state_dict::{self, Problem, Table};
use super::storage::{Storage, Stored};
use super::storages::Storages;
use super::tensor::{Strided, Weight};
use crate::checkpoint::content::Checkpoint;
use crate::checkpoint::element::{Element, is_addressable};
use crate::pickle::{Pickle, Value, numpy};

/// Loads the table of weights that `key` names, or else the chosen one.
///
/// # Errors
/// There is no such table, or a tensor is damaged, quantised or missing.
pub(super) fn load(
    pickle: &Pickle<'_>,
    storages: &mut dyn Storages,
    mut budget: Budget,
    key: Option<&str>,
) -> Result<Checkpoint, Problem> {
    let Table {
        entries,
        choice,
        mut passed_over,
    } = state_dict::find(pickle.root(), key)?;
    let mut tensors = HashMap::new();
    // Tensors that share a storage are loaded together: it is read once.
    let mut by_storage: BTreeMap<String, Vec<(String, Stored, Strided<'_>)>> = BTreeMap::new();
    for (name, weight) in entries {
        let name = name.into_owned();
        let fail = |reason: String| format!("{name:?}: {reason}");
        let strided = match weight {
            Weight::Strided(strided) => strided,
            Weight::Reference(key) => {
                let found = storages.tensor(&key).cloned();
                found.ok_or_else(|| fail("the file does not have the tensor".to_owned()))?
            }
            Weight::Array(value) => {
                let tensor = array(value, &mut budget).map_err(fail)?;
                tensors.insert(name, tensor);
                continue;
            }
            Weight::Unsupported(what) => {
                passed_over.push(format!("'{}' ({what})", state_dict::shown(&name)));
                continue;
            }
            Weight::Quantised(what) => {
                let remedy = "dequantise the model in Python before saving its state_dict";
                return Err(fail(format!("it is {what}: {remedy}")).into());
            }
        };
        match &strided.storage {
            Storage::Stored(stored) => {
                let stored = stored.clone();
                let views = by_storage.entry(stored.key.clone()).or_default();
                views.push((name, stored, strided));
            }
            Storage::Embedded(file) => {
                let file = legacy::Embedded::read(file).map_err(fail)?;
                let tensor = strided.gather(file.bytes, file.element, file.big_endian, &mut budget);
                let tensor = tensor.map_err(fail)?;
                tensors.insert(name, tensor);
            }
        }
    }
    let big_endian = storages.big_endian();
    for (key, views) in by_storage {
        let lengths = views.iter().map(|(_, stored, _)| stored.length);
        let bytes = storages.bytes(&key, lengths.max().unwrap_or(0))?;
        for (name, stored, view) in views {
            let bytes = bytes.get(stored.start..).unwrap_or(&[]);
            let tensor = view.gather(bytes, stored.element, big_endian, &mut budget);
            let tensor = tensor.map_err(|reason| format!("{name:?}: {reason}"))?;
            tensors.insert(name, tensor);
        }
    }
    let notes = choice
        .into_iter()
        .chain(state_dict::passed_over(&passed_over));
    Ok(Checkpoint {
        tensors,
        metadata: BTreeMap::new(),
        notes: notes.collect(),
    })
}

/// A NumPy array as a tensor.
fn array(value: Value<'_>, budget: &mut Budget) -> Result<Tensor, String> {
    let array = numpy::array(value).map_err(|e| e.to_string())?;
    let array = array.ok_or("it is no array")?;
    let element = Element::of_numpy(array.element).ok_or("its type is not supported")?;
    if !is_addressable(&array.shape) {
        return Err(format!("it claims {:?} elements", array.shape));
    }
    budget.spend(array.data.len())?;
    element.tensor(&array.data, &array.shape)
}
