//! Finding the weights among the values of a pickle.
//!
//! A *table* is a dictionary, or the attributes of an object, with tensors under names; a whole
//! pickled module is one table ([`super::module`]). Its *path* is the keys and list positions that lead
//! to it, joined by dots. Of several tables, one is chosen:
//!
//! 1. Optimizer states are never chosen: everything in a dictionary that has `param_groups`, and
//!    everything under a key that is `optim` or starts with `optimizer` or `optim_`. NumPy arrays are
//!    chosen only from a file without tensors.
//! 2. A table at or below one of timm's keys of the root, in timm's order: `state_dict_ema`,
//!    `model_ema`, `state_dict`, `model_state_dict`, `model`.
//! 3. The table with the most tensors.
//! 4. Of equal tables, one whose path names averaged weights (`ema`, `swa`, `teacher`, …).
//! 5. The first in the file.

use std::borrow::Cow;
use std::collections::HashSet;

use super::limits::{DEEPEST, Items, LONGEST_NAME, MOST_TENSORS};
use super::module::{self, Named};
use super::tensor::Weight;
use crate::pickle::{Id, Value, numpy};

/// The largest number of tables.
const MOST_TABLES: usize = 100_000;
/// The keys of the weights within a training state, in timm's order: averaged weights first.
const WEIGHTS: [&str; 5] = [
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
];
/// Words of a path that name averaged weights.
const AVERAGED: [&str; 8] = [
    "ema", "swa", "avg", "average", "averaged", "polyak", "teacher", "shadow",
];
/// How many tables or values a note lists.
const MOST_LISTED: usize = 8;

/// Why a file gives no weights.
#[derive(Debug)]
pub(in crate::checkpoint) enum Problem {
    /// One line.
    Reason(String),
    /// There is no table with the name that the caller gave. The tables that there are.
    NoTable(String),
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

/// The chosen table.
pub(super) struct Table<'p> {
    /// Names with tensors or arrays.
    pub entries: Vec<(Cow<'p, str>, Weight<'p>)>,
    /// Which table was chosen, if there are others.
    pub choice: Option<String>,
    /// What was passed over, each with its kind.
    pub passed_over: Vec<String>,
}

/// Finds the table that `key` names, or else chooses one.
pub(super) fn find<'p>(root: Value<'p>, key: Option<&str>) -> Result<Table<'p>, Problem> {
    let mut search = Search::default();
    search.run(root)?;
    let chosen = match key {
        Some(key) => search.named(key)?,
        None => search.choose(root)?,
    };
    Ok(search.table(chosen, key.is_none()))
}

/// A note that lists what was passed over.
pub(super) fn passed_over(listed: &[String]) -> Option<String> {
    let list = abridged(listed);
    (!listed.is_empty()).then(|| format!("ignored what is not weights: {list}"))
}

fn abridged(listed: &[String]) -> String {
    let shown = listed.iter().take(MOST_LISTED).cloned().collect::<Vec<_>>();
    let shown = shown.join(", ");
    match listed.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A value within another one.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// The number of the outer place; its own number for the root.
    parent: usize,
    key: Key<'p>,
    value: Value<'p>,
    depth: usize,
    is_optimizer: bool,
}

#[derive(Clone, Copy)]
enum Key<'p> {
    Root,
    Name(&'p str),
    Index(i64),
}

/// A table that was found.
struct Candidate<'p> {
    place: usize,
    path: String,
    entries: Named<'p>,
    /// The number of tensors.
    tensors: usize,
    /// The number of NumPy arrays.
    arrays: usize,
}

#[derive(Default)]
struct Search<'p> {
    places: Vec<Place<'p>>,
    candidates: Vec<Candidate<'p>>,
    seen: HashSet<Id>,
    items: Items,
}

impl<'p> Search<'p> {
    /// Visits all values, outer ones first, in the order of the file.
    fn run(&mut self, root: Value<'p>) -> Result<(), String> {
        self.places.push(Place {
            parent: 0,
            key: Key::Root,
            value: root,
            depth: 0,
            is_optimizer: false,
        });
        let mut waiting = vec![0];
        while let Some(at) = waiting.pop() {
            let place = self.places[at];
            if !self.seen.insert(place.value.id()) || Weight::of(place.value).is_some() {
                continue;
            }
            if place.depth > DEEPEST {
                return Err("its pickle nests too deeply".to_owned());
            }
            if let Some(entries) = module::state_dict(place.value, &mut self.items)? {
                self.add_candidate(at, entries)?;
                continue;
            }
            let entries = entries(place.value);
            self.items.count(entries.len())?;
            let named = |(key, value): &(Key<'p>, Value<'p>)| match key {
                Key::Name(name) if name.len() <= LONGEST_NAME => {
                    Some((Cow::Borrowed(*name), *value))
                }
                _ => None,
            };
            self.add_candidate(at, entries.iter().filter_map(named).collect())?;
            let is_optimizer = place.is_optimizer
                || entries
                    .iter()
                    .any(|(key, _)| matches!(key, Key::Name("param_groups")));
            let first = self.places.len();
            for (key, value) in entries {
                let optimizes = matches!(key, Key::Name(name) if names_optimizer(name));
                if value.is_container() && !self.seen.contains(&value.id()) {
                    self.places.push(Place {
                        parent: at,
                        key,
                        value,
                        depth: place.depth + 1,
                        is_optimizer: is_optimizer || optimizes,
                    });
                }
            }
            waiting.extend((first..self.places.len()).rev());
        }
        Ok(())
    }

    /// Adds a table, if it has tensors or arrays.
    fn add_candidate(&mut self, place: usize, entries: Named<'p>) -> Result<(), String> {
        let (mut tensors, mut arrays) = (0, 0);
        for (_, value) in &entries {
            if numpy::element(*value).is_some() {
                arrays += 1;
            } else if Weight::of(*value).is_some() {
                tensors += 1;
            }
        }
        if tensors + arrays > MOST_TENSORS {
            return Err(format!(
                "it has a table of more than {MOST_TENSORS} tensors"
            ));
        }
        let path = self.path(place);
        if tensors + arrays > 0 && path.len() <= LONGEST_NAME {
            self.candidates.push(Candidate {
                place,
                path,
                entries,
                tensors,
                arrays,
            });
        }
        if self.candidates.len() > MOST_TABLES {
            return Err("its pickle has too many dictionaries of tensors".to_owned());
        }
        Ok(())
    }

    /// The places from the root to `place`, without the root.
    fn steps(&self, place: usize) -> Vec<usize> {
        let mut steps = Vec::new();
        let mut at = place;
        while self.places[at].parent != at {
            steps.push(at);
            at = self.places[at].parent;
        }
        steps.reverse();
        steps
    }

    fn path(&self, place: usize) -> String {
        let name = |at: &usize| match self.places[*at].key {
            Key::Root => String::new(),
            Key::Name(name) => name.to_owned(),
            Key::Index(index) => index.to_string(),
        };
        let names: Vec<_> = self.steps(place).iter().map(name).collect();
        names.join(".")
    }

    /// The tables among which one is chosen.
    fn eligible(&self) -> Vec<&Candidate<'p>> {
        let weights = self.candidates.iter();
        let weights = weights.filter(|table| !self.places[table.place].is_optimizer);
        let weights: Vec<_> = weights.collect();
        let has_tensors = weights.iter().any(|table| table.tensors > 0);
        let is_eligible = |table: &&Candidate<'p>| table.tensors > 0 || !has_tensors;
        weights.into_iter().filter(is_eligible).collect()
    }

    /// Orders tables, the best one first.
    fn best<'t>(&self, tables: Vec<&'t Candidate<'p>>) -> Option<&'t Candidate<'p>> {
        let rank = |table: &&Candidate<'p>| {
            let first = self
                .steps(table.place)
                .first()
                .map(|at| self.places[*at].key);
            let timm = match first {
                Some(Key::Name(name)) => WEIGHTS.iter().position(|key| *key == name),
                _ => None,
            };
            let mut words = table.path.split(|c: char| !c.is_ascii_alphanumeric());
            let is_averaged = words.any(|word| AVERAGED.contains(&&*word.to_ascii_lowercase()));
            (
                timm.unwrap_or(WEIGHTS.len()),
                std::cmp::Reverse(table.count()),
                !is_averaged,
                table.place,
            )
        };
        tables.into_iter().min_by_key(rank)
    }

    fn choose(&self, root: Value<'p>) -> Result<&Candidate<'p>, Problem> {
        let best = self.best(self.eligible());
        best.ok_or_else(|| {
            let reason = if !self.candidates.is_empty() {
                "it holds the state of an optimizer, no weights"
            } else if root.call().is_some() && root.entries().is_none() {
                "it holds a whole object, not a dictionary of weights: save its state_dict"
            } else {
                "it holds no tensors by name"
            };
            Problem::Reason(reason.to_owned())
        })
    }

    /// The table at a path, or the best one below it.
    fn named(&self, key: &str) -> Result<&Candidate<'p>, Problem> {
        if let Some(table) = self.candidates.iter().find(|table| table.path == key) {
            return Ok(table);
        }
        let is_below = |table: &&Candidate<'p>| {
            let rest = table.path.strip_prefix(key);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let below = self.candidates.iter().filter(is_below).collect();
        self.best(below).ok_or_else(|| {
            let tables: Vec<_> = self
                .eligible()
                .iter()
                .map(|table| table.to_string())
                .collect();
            Problem::NoTable(abridged(&tables))
        })
    }

    /// The content of a table, with the notes about what else the file has.
    fn table(&self, chosen: &Candidate<'p>, report_choice: bool) -> Table<'p> {
        let steps = self.steps(chosen.place);
        let mut others = self.eligible();
        // The outer tables of the chosen one are listed as values.
        others.retain(|other| {
            other.place != chosen.place && other.place != 0 && !steps.contains(&other.place)
        });
        let on_the_way = others.iter().flat_map(|other| self.steps(other.place));
        let on_the_way = on_the_way.map(|at| self.places[at].value.id());
        let on_the_way: HashSet<Id> = on_the_way.collect();
        let mut passed_over = Vec::new();
        let mut pass_over = |name: &str, value: Value<'p>| {
            if !on_the_way.contains(&value.id()) {
                passed_over.extend(listed(name, value));
            }
        };
        let mut entries = Vec::new();
        for (name, value) in &chosen.entries {
            let is_array = numpy::element(*value).is_some();
            match Weight::of(*value) {
                Some(weight) if !is_array || chosen.tensors == 0 => {
                    entries.push((name.clone(), weight));
                }
                _ => pass_over(name, *value),
            }
        }
        for at in &steps {
            let outer = self.places[self.places[*at].parent].value;
            let inner = self.places[*at].value.id();
            for (key, value) in self::entries(outer) {
                if let Key::Name(name) = key
                    && value.id() != inner
                {
                    pass_over(name, value);
                }
            }
        }
        let choice = (report_choice && !others.is_empty()).then(|| {
            let others: Vec<_> = others.iter().map(|other| other.to_string()).collect();
            let others = abridged(&others);
            format!("the weights are the table {chosen}; state_dict_key can name another: {others}")
        });
        Table {
            entries,
            choice,
            passed_over,
        }
    }
}

impl Candidate<'_> {
    /// The number of tensors, or of arrays in a file without tensors.
    fn count(&self) -> usize {
        match self.tensors {
            0 => self.arrays,
            tensors => tensors,
        }
    }
}

impl std::fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.count();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "'{}' ({count} tensor{plural})", shown(&self.path))
    }
}

/// Whether a key names the state of an optimizer: `optimizer`, `optim`, `optimizer_state_dict`, …
fn names_optimizer(key: &str) -> bool {
    key == "optim" || key.starts_with("optimizer") || key.starts_with("optim_")
}

/// A value that was passed over, with its kind or number. `None` is not mentioned.
fn listed(name: &str, value: Value<'_>) -> Option<String> {
    if value.is_none() {
        return None;
    }
    let is_optimizer = names_optimizer(name) || value.get("param_groups").is_some();
    let kind: Cow<'_, str> = if is_optimizer {
        "an optimizer state".into()
    } else if let Some(number) = value.int() {
        number.to_string().into()
    } else if let Some(number) = value.float() {
        number.to_string().into()
    } else if numpy::element(value).is_some() {
        "a NumPy value".into()
    } else {
        match Weight::of(value) {
            Some(Weight::Unsupported(what) | Weight::Quantised(what)) => what.into(),
            Some(_) => "a tensor".into(),
            None => value.describe(),
        }
    };
    Some(format!("'{}' ({kind})", shown(name)))
}

/// A name for a message: one short line.
pub(super) fn shown(name: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = name.chars().take(80).map(clean).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}

/// The items of a dictionary or list and the attributes of an object.
fn entries<'p>(value: Value<'p>) -> Vec<(Key<'p>, Value<'p>)> {
    let named = |(key, value): (Value<'p>, Value<'p>)| match (key.text(), key.int()) {
        (Some(name), _) => Some((Key::Name(name), value)),
        (None, Some(index)) => Some((Key::Index(index), value)),
        (None, None) => None,
    };
    let mut found: Vec<_> = value.entries().unwrap_or_default();
    found.extend(value.attributes());
    let mut entries: Vec<_> = found.into_iter().filter_map(named).collect();
    if let Some(items) = value.items() {
        entries.extend((0..).map(Key::Index).zip(items));
    }
    entries
}
