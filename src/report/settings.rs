//! The configuration of a run as names and values.

use toml::{Table, Value};

/// The entries of a configuration under the names of their options, with underscores: first the entries
/// outside of its tables, then the entries of each table.
pub fn settings(config: &Table) -> Vec<(String, String)> {
    let plain = |(_, value): &(&String, &Value)| !value.is_table();
    let mut found: Vec<(String, String)> = config
        .iter()
        .filter(plain)
        .map(|(key, value)| (key.clone(), text(value)))
        .collect();
    for (table, value) in config {
        if let Value::Table(values) = value {
            let entries = values.iter();
            found.extend(entries.map(|(key, value)| (option(table, key), text(value))));
        }
    }
    found
}

/// The option of a key in a table.
fn option(table: &str, key: &str) -> String {
    match (table, key) {
        // The recipe has a seed too.
        ("data", "seed") => "data_seed".to_string(),
        _ => key.to_string(),
    }
}

/// A value as one writes it on the command line.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(text).collect();
            values.join(" ")
        }
        // Without long rows of zeros.
        Value::Float(number) if *number != 0.0 && !(1e-3..1e7).contains(&number.abs()) => {
            format!("{number:e}")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::settings;

    #[test]
    fn entries_have_the_names_of_options() {
        let config = "model = 'a'\n[data]\nseed = 1\nskipped = ['x', 'y']\n[recipe]\nlr = 0.5\n\
                      opt_eps = 1e-8\nseed = 2";
        let found = settings(&toml::from_str(config).expect("TOML"));
        let expected = [
            ("model", "a"),
            ("data_seed", "1"),
            ("skipped", "x y"),
            ("lr", "0.5"),
            ("opt_eps", "1e-8"),
            ("seed", "2"),
        ];
        let expected = expected.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(found, expected);
    }
}
