//! Whole pickled modules: the tensors of their `state_dict()`, read from their attributes.

use std::borrow::Cow;
use std::collections::HashSet;

use super::limits::{DEEPEST, Items, LONGEST_NAME, MOST_TENSORS};
use super::tensor::Weight;
use crate::pickle::Value;

/// Values by name, in the order of the file.
pub(super) type Named<'p> = Vec<(Cow<'p, str>, Value<'p>)>;

/// The tensors of a module as its `state_dict()` names them, or `None` if `value` is no module.
///
/// A module keeps its parameters, its buffers and the modules within it in the attributes
/// `_parameters`, `_buffers` and `_modules`. A TorchScript module has all of them as attributes.
///
/// Counts the attributes that it looks at in `items`.
///
/// # Errors
/// Modules that contain themselves, or more attributes than allowed.
pub(super) fn state_dict<'p>(
    value: Value<'p>,
    items: &mut Items,
) -> Result<Option<Named<'p>>, String> {
    if Module::of(value, items)?.is_none() {
        return Ok(None);
    }
    let mut tensors = Vec::new();
    let mut modules = 0;
    let mut waiting = vec![(String::new(), value, 0)];
    while let Some((prefix, value, depth)) = waiting.pop() {
        let Some(module) = Module::of(value, items)? else {
            continue;
        };
        if depth > DEEPEST {
            return Err("its modules nest too deeply".to_owned());
        }
        modules += 1;
        if modules > MOST_TENSORS || tensors.len() > MOST_TENSORS {
            return Err("its pickle has too many modules".to_owned());
        }
        let name = |own: &str| format!("{prefix}{own}");
        let fits = |own: &str| prefix.len() + own.len() < LONGEST_NAME;
        let own = module.tensors.into_iter().filter(|(own, _)| fits(own));
        tensors.extend(own.map(|(own, value)| (Cow::Owned(name(own)), value)));
        let inner = module.modules.into_iter().filter(|(own, _)| fits(own));
        let inner = inner.map(|(own, value)| (name(own) + ".", value, depth + 1));
        let inner: Vec<_> = inner.collect();
        waiting.extend(inner.into_iter().rev());
    }
    Ok(Some(tensors))
}

/// The parts of one module.
struct Module<'p> {
    /// Parameters, then buffers.
    tensors: Vec<(&'p str, Value<'p>)>,
    modules: Vec<(&'p str, Value<'p>)>,
}

impl<'p> Module<'p> {
    fn of(value: Value<'p>, items: &mut Items) -> Result<Option<Self>, String> {
        let Some((class, _)) = value.call() else {
            return Ok(None);
        };
        let attributes = value.attributes();
        items.count(attributes.len())?;
        let attribute = |name: &str| {
            let mut found = attributes.iter().rev();
            let found = found.find(|(key, _)| key.text() == Some(name));
            found.map(|(_, value)| *value)
        };
        let named = |entries: Vec<(Value<'p>, Value<'p>)>| -> Vec<_> {
            let named = entries.into_iter();
            let named = named.filter_map(|(key, value)| Some((key.text()?, value)));
            named.filter(|(_, value)| !value.is_none()).collect()
        };
        let part = |name: &str| {
            let entries = attribute(name).and_then(|part| part.entries());
            // Many modules can share one long dictionary.
            let entries = entries.filter(|entries| entries.len() <= MOST_TENSORS);
            named(entries.unwrap_or_default())
        };
        if attribute("_parameters").is_some() && attribute("_modules").is_some() {
            let left_out = attribute("_non_persistent_buffers_set");
            let left_out = left_out.and_then(|names| names.items());
            let left_out: HashSet<_> = left_out.into_iter().flatten().map(Value::text).collect();
            let mut tensors = part("_parameters");
            let buffers = part("_buffers").into_iter();
            tensors.extend(buffers.filter(|(name, _)| !left_out.contains(&Some(*name))));
            return Ok(Some(Self {
                tensors,
                modules: part("_modules"),
            }));
        }
        if class.module.starts_with("__torch__") {
            let is_tensor = |(_, value): &(&str, Value<'p>)| Weight::of(*value).is_some();
            let (tensors, others) = named(attributes).into_iter().partition(is_tensor);
            return Ok(Some(Self {
                tensors,
                modules: others,
            }));
        }
        Ok(None)
    }
}
