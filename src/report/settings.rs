//! The configuration of a run as names and values.

use toml::{Table, Value};

/// The entries of a configuration in order, without the names of its tables: a name is that of the
/// option that sets it, and no two tables share one.
pub fn settings(config: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in config {
        match value {
            Value::Table(table) => found.extend(settings(table)),
            value => found.push((name.clone(), text(value))),
        }
    }
    found
}

/// A value as one writes it on the command line.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(text).collect();
            values.join(" ")
        }
        value => value.to_string(),
    }
}
