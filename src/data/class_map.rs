//! Class maps: the label of each class folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::DataError;

/// The largest label plus one. A larger label is a mistake in the file.
const MOST_CLASSES: u32 = 1 << 20;
/// A larger file is no class map.
const LARGEST_FILE: u64 = 1 << 26;

const EXPECTED: &str = "a class per line in the order of the labels, lines of `name label` or \
                        `name,label`, or a JSON object";

/// The label of each class folder, as timm's `--class-map`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassMap {
    labels: BTreeMap<String, u32>,
}

impl ClassMap {
    /// Reads a class map from a text or JSON file.
    ///
    /// A text file has one class per line in the order of the labels, or lines of `name label`,
    /// `name,label` or `name<tab>label`. Spaces separate labels only if every line ends with a
    /// number and no name repeats, because names may end with numbers too.
    ///
    /// A JSON file has an object `{"name": label}`, or an object `{"label": "name"}` or
    /// `{"label": ["name", "other name"]}`, or a list of names in the order of the labels.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, names a class twice, or has a label that is not a
    /// whole number. The error names the line.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        let bytes = std::fs::metadata(path).map_err(io)?.len();
        if bytes > LARGEST_FILE {
            return Err(DataError::invalid(
                path,
                format!("{bytes} bytes are too many for a class map"),
                EXPECTED,
            ));
        }
        let text = std::fs::read(path).map_err(io)?;
        let parsed = match String::from_utf8(text) {
            Ok(text) => Self::parse(&text),
            Err(_) => Err("the file is not UTF-8 text".to_owned()),
        };
        parsed.map_err(|problem| DataError::invalid(path, problem, EXPECTED))
    }

    /// Parses the text of a class map. The error is the problem alone.
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let json = text.trim_start().starts_with(['{', '[']);
        let pairs = if json { json_pairs(text) } else { lines(text) }?;
        if pairs.is_empty() {
            return Err("the class map is empty".to_owned());
        }
        let mut labels = BTreeMap::new();
        for Pair { name, label, place } in pairs {
            if name.is_empty() {
                return Err(format!("{place}: the name is empty"));
            }
            if label >= MOST_CLASSES {
                return Err(format!("{place}: label {label} is too large"));
            }
            if labels.insert(name.clone(), label).is_some() {
                return Err(format!("{place}: class '{name}' appears twice"));
            }
        }
        Ok(Self { labels })
    }

    /// The label of a class folder.
    pub fn label(&self, folder: &str) -> Option<u32> {
        self.labels.get(folder).copied()
    }

    /// The number of labels that have a name.
    pub fn named(&self) -> usize {
        let labels: BTreeSet<&u32> = self.labels.values().collect();
        labels.len()
    }

    /// The class names in the order of the labels. If several names have one label, the first in
    /// alphabetical order stands for it. A label without a name is its number.
    pub fn classes(&self) -> Vec<String> {
        let count = self.labels.values().max().map_or(0, |label| label + 1);
        let mut classes: Vec<String> = vec![String::new(); count as usize];
        for (name, label) in &self.labels {
            let class = &mut classes[*label as usize];
            if class.is_empty() {
                class.clone_from(name);
            }
        }
        for (label, class) in classes.iter_mut().enumerate() {
            if class.is_empty() {
                *class = label.to_string();
            }
        }
        classes
    }
}

/// A class and where the file names it.
struct Pair {
    name: String,
    label: u32,
    place: String,
}

/// The classes of a text file.
fn lines(text: &str) -> Result<Vec<Pair>, String> {
    // Blank lines at the end are not classes.
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    let explicit = lines.iter().any(|line| separated(line, &[',', '\t']));
    let separators: &[char] = if explicit {
        &[',', '\t']
    } else if pairs_with_spaces(&lines) {
        &[' ']
    } else {
        &[]
    };
    let pair = |(number, line): (usize, &&str)| {
        let place = format!("line {}", number + 1);
        if separators.is_empty() {
            let label = u32::try_from(number).map_err(|_| format!("{place}: too many classes"))?;
            let name = (*line).to_owned();
            return Ok(Pair { name, label, place });
        }
        let Some((name, label)) = line.rsplit_once(separators) else {
            return Err(format!("{place}: '{line}' has no label"));
        };
        let Ok(label) = label.trim().parse() else {
            let label = label.trim();
            return Err(format!("{place}: label '{label}' is not a whole number"));
        };
        let name = name.trim().to_owned();
        Ok(Pair { name, label, place })
    };
    lines.iter().enumerate().map(pair).collect()
}

/// Whether a line ends with a separator and a whole number.
fn separated(line: &str, separators: &[char]) -> bool {
    let parts = line.rsplit_once(separators);
    parts.is_some_and(|(_, label)| label.trim().parse::<u32>().is_ok())
}

/// Whether every line is `name label`. Names such as `Audi S4 2012` also end with a number, but
/// then a name without its number repeats.
fn pairs_with_spaces(lines: &[&str]) -> bool {
    let mut names = BTreeSet::new();
    lines.iter().all(|line| {
        separated(line, &[' '])
            && line
                .rsplit_once(' ')
                .is_some_and(|(name, _)| names.insert(name.trim()))
    })
}

/// The classes of a JSON file.
fn json_pairs(text: &str) -> Result<Vec<Pair>, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| {
        let text = error.to_string();
        // The line is already at the start of the message.
        let problem = text.split(" at line").next().unwrap_or_default();
        format!("line {}: invalid JSON: {problem}", error.line())
    })?;
    let mut pairs = Vec::new();
    match json {
        Value::Array(names) => {
            for (label, name) in (0..).zip(names) {
                let place = format!("entry {label}");
                let Value::String(name) = name else {
                    return Err(format!("{place}: {name} is not a name"));
                };
                pairs.push(Pair { name, label, place });
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                object_entry(key, value, &mut pairs)?;
            }
        }
        other => return Err(format!("{other} is not an object or a list")),
    }
    Ok(pairs)
}

/// Adds the classes of one entry of a JSON object.
fn object_entry(key: String, value: Value, pairs: &mut Vec<Pair>) -> Result<(), String> {
    let place = format!("entry \"{key}\"");
    let names = match value {
        Value::Number(label) => {
            let label = label.as_u64().and_then(|label| u32::try_from(label).ok());
            let label = label.ok_or_else(|| format!("{place}: the label is not a whole number"))?;
            pairs.push(Pair {
                name: key,
                label,
                place,
            });
            return Ok(());
        }
        Value::String(name) => vec![Value::String(name)],
        Value::Array(names) => names,
        other => return Err(format!("{place}: {other} is not a label or a name")),
    };
    let label: u32 = key
        .parse()
        .map_err(|_| format!("{place}: '{key}' is not a label"))?;
    for name in names {
        let Value::String(name) = name else {
            return Err(format!("{place}: {name} is not a name"));
        };
        let place = place.clone();
        pairs.push(Pair { name, label, place });
    }
    Ok(())
}
